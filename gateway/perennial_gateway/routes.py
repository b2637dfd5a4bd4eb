"""Build Envoy's routes of one ModelRoute: by path on every host, and by its own host names.

Host and path are derived from namespace and name only, so no route can claim another's address.
Error bodies are sentences; the listener wraps each into ``{"error": "…"}``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from perennial_gateway.capture import build_captured
from perennial_gateway.clusters import Traffic, cluster_name
from perennial_gateway.headers import (
    BUDGET_HEADER,
    CLIENT_HEADER,
    GRPC_TIMEOUT_HEADER,
    PIN_HEADER,
    REVISION_HEADER,
    TIMEOUT_HEADER,
    add_if_absent,
    overwrite,
)
from perennial_gateway.mirror import build_mirror_policies
from perennial_gateway.model import (
    DEFAULT_MAX_BODY_BYTES,
    DEFAULT_TIMEOUT_S,
    Route,
    RouteKey,
    build_slots,
    seat_clients,
)
from perennial_gateway.sticky import build_issuing, build_matched

OBSERVER_CLUSTER = "observer"
IDLE_MARGIN_S = 15
"""The idle timeout stays behind the route's timeout, whose 504 says more."""

_EXPLAINS = {"name": ":path", "string_match": {"safe_regex": {"regex": r"[^?]*/explain(\?.*)?"}}}


def build_path_routes(route: Route) -> list[dict[str, Any]]:
    """Return the routes ``/<namespace>/<name>/…`` of the virtual host that answers on any name."""
    prefix = f"/{route.key.namespace}/{route.key.name}"
    preview = [_preview(route, f"{prefix}:preview/")] if route.preview else []
    return [_feedback(route.key, f"{prefix}/feedback"), *_predict(route, f"{prefix}/"), *preview]


def build_virtual_hosts(route: Route, cluster_domain: str) -> list[dict[str, Any]]:
    """Return the virtual hosts of the route's own names, as an ExternalName Service makes clients send them."""
    own = {
        "name": str(route.key),
        "domains": own_domains(route.key, cluster_domain),
        "retry_policy": retry_policy(),
        "routes": [
            _feedback(route.key, "/feedback"),
            *_predict(route.grpc_side(), "/"),
            *_predict(route, "/"),
        ],
    }
    # In a namespace called svc that host would be another model's `<name>.<namespace>.svc`.
    if not route.preview or route.key.namespace == "svc":
        return [own]
    preview = {
        "name": f"{route.key}:preview",
        "domains": [f"preview.{route.key.name}.{route.key.namespace}"],
        "retry_policy": retry_policy(),
        "routes": [*_preview_grpc(route), _preview(route, "/")],
    }
    return [own, preview]


def own_domains(key: RouteKey, cluster_domain: str) -> list[str]:
    """Return the host names that stand for a route."""
    host = f"{key.name}.{key.namespace}"
    return [host, f"{host}.svc", f"{host}.svc.{cluster_domain}"]


def build_bare_name_route(name: str, keys: list[RouteKey], gateway_url: str) -> dict[str, Any]:
    """Return the answer to a host that is a bare name: 421, since the namespace is not said.

    It stands behind all paths, so that a model called like the gateway's own host shadows nothing.
    """
    urls = " or ".join(f"http://{key.name}.{key.namespace}/v2/" for key in sorted(keys)[:3])
    message = (
        f"The host {name} does not say which namespace is meant. "
        f"Use {urls}, or {gateway_url}/<namespace>/{name}/v2/ ."
    )
    match = {"prefix": "/", "headers": [{"name": ":authority", "string_match": {"exact": name}}]}
    return {"name": f"bare:{name}", "match": match} | direct_response(421, message)


def build_not_found_route() -> dict[str, Any]:
    """Return the last route of all: says what to check."""
    message = (
        "No model is served here. The path is /<namespace>/<name>/v2/…, the host <name>.<namespace>; "
        "`kubectl get modeldeployments -A` lists the names, and RouteReady in a ModelDeployment's "
        "status says whether its route is in force."
    )
    return {"name": "not-found", "match": {"prefix": "/"}} | direct_response(404, message)


def direct_response(status: int, message: str) -> dict[str, Any]:
    """Return the part of a route that answers by itself."""
    return {"direct_response": {"status": status, "body": {"inline_string": message}}}


def build_single(route: Route, revision: str, traffic: Traffic) -> dict[str, Any]:
    """Return what a route to one revision does, outside of the split and of its counts."""
    common = _common(route)
    named = [overwrite(name, revision) for name in (REVISION_HEADER, PIN_HEADER)]
    cluster = cluster_name(route.key.namespace, revision, traffic, grpc=route.is_grpc)
    action = {"cluster": cluster, **common["route"]}
    return common | {
        "request_headers_to_add": [*named, *common["request_headers_to_add"]],
        "request_headers_to_remove": [CLIENT_HEADER],
        "route": action,
    }


def _predict(route: Route, prefix: str) -> list[dict[str, Any]]:
    """Return the routes of predictions, and before them those of explanations, which only REST has.

    An explanation takes as long as thousands of predictions, and where that is too long it fails: so it goes to the
    revision that predicts for the client, but is neither counted nor copied, or whoever asks for some would decide about
    rollouts.
    """
    slots = build_slots(route.backends)
    if not slots and route.is_grpc and not any(b.grpc_port for b in route.backends):
        return [_named(route, prefix) | direct_response(501, _no_grpc(route.key))]
    if not slots:
        message = (
            f"No server of {route.key} is ready. `kubectl -n {route.key.namespace} describe "
            f"modeldeployment {route.key.name}` says why."
        )
        return [_named(route, prefix) | direct_response(503, message)]
    predictions = _spread(route, prefix, Traffic.LIVE)
    if route.is_grpc:
        return predictions
    uncounted = replace(route, mirror=None, latency_budget_ms=None)
    explanations = _spread(uncounted, prefix, Traffic.PIN, _EXPLAINS)
    return [*(r | {"name": f"{route.key}/explain"} for r in explanations), *predictions]


