"""Build the part of Envoy's configuration that never changes while it runs."""

from __future__ import annotations

from typing import Any

from perennial_gateway.clusters import CONNECT_TIMEOUT, http_protocol_options
from perennial_gateway.resources import ROUTE_CONFIG_NAME
from perennial_gateway.routes import OBSERVER_CLUSTER, PREDICTION_HEADER, REVISION_HEADER
from perennial_gateway.settings import EnvoySettings

STAT_PREFIX = "ingress"
EPOCH_PREFIX = "epoch-"
HEALTH_PATH = "/healthz"

_TYPE = "type.googleapis.com/"
_HTTP = "envoy.extensions.filters.http"
_KEPT_CLUSTER_STATS = (
    ".upstream_rq_completed",
    ".upstream_rq_5xx",
    ".upstream_rq_active",
    ".upstream_rq_time",
    ".upstream_rq_retry",
    ".upstream_cx_active",
)
_KEPT_STATS = ("cluster_manager.", "http.", "server.", "listener.", "overload.")


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
        "dynamic_resources": {"cds_config": _file_source(str(settings.cds_path))},
        "static_resources": {
            "listeners": [_listener(settings, epoch)],
            "clusters": [_observer_cluster(settings)],
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


def _file_source(path: str) -> dict[str, Any]:
    """Watch a file for being renamed over.

    No `watched_directory`: it would read one file again whenever the other is replaced.
    """
    return {"resource_api_version": "V3", "path_config_source": {"path": path}}


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


def _listener(settings: EnvoySettings, epoch: str) -> dict[str, Any]:
    address = {"address": settings.listen_address, "port_value": settings.listen_port}
    return {
        "name": STAT_PREFIX,
        "stat_prefix": f"{EPOCH_PREFIX}{epoch}",
        "address": {"socket_address": address},
        "per_connection_buffer_limit_bytes": 32_768,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": _connection_manager(settings),
                    }
                ]
            }
        ],
    }


def _connection_manager(settings: EnvoySettings) -> dict[str, Any]:
    manager = f"{_TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    return {
        "@type": manager,
        "stat_prefix": STAT_PREFIX,
        "rds": {
            "route_config_name": ROUTE_CONFIG_NAME,
            "config_source": _file_source(str(settings.rds_path)),
        },
        "use_remote_address": True,
        "strip_any_host_port": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        # A client's own id is kept for its logs; it is never the prediction's key.
        "preserve_external_request_id": True,
        "request_headers_timeout": "10s",
        "request_timeout": "60s",
        "stream_idle_timeout": "75s",
        "common_http_protocol_options": {"idle_timeout": "300s", "max_headers_count": 100},
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 65_536,
            "initial_connection_window_size": 1_048_576,
        },
        "server_name": "perennial",
        "local_reply_config": {"body_format": {"json_format": {"error": "%LOCAL_REPLY_BODY%"}}},
        "http_filters": _http_filters(settings),
    }


def _http_filters(settings: EnvoySettings) -> list[dict[str, Any]]:
    return [
        _filter("header_mutation", "HeaderMutation", {"mutations": _header_mutations()}),
        _filter(
            "health_check",
            "HealthCheck",
            {
                "pass_through_mode": False,
                "headers": [{"name": ":path", "string_match": {"exact": HEALTH_PATH}}],
            },
        ),
        _filter("buffer", "Buffer", {"max_request_bytes": settings.max_body_bytes}),
        _filter("router", "Router", {"suppress_envoy_headers": True}),
    ]


def _header_mutations() -> dict[str, Any]:
    """Return what makes the two headers ours.

    The prediction id is drawn per request, before anything can answer it, and copied to every
    answer, also Envoy's own. The revision is removed from the request, set by the chosen weighted
    cluster, and copied back.
    """
    return {
        "request_mutations": [
            # A client's x-envoy-* headers could switch on retries or shorten timeouts.
            {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}},
            {"remove": REVISION_HEADER},
            _overwrite(PREDICTION_HEADER, "%UNIQUE_ID%"),
        ],
        "response_mutations": [
            {"remove": REVISION_HEADER},
            _overwrite(PREDICTION_HEADER, f"%REQ({PREDICTION_HEADER})%"),
            _overwrite(REVISION_HEADER, f"%REQ({REVISION_HEADER})%"),
        ],
    }


def _overwrite(name: str, value: str) -> dict[str, Any]:
    return {
        "append": {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    }


def _filter(name: str, message: str, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": f"envoy.filters.http.{name}",
        "typed_config": {"@type": f"{_TYPE}{_HTTP}.{name}.v3.{message}", **config},
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
