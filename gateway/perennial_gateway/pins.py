"""Build the routes of the pinning port, where an authenticated client names the revision that answers.

Only ServiceAccounts of the route's own namespace may: a pin reaches revisions that nobody has released yet, and
passes by the counts that a rollout is judged by.
"""

from __future__ import annotations

from typing import Any

from perennial_gateway.clusters import Traffic
from perennial_gateway.headers import CALLER_HEADER, PIN_HEADER, REVISION_HEADER
from perennial_gateway.model import Route
from perennial_gateway.routes import (
    build_single,
    direct_response,
    match_requests,
    own_domains,
    retry_policy,
)


def build_pin_path_routes(route: Route) -> list[dict[str, Any]]:
    """Return the routes ``/<namespace>/<name>/…`` of the pinning port."""
    return _pins(route, f"/{route.key.namespace}/{route.key.name}/")


def build_pin_virtual_host(route: Route, cluster_domain: str) -> dict[str, Any]:
    """Return the virtual host of the route's own names on the pinning port."""
    return {
        "name": str(route.key),
        "domains": own_domains(route.key, cluster_domain),
        "retry_policy": retry_policy(),
        "routes": [*_grpc_pins(route), *_pins(route, "/")],
    }


def _pins(route: Route, prefix: str) -> list[dict[str, Any]]:
    revisions = [b.revision for b in route.backends]
    message = f"Say in {REVISION_HEADER} which revision of {route.key} shall answer: {', '.join(revisions)}."
    unnamed = {"name": str(route.key), "match": _of_namespace(route, prefix)} | direct_response(400, message)
    refusal = (
        f"Only ServiceAccounts of namespace {route.key.namespace} may name the revision that answers. "
        f"Take a token of one: kubectl create token -n {route.key.namespace} …"
    )
    stranger = {"name": str(route.key), "match": {"prefix": prefix}} | direct_response(403, refusal)
    return [*(_pin(route, prefix, revision) for revision in revisions), unnamed, stranger]


def _grpc_pins(route: Route) -> list[dict[str, Any]]:
    return [_pin(route.grpc_side(), "/", b.revision) for b in route.backends if b.grpc_port]


def _pin(route: Route, prefix: str, revision: str) -> dict[str, Any]:
    single = build_single(route, revision, Traffic.PIN)
    asked = {"name": PIN_HEADER, "string_match": {"exact": revision}}
    return single | {
        "name": f"{route.key}/{revision}",
        "match": _of_namespace(route, prefix, asked),
        "request_headers_to_remove": [*single["request_headers_to_remove"], CALLER_HEADER],
    }


def _of_namespace(route: Route, prefix: str, *headers: dict[str, Any]) -> dict[str, Any]:
    """Return the match of requests by ServiceAccounts of the route's namespace."""
    accounts = {"prefix": f"system:serviceaccount:{route.key.namespace}:"}
    return match_requests(route, prefix, {"name": CALLER_HEADER, "string_match": accounts}, *headers)
