"""What Envoy counts and tells of finished requests: slow ones, and the clients of sticky routes.

Both come from access loggers that never block a request: one adds to counters of Envoy's own, which
survive every change of endpoints; the other has a bounded buffer and drops what the agent is too slow to take.
"""

from __future__ import annotations

from typing import Any

from perennial_gateway.headers import BUDGET_HEADER, CLIENT_HEADER
from perennial_gateway.sticky import METADATA, SALT_KEY

STATS_SCOPE = "perennial"
SLOW_STAT = f"{STATS_SCOPE}.slow.cluster."
"""Prefix of the counters of slow requests; the cluster's name follows."""

CLIENTS_CLUSTER = "clients"
CLIENTS_LOST_STAT = f"access_logs.fluentd.{CLIENTS_CLUSTER}.entries_lost"
CLIENTS_BUFFER_BYTES = 262_144

_TYPE = "type.googleapis.com/envoy.extensions.access_loggers"

# A server's time is counted, not that of a client who reads slowly; an answer that never came took all the time there was.
_IS_SLOW = (
    f"duration(request.headers['{BUDGET_HEADER}']) < "
    "(has(response.backend_latency) ? response.backend_latency : request.duration)"
)
_IS_STICKY = f"'{SALT_KEY}' in xds.route_metadata.filter_metadata['{METADATA}']"


def build_slow_log() -> dict[str, Any]:
    """Return the logger that counts, by cluster, requests above their route's latency budget."""
    counter = {
        "stat": {"name": "slow", "tags": [{"name": "cluster", "value_format": "%UPSTREAM_CLUSTER%"}]},
        "value_fixed": 1,
    }
    return _log(
        "slow",
        BUDGET_HEADER,
        _IS_SLOW,
        {
            "@type": f"{_TYPE}.stats.v3.Config",
            "stats_scope": {"prefix": STATS_SCOPE},
            "counters": [counter],
        },
    )


def build_clients_log() -> dict[str, Any]:
    """Return the logger that tells the agent who was served by whom; only for sticky routes."""
    return _log(
        "clients",
        CLIENT_HEADER,
        _IS_STICKY,
        {
            "@type": f"{_TYPE}.fluentd.v3.FluentdAccessLogConfig",
            "cluster": CLIENTS_CLUSTER,
            "tag": CLIENTS_CLUSTER,
            "stat_prefix": CLIENTS_CLUSTER,
            "buffer_flush_interval": "0.5s",
            "buffer_size_bytes": CLIENTS_BUFFER_BYTES,
            "record": {
                "cluster": "%UPSTREAM_CLUSTER%",
                "client": f"%REQ({CLIENT_HEADER})%",
                "salt": f"%METADATA(ROUTE:{METADATA}:{SALT_KEY})%",
                "status": "%RESPONSE_CODE%",
            },
        },
    )


def _log(name: str, header: str, expression: str, config: dict[str, Any]) -> dict[str, Any]:
    """Return a logger for requests with a header, which is cheap to see, of which an expression is true."""
    present = {"header_filter": {"header": {"name": header, "present_match": True}}}
    cel = {"@type": f"{_TYPE}.filters.cel.v3.ExpressionFilter", "expression": expression}
    true = {"extension_filter": {"name": "envoy.access_loggers.extension_filters.cel", "typed_config": cel}}
    return {"name": name, "filter": {"and_filter": {"filters": [present, true]}}, "typed_config": config}
