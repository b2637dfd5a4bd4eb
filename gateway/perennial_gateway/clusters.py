"""Build Envoy's clusters of each revision, with their endpoints inline.

Endpoints are inline because Envoy opens one inotify instance per endpoint file and aborts at about
a hundred of them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from perennial_gateway.model import Backend, Route

CONNECT_TIMEOUT = "1s"
UPSTREAM_IDLE_TIMEOUT = "4s"
"""Below uvicorn's keep-alive of 5 s: a connection must never be reused as its server closes it."""

GRPC_IDLE_TIMEOUT = "300s"
GRPC = "grpc"
"""Last part of the names of clusters that speak gRPC."""

MAX_UPSTREAM_REQUESTS = 16_384
"""Per cluster; servers shed load themselves, and Envoy's default of 1,024 would do it for them."""

MAX_MIRRORED_REQUESTS = 256
MAX_WAITING_COPIES = 64
"""Copies under way per revision, and those that wait for a connection; more are dropped, so that a slow
shadow costs the gateway no memory."""

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


class Traffic(StrEnum):
    """Why a revision gets requests; each kind has a cluster, hence counters and connections, of its own."""

    LIVE = ""
    SHADOW = "shadow"
    PIN = "pin"
    MIRROR = "mirror"
    """The way of copies to the gateway's own inner listener, which sends them on as `SHADOW`."""


def cluster_name(
    namespace: str, revision: str, traffic: Traffic = Traffic.LIVE, *, grpc: bool = False
) -> str:
    """Return the name of a revision's cluster; that of live traffic is also the key in `/status`.

    A revision keeps one cluster whatever its role, so that promotion moves no counter. No part may
    hold a dot or a slash, hence two revisions never share statistics. gRPC has clusters of its own, since they speak
    HTTP/2; `fold_name` says with which their counters belong.
    """
    return "/".join(part for part in (namespace, revision, traffic, GRPC if grpc else "") if part)


def fold_name(cluster: str) -> str:
    """Return the cluster that a gRPC cluster is counted with.

    >>> fold_name("shop/wine-a/grpc"), fold_name("shop/wine-a/pin/grpc"), fold_name("shop/wine-a")
    ('shop/wine-a', 'shop/wine-a/pin', 'shop/wine-a')
    """
    return cluster.removesuffix(f"/{GRPC}") if is_grpc_cluster(cluster) else cluster


def is_grpc_cluster(cluster: str) -> bool:
    """Return whether a cluster speaks gRPC; a revision may be called like its last part."""
    return cluster.count("/") > 1 and cluster.endswith(f"/{GRPC}")


def build_clusters(route: Route, shadow_socket: str) -> tuple[dict[str, Any], ...]:
    """Return the STATIC clusters of all revisions, those of weight 0 too: they stay warm.

    Those of gRPC stand beside them for revisions that speak it.
    """
    grpc = route.grpc_side()
    clusters = [_build_backend(route, backend, shadow_socket) for backend in route.backends]
    clusters += [_build_backend(grpc, b, shadow_socket) for b in grpc.backends if b.grpc_port]
    return tuple(cluster for of_backend in clusters for cluster in of_backend)


def _build_backend(route: Route, backend: Backend, shadow_socket: str) -> list[dict[str, Any]]:
    clusters = [_build_cluster(route, backend, Traffic.LIVE), _build_cluster(route, backend, Traffic.PIN)]
    if backend.revision == route.mirror:
        clusters.append(_build_cluster(route, backend, Traffic.SHADOW))
        clusters.append(_build_mirror(route, backend.revision, shadow_socket))
    return clusters


def _build_cluster(route: Route, backend: Backend, traffic: Traffic) -> dict[str, Any]:
    name = cluster_name(route.key.namespace, backend.revision, traffic, grpc=route.is_grpc)
    addresses = [
        {"socket_address": {"address": e.address, "port_value": e.port}} for e in sorted(backend.endpoints)
    ]
    common = _static(name, addresses, MAX_UPSTREAM_REQUESTS, MAX_UPSTREAM_REQUESTS, grpc=route.is_grpc)
    return common | {
        "lb_policy": "LEAST_REQUEST",
        # Never send to endpoints set aside because too few are left: a canary has one or two.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "outlier_detection": _outlier_detection(),
    }


def _build_mirror(route: Route, revision: str, shadow_socket: str) -> dict[str, Any]:
    """Return the way to the inner listener; its breaker drops copies before they are counted as requests."""
    name = cluster_name(route.key.namespace, revision, Traffic.MIRROR, grpc=route.is_grpc)
    pipe = [{"pipe": {"path": shadow_socket}}]
    return _static(name, pipe, MAX_MIRRORED_REQUESTS, MAX_WAITING_COPIES, grpc=route.is_grpc)


def _static(
    name: str, addresses: list[dict[str, Any]], max_requests: int, max_waiting: int, *, grpc: bool
) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": name,
        "alt_stat_name": name,
        "type": "STATIC",
        "connect_timeout": CONNECT_TIMEOUT,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": a}} for a in addresses]}],
        },
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": max_requests,
                    "max_pending_requests": max_waiting,
                    "max_requests": max_requests,
                    "max_retries": max_requests,
                }
            ]
        },
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: grpc_protocol_options() if grpc else http_protocol_options()
        },
    }


def _outlier_detection() -> dict[str, Any]:
    """Set aside an endpoint that can't be reached, until its pod is out of the EndpointSlice.

    A dead endpoint has no active requests, so least-request would send it most of them. Only
    failures on our side of the connection count: a server's own 5xx must reach the gate. At most
    half are set aside, so never a canary's only pod: each failed connection must be counted.
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
        "always_eject_one_host": False,
    }


def http_protocol_options() -> dict[str, Any]:
    """Return the HTTP/1.1 options of every upstream."""
    return {
        "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
        "common_http_protocol_options": {"idle_timeout": UPSTREAM_IDLE_TIMEOUT},
        "explicit_http_config": {"http_protocol_options": {}},
    }


def grpc_protocol_options() -> dict[str, Any]:
    """Return the HTTP/2 options of upstreams that speak gRPC; a server says itself when it closes a connection."""
    return {
        "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
        "common_http_protocol_options": {"idle_timeout": GRPC_IDLE_TIMEOUT},
        "explicit_http_config": {"http2_protocol_options": {}},
    }
