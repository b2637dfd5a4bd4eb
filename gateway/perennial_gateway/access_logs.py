"""What Envoy counts and tells of finished requests: slow ones, gRPC's failures, and the clients of sticky routes.

They come from access loggers that never block a request: some add to counters of Envoy's own, which
survive every change of endpoints; one tells the agent, see `agent_calls.py`.
"""

from __future__ import annotations

from typing import Any

from perennial_gateway.agent_calls import STATS_SCOPE, build_counting, build_telling
from perennial_gateway.headers import BUDGET_HEADER, CLIENT_HEADER, GRPC_TIMEOUT_HEADER, TIMEOUT_HEADER
from perennial_gateway.sticky import METADATA, SALT_KEY

SLOW_STAT = f"{STATS_SCOPE}.slow.cluster."
"""Prefix of the counters of slow requests; the cluster's name follows."""

FAILED_STAT = f"{STATS_SCOPE}.grpc_failed.cluster."
INVALID_STAT = f"{STATS_SCOPE}.grpc_invalid.cluster."
"""Prefixes of the counters of gRPC requests that a server failed, and that it found at fault."""

UNSERVED_STAT = f"{STATS_SCOPE}.unserved.route."
"""Prefix of the counters of requests that no server was ready to take, which are in no cluster's; the route's name
follows."""

GRPC_FAULTS = (2, 13, 14, 15)
"""UNKNOWN, INTERNAL, UNAVAILABLE, DATA_LOSS: what REST answers with a 5xx. A client can provoke all others,
RESOURCE_EXHAUSTED and UNIMPLEMENTED too, as it can a 429 and a 404."""

GRPC_TIME_UP = 4
"""DEADLINE_EXCEEDED: a fault like those where the route's time was up, but not where the client gave less."""

GRPC_UNAVAILABLE = 14

FROM_SERVER = "via_upstream"
"""What Envoy says of an answer that isn't its own."""

CLIENTS_CLUSTER = "clients"
CLIENTS_STAT = f"{STATS_SCOPE}.clients"
"""How many requests on sticky routes the agent should have been told of."""

_FILTERS = "type.googleapis.com/envoy.extensions.access_loggers.filters"

# A server's time is counted, not that of a client who reads slowly; an answer that never came took all the time there was.
_IS_SLOW = (
    f"duration(request.headers['{BUDGET_HEADER}']) < "
    "(has(response.backend_latency) ? response.backend_latency : request.duration)"
)
# Only a status that somebody has given counts: Envoy makes one up for requests that the client has given up.
_HAS_STATUS = "('grpc-status' in response.trailers || 'grpc-status' in response.headers)"
# Joining strings isn't among what Envoy's expressions can do.
_HAD_ROUTES_TIME = (
    f"(request.headers['{GRPC_TIMEOUT_HEADER}'].startsWith(request.headers['{TIMEOUT_HEADER}']) "
    f"&& request.headers['{GRPC_TIMEOUT_HEADER}'].matches('^[0-9]+m$'))"
)
_IS_TIME_UP = (
    f"response.grpc_status == {GRPC_TIME_UP} "
    f"&& (response.code_details != '{FROM_SERVER}' || {_HAD_ROUTES_TIME})"
)
_HAS_FAILED = (
    f"response.code >= 500 || ({_HAS_STATUS} "
    f"&& (response.grpc_status in {list(GRPC_FAULTS)} || ({_IS_TIME_UP})))"
)
_IS_INVALID = f"{_HAS_STATUS} && response.grpc_status == 3"
_IS_UNSERVED = (
    "response.code_details == 'direct_response' "
    f"&& (response.code == 503 || response.grpc_status == {GRPC_UNAVAILABLE})"
)
_IS_STICKY = f"'{SALT_KEY}' in xds.route_metadata.filter_metadata['{METADATA}']"


def build_slow_log() -> dict[str, Any]:
    """Return the logger that counts, by cluster, requests above their route's latency budget."""
    return _log("slow", _present(BUDGET_HEADER), _IS_SLOW, _by_cluster("slow"))


def build_unserved_log() -> dict[str, Any]:
    """Return the logger that counts, by route, what the gateway answers itself since no server is ready: the worst outage."""
    failed = {
        "comparison": {
            "op": "EQ",
            "value": {"default_value": 503, "runtime_key": "perennial.unserved.status"},
        }
    }
    either = {"or_filter": {"filters": [{"status_code_filter": failed}, _IS_GRPC]}}
    return _log("unserved", either, _IS_UNSERVED, build_counting("unserved", {"route": "%ROUTE_NAME%"}))


def build_grpc_logs() -> list[dict[str, Any]]:
    """Return the loggers that count, by cluster, what gRPC hides from Envoy's own counters: its answers are all 200."""
    return [
        _log("grpc_failed", _IS_GRPC, _HAS_FAILED, _by_cluster("grpc_failed")),
        _log("grpc_invalid", _IS_GRPC, _IS_INVALID, _by_cluster("grpc_invalid")),
    ]


def build_clients_logs() -> list[dict[str, Any]]:
    """Return the loggers that count, and tell the agent, who was served by whom; only for sticky routes."""
    attributes = {
        "cluster": "%UPSTREAM_CLUSTER%",
        "client": f"%REQ({CLIENT_HEADER})%",
        "salt": f"%METADATA(ROUTE:{METADATA}:{SALT_KEY})%",
        "status": "%RESPONSE_CODE%",
        # In the headers where an answer is nothing but its status.
        "grpc": "%TRAILER(grpc-status)%",
        "grpc_only": "%RESP(grpc-status)%",
        "from": "%RESPONSE_CODE_DETAILS%",
        "deadline": f"%REQ({GRPC_TIMEOUT_HEADER})%",
        "timeout_ms": f"%REQ({TIMEOUT_HEADER})%",
    }
    configs = build_telling("clients", CLIENTS_CLUSTER, attributes, flush="0.5s")
    return [_log(name, _present(CLIENT_HEADER), _IS_STICKY, config) for name, config in configs.items()]


def _present(header: str) -> dict[str, Any]:
    return _matching(header, {"present_match": True})


def _matching(header: str, match: dict[str, Any]) -> dict[str, Any]:
    return {"header_filter": {"header": {"name": header, **match}}}


_IS_GRPC = _matching("content-type", {"string_match": {"prefix": "application/grpc"}})


def _by_cluster(name: str) -> dict[str, Any]:
    return build_counting(name, {"cluster": "%UPSTREAM_CLUSTER%"})


def _log(name: str, cheap: dict[str, Any], expression: str, config: dict[str, Any]) -> dict[str, Any]:
    """Return a logger for requests that pass a filter, which is cheap to ask, and of which an expression is true."""
    cel = {"@type": f"{_FILTERS}.cel.v3.ExpressionFilter", "expression": expression}
    true = {"extension_filter": {"name": "envoy.access_loggers.extension_filters.cel", "typed_config": cel}}
    return {"name": name, "filter": {"and_filter": {"filters": [cheap, true]}}, "typed_config": config}
