"""Build Envoy's routes of one ModelRoute: by path on every host, and by its own host names.

Host and path are derived from namespace and name only, so no route can claim another's address.
Error bodies are sentences; the listener wraps each into ``{"error": "…"}``.
"""

from __future__ import annotations

from typing import Any

from perennial_gateway.clusters import cluster_name
from perennial_gateway.model import Route, RouteKey, effective_weights

OBSERVER_CLUSTER = "observer"
REVISION_HEADER = "x-model-revision"
PREDICTION_HEADER = "x-prediction-id"
ROUTE_TIMEOUT_S = 60


def build_path_routes(route: Route) -> list[dict[str, Any]]:
    """Return the routes ``/<namespace>/<name>/…`` of the virtual host that answers on any name."""
    prefix = f"/{route.key.namespace}/{route.key.name}"
    return [_feedback(route.key, f"{prefix}/feedback"), _predict(route, f"{prefix}/")]


def build_virtual_host(route: Route, cluster_domain: str) -> dict[str, Any]:
    """Return the virtual host of the route's own names, as an ExternalName Service makes clients send them."""
    host = f"{route.key.name}.{route.key.namespace}"
    return {
        "name": str(route.key),
        "domains": [host, f"{host}.svc", f"{host}.svc.{cluster_domain}"],
        "routes": [_feedback(route.key, "/feedback"), _predict(route, "/")],
    }


def build_bare_name_route(name: str, keys: list[RouteKey], gateway_url: str) -> dict[str, Any]:
    """Return the answer to a host that is a bare name: 421, since the namespace is not said.

    It stands behind all paths, so that a model called like the gateway's own host shadows nothing.
    """
    urls = " or ".join(f"http://{key.name}.{key.namespace}/v2/" for key in sorted(keys)[:3])
    message = (
        f"The host {name} does not say which namespace is meant. "
        f"Use {urls}, or {gateway_url}/<namespace>/{name}/v2/ ."
    )
    return {
        "name": f"bare:{name}",
        "match": {"prefix": "/", "headers": [{"name": ":authority", "string_match": {"exact": name}}]},
        "direct_response": {"status": 421, "body": {"inline_string": message}},
    }


def build_not_found_route() -> dict[str, Any]:
    """Return the last route of all: says what to check."""
    message = (
        "No model is served here. The path is /<namespace>/<name>/v2/…, the host <name>.<namespace>; "
        "`kubectl get modeldeployments -A` lists the names, and RouteReady in a ModelDeployment's "
        "status says whether its route is in force."
    )
    return {
        "name": "not-found",
        "match": {"prefix": "/"},
        "direct_response": {"status": 404, "body": {"inline_string": message}},
    }


def _predict(route: Route, prefix: str) -> dict[str, Any]:
    weights = effective_weights(route.backends)
    result: dict[str, Any] = {"name": str(route.key), "match": {"prefix": prefix}}
    if not weights:
        message = (
            f"No server of {route.key} is ready. `kubectl -n {route.key.namespace} describe "
            f"modeldeployment {route.key.name}` says why."
        )
        return result | {"direct_response": {"status": 503, "body": {"inline_string": message}}}
    return result | {
        "route": {
            "prefix_rewrite": "/",
            "timeout": f"{ROUTE_TIMEOUT_S}s",
            "weighted_clusters": {
                "clusters": [
                    {
                        "name": cluster_name(route.key.namespace, revision),
                        "weight": weight,
                        "request_headers_to_add": [_set_header(REVISION_HEADER, revision)],
                    }
                    for revision, weight in weights.items()
                ]
            },
            "retry_policy": _retry_policy(),
        }
    }


def _feedback(key: RouteKey, path: str) -> dict[str, Any]:
    """Return the route of feedback to the observer; other methods on that path are the model's."""
    return {
        "name": f"{key}/feedback",
        "match": {"path": path, "headers": [{"name": ":method", "string_match": {"exact": "POST"}}]},
        "route": {
            "cluster": OBSERVER_CLUSTER,
            "prefix_rewrite": f"/v1/namespaces/{key.namespace}/deployments/{key.name}/feedback",
            "timeout": f"{ROUTE_TIMEOUT_S}s",
            "retry_policy": _retry_policy(),
        },
    }


def _retry_policy() -> dict[str, Any]:
    """Retry only what has not reached a server: anything else would blind the gate or predict twice."""
    predicate = "envoy.retry_host_predicates.previous_hosts"
    return {
        "retry_on": "connect-failure,refused-stream,reset-before-request",
        "num_retries": 2,
        "retry_host_predicate": [
            {
                "name": predicate,
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        # Least-request prefers the dead endpoint with probability 3/4 among two; 30 draws miss it.
        "host_selection_retry_max_attempts": 30,
    }


def _set_header(name: str, value: str) -> dict[str, Any]:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
