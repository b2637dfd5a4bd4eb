"""Build Envoy's cluster of each revision, with its endpoints inline.

Endpoints are inline because Envoy opens one inotify instance per endpoint file and aborts at about
a hundred of them.
"""

from __future__ import annotations

from typing import Any

from perennial_gateway.model import Backend, Route

CONNECT_TIMEOUT = "1s"
UPSTREAM_IDLE_TIMEOUT = "4s"
"""Below uvicorn's keep-alive of 5 s: a connection must never be reused as its server closes it."""

MAX_UPSTREAM_REQUESTS = 16_384
"""Per cluster; servers shed load themselves, and Envoy's default of 1,024 would do it for them."""

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def cluster_name(namespace: str, revision: str) -> str:
    """Return the name of a revision's cluster, which is also the key of its counters in `/status`.

    A revision keeps one cluster whatever its role, so that promotion moves no counter. Neither part
    may hold a dot or a slash, hence two revisions never share statistics.
    """
    return f"{namespace}/{revision}"


def build_clusters(route: Route) -> tuple[dict[str, Any], ...]:
    """Return one STATIC cluster per revision, those of weight 0 too: they stay warm."""
    return tuple(_build_cluster(route.key.namespace, backend) for backend in route.backends)


def _build_cluster(namespace: str, backend: Backend) -> dict[str, Any]:
    name = cluster_name(namespace, backend.revision)
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": name,
        "alt_stat_name": name,
        "type": "STATIC",
        "connect_timeout": CONNECT_TIMEOUT,
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {"lb_endpoints": [_lb_endpoint(e.address, e.port) for e in sorted(backend.endpoints)]}
            ],
        },
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": MAX_UPSTREAM_REQUESTS,
                    "max_pending_requests": MAX_UPSTREAM_REQUESTS,
                    "max_requests": MAX_UPSTREAM_REQUESTS,
                    "max_retries": MAX_UPSTREAM_REQUESTS,
                }
            ]
        },
        "outlier_detection": _outlier_detection(),
        "typed_extension_protocol_options": {_HTTP_OPTIONS: http_protocol_options()},
    }


def _outlier_detection() -> dict[str, Any]:
    """Set aside an endpoint that can't be reached, until its pod is out of the EndpointSlice.

    A dead endpoint has no active requests, so least-request would send it most of them. Only
    failures on our side of the connection count: a server's own 5xx must reach the gate.
    """
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 3,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_local_origin_success_rate": 0,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "interval": "1s",
        "base_ejection_time": "5s",
        "max_ejection_percent": 50,
    }


def http_protocol_options() -> dict[str, Any]:
    """Return the HTTP/1.1 options of every upstream."""
    return {
        "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
        "common_http_protocol_options": {"idle_timeout": UPSTREAM_IDLE_TIMEOUT},
        "explicit_http_config": {"http_protocol_options": {}},
    }


def _lb_endpoint(address: str, port: int) -> dict[str, Any]:
    return {"endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}}}