def _spread(route: Route, prefix: str, traffic: Traffic, *headers: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the routes to a ready revision; where it is sticky, that of requests with a key comes first."""
    slots = build_slots(route.backends)
    plain = _named(route, prefix, *headers) | _split(route, slots, traffic)
    if not route.sticky:
        return [plain | {"request_headers_to_remove": [CLIENT_HEADER]}]
    match, part = build_matched(route.sticky)
    bound = _named(route, prefix, *headers) | _split(
        route, build_slots(seat_clients(route)) or slots, traffic
    )
    keyed = _merge(bound | _named(route, prefix, *headers, match), part)
    if not route.sticky.is_cookie:
        return [keyed, plain | {"request_headers_to_remove": [CLIENT_HEADER]}]
    return [keyed, _merge(bound, build_issuing(route.sticky, prefix))]


def _named(route: Route, prefix: str, *headers: dict[str, Any]) -> dict[str, Any]:
    return {"name": str(route.key), "match": match_requests(route, prefix, *headers)}


def match_requests(route: Route, prefix: str, *headers: dict[str, Any]) -> dict[str, Any]:
    """Return the match of a route's requests; its gRPC side takes only gRPC, and comes first."""
    match: dict[str, Any] = {"prefix": prefix}
    if headers:
        match["headers"] = list(headers)
    return match | {"grpc": {}} if route.is_grpc else match


def _no_grpc(key: RouteKey) -> str:
    return (
        f"No revision of {key} speaks gRPC; its ModelRuntime names no grpcPort. "
        f"The same protocol is at http://{key.name}.{key.namespace}/v2/ ."
    )


def _split(route: Route, slots: tuple[tuple[str, int], ...], traffic: Traffic) -> dict[str, Any]:
    common = _common(route)
    captured = {b.revision: build_captured(route, b) for b in route.backends if traffic is Traffic.LIVE}
    clusters = [
        {
            "name": cluster_name(route.key.namespace, revision, traffic, grpc=route.is_grpc),
            "weight": weight,
            "request_headers_to_add": [overwrite(REVISION_HEADER, revision)],
            **({"typed_per_filter_config": captured[revision]} if captured.get(revision) else {}),
        }
        for revision, weight in slots
    ]
    action = {
        "weighted_clusters": {"clusters": clusters},
        **common["route"],
        "request_mirror_policies": build_mirror_policies(route),
    }
    return common | {"route": action}


def _merge(route: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Add a sticky part: its lists are appended, its action's fields added, and the split goes by the hash."""
    weighted = {**route["route"]["weighted_clusters"], "use_hash_policy": True}
    return {
        **route,
        **part,
        "request_headers_to_add": [
            *route["request_headers_to_add"],
            *part.get("request_headers_to_add", ()),
        ],
        "typed_per_filter_config": {
            **route.get("typed_per_filter_config", {}),
            **part.get("typed_per_filter_config", {}),
        },
        "route": {**route["route"], **part["route"], "weighted_clusters": weighted},
    }


def _common(route: Route) -> dict[str, Any]:
    """Return what every route to a server has: path, limits, latency budget; only what differs from the default."""
    action = {"prefix_rewrite": "/", "timeout": f"{route.timeout_s:.3f}s"}
    if route.timeout_s > DEFAULT_TIMEOUT_S:
        action["idle_timeout"] = f"{route.timeout_s + IDLE_MARGIN_S:.3f}s"
    timeout_ms = round(1000 * route.timeout_s)
    deadlines = [overwrite(TIMEOUT_HEADER, str(timeout_ms))]
    if route.is_grpc:
        deadlines.append(add_if_absent(GRPC_TIMEOUT_HEADER, f"{timeout_ms}m"))
    common: dict[str, Any] = {"request_headers_to_add": deadlines, "route": action}
    if route.latency_budget_ms is not None:
        common["request_headers_to_add"].append(overwrite(BUDGET_HEADER, f"{route.latency_budget_ms}ms"))
    if route.max_body_bytes != DEFAULT_MAX_BODY_BYTES:
        kind = "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute"
        buffer = {"@type": kind, "buffer": {"max_request_bytes": route.max_body_bytes}}
        common["typed_per_filter_config"] = {"envoy.filters.http.buffer": buffer}
    return common


def _preview(route: Route, prefix: str) -> dict[str, Any]:
    single = build_single(route, route.preview or "", Traffic.PIN)
    return {"name": f"{route.key}:preview", "match": match_requests(route, prefix)} | single


def _preview_grpc(route: Route) -> list[dict[str, Any]]:
    speaks = any(b.revision == route.preview and b.grpc_port for b in route.backends)
    return [_preview(route.grpc_side(), "/")] if speaks else []


def _feedback(key: RouteKey, path: str) -> dict[str, Any]:
    """Return the route of feedback to the observer; other methods on that path are the model's."""
    return {
        "name": f"{key}/feedback",
        "match": {"path": path, "headers": [{"name": ":method", "string_match": {"exact": "POST"}}]},
        "request_headers_to_remove": [CLIENT_HEADER],
        "route": {
            "cluster": OBSERVER_CLUSTER,
            "prefix_rewrite": f"/v1/namespaces/{key.namespace}/deployments/{key.name}/feedback",
            "timeout": f"{DEFAULT_TIMEOUT_S}s",
        },
    }


def retry_policy() -> dict[str, Any]:
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
