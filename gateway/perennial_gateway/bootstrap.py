"""Build the part of Envoy's configuration that never changes while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perennial_gateway.access_logs import CLIENTS_CLUSTER
from perennial_gateway.agent_calls import STATS_SCOPE, build_call_limits
from perennial_gateway.capture import CAPTURE_CLUSTER
from perennial_gateway.clusters import CONNECT_TIMEOUT, http_protocol_options
from perennial_gateway.listeners import AGENT_CLUSTER, build_listeners, file_source
from perennial_gateway.routes import OBSERVER_CLUSTER
from perennial_gateway.settings import EnvoySettings

_TYPE = "type.googleapis.com/"
_KEPT_CLUSTER_STATS = (
    ".upstream_rq_completed",
    ".upstream_rq_5xx",
    ".upstream_rq_400",
    ".upstream_rq_422",
    ".upstream_rq_active",
    ".upstream_rq_time",
    ".upstream_rq_retry",
    ".upstream_rq_pending_overflow",
    ".upstream_rq_pending_failure_eject",
    ".upstream_cx_active",
)
_KEPT_STATS = (
    "cluster_manager.",
    "http.",
    "server.",
    "listener.",
    "overload.",
    f"{STATS_SCOPE}.",
)


def build_bootstrap(settings: EnvoySettings, epoch: str) -> dict[str, Any]:
    """Return Envoy's bootstrap.

    Parameters
    ----------
    settings
        Of the Envoy container.
    epoch
        Fresh for every Envoy process. It is part of the listener's statistics' name, so that one
        reading of the counters also says when they started at zero.
    """
    return {
        "node": {"id": settings.pod_name, "cluster": "perennial-gateway"},
        "admin": {"address": {"pipe": {"path": str(settings.admin_socket), "mode": 0o600}}},
        "dynamic_resources": {"cds_config": file_source(settings.cds_path)},
        "static_resources": {
            "listeners": build_listeners(settings, epoch),
            "clusters": [
                _observer_cluster(settings),
                _local_cluster(AGENT_CLUSTER, _loopback(settings.agent_port)),
                _local_cluster(CLIENTS_CLUSTER, _pipe(settings.clients_socket)) | build_call_limits(),
                _local_cluster(CAPTURE_CLUSTER, _pipe(settings.capture_socket)) | build_call_limits(),
            ],
        },
        "stats_config": {
            "stats_matcher": {
                "inclusion_list": {
                    "patterns": [
                        *({"prefix": prefix} for prefix in _KEPT_STATS),
                        *({"suffix": suffix} for suffix in _KEPT_CLUSTER_STATS),
                    ]
                }
            }
        },
        "overload_manager": _overload_manager(settings),
    }


def _loopback(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _pipe(socket: Path) -> dict[str, Any]:
    return {"pipe": {"path": str(socket)}}


def _local_cluster(name: str, address: dict[str, Any]) -> dict[str, Any]:
    """Return a cluster of something in this pod."""
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": CONNECT_TIMEOUT,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def _observer_cluster(settings: EnvoySettings) -> dict[str, Any]:
    address = {"address": settings.observer_host, "port_value": settings.observer_port}
    return {
        "name": OBSERVER_CLUSTER,
        "type": "STRICT_DNS",
        "connect_timeout": CONNECT_TIMEOUT,
        "load_assignment": {
            "cluster_name": OBSERVER_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": address}}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http_protocol_options()
        },
    }


def _overload_manager(settings: EnvoySettings) -> dict[str, Any]:
    """Refuse connections and requests rather than be killed for memory."""
    monitors = f"{_TYPE}envoy.extensions.resource_monitors"
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": f"{monitors}.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": settings.max_connections,
                },
            },
            {
                "name": "envoy.resource_monitors.fixed_heap",
                "typed_config": {
                    "@type": f"{monitors}.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": settings.max_heap_bytes,
                },
            },
        ],
        "actions": [
            _heap_action("envoy.overload_actions.shrink_heap", 0.90),
            _heap_action("envoy.overload_actions.stop_accepting_requests", 0.95),
        ],
    }


def _heap_action(name: str, share: float) -> dict[str, Any]:
    trigger = {"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": share}}
    return {"name": name, "triggers": [trigger]}
