"""Build Envoy's listeners: the public port, the pinning port, and the inner one that copies come through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perennial_gateway.access_logs import (
    build_clients_logs,
    build_grpc_logs,
    build_slow_log,
    build_unserved_log,
)
from perennial_gateway.capture import build_capture_filter, build_capture_logs
from perennial_gateway.clusters import MAX_MIRRORED_REQUESTS
from perennial_gateway.headers import (
    CALLER_HEADER,
    CLIENT_HEADER,
    INTERNAL_HEADERS,
    PIN_HEADER,
    PREDICTION_HEADER,
    REVISION_HEADER,
    SHADOW_TIMEOUT_HEADER,
    overwrite,
)
from perennial_gateway.mirror import build_shadow_action
from perennial_gateway.model import DEFAULT_MAX_BODY_BYTES, DEFAULT_TIMEOUT_S
from perennial_gateway.resources import PIN_CONFIG_NAME, ROUTE_CONFIG_NAME
from perennial_gateway.routes import IDLE_MARGIN_S, retry_policy
from perennial_gateway.settings import EnvoySettings
from perennial_gateway.sticky import COOKIE_FILTER, COOKIE_FILTER_TYPE

STAT_PREFIX = "ingress"
PIN_PREFIX = "pin"
SHADOW_PREFIX = "shadow"
SHADOW_BACKLOG = 4 * MAX_MIRRORED_REQUESTS
"""A connection to a full Unix socket fails at once, and with it every copy that waits for one."""
EPOCH_PREFIX = "epoch-"
HEALTH_PATH = "/healthz"
AGENT_CLUSTER = "agent"
JWKS_PATH = "/jwks"
GRPC_STATUSES = {400: 3, 404: 5, 413: 8, 421: 5, 501: 12, 504: 4}
"""INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED, UNIMPLEMENTED and DEADLINE_EXCEEDED, where Envoy would say less."""

JWKS_CACHE = "60s"
"""The API server's new signing key counts after at most this long."""

_TYPE = "type.googleapis.com/"
_HTTP = "envoy.extensions.filters.http"


def build_listeners(settings: EnvoySettings, epoch: str) -> list[dict[str, Any]]:
    """Return all listeners; `epoch` is part of the public one's statistics' name."""
    public = _inbound(STAT_PREFIX, ROUTE_CONFIG_NAME, settings.rds_path) | {
        "access_log": [
            build_slow_log(),
            *build_grpc_logs(),
            build_unserved_log(),
            *build_clients_logs(),
            *build_capture_logs(),
        ],
        "early_header_mutation_extensions": _early([{"remove": REVISION_HEADER}]),
        "http_filters": [
            _answers(),
            _health(),
            _cookie(),
            _buffer(),
            build_capture_filter(disabled=True),
            _router(),
        ],
    }
    # The client's wish is kept under another name, since the answer's header tells who has answered.
    wish: list[dict[str, Any]] = [
        {"append": overwrite(PIN_HEADER, f"%REQ({REVISION_HEADER})%")},
        {"remove": REVISION_HEADER},
    ]
    pinning = _inbound(PIN_PREFIX, PIN_CONFIG_NAME, settings.pins_path) | {
        "access_log": build_grpc_logs(),
        "early_header_mutation_extensions": _early(wish),
        "http_filters": [_answers(), _authentication(settings), _buffer(), _router()],
    }
    return [
        _listener(STAT_PREFIX, _address(settings, settings.listen_port), public)
        | {"stat_prefix": f"{EPOCH_PREFIX}{epoch}"},
        _listener(PIN_PREFIX, _address(settings, settings.pin_port), pinning),
        _listener(SHADOW_PREFIX, {"pipe": {"path": str(settings.shadow_socket), "mode": 0o600}}, _shadow())
        | {"tcp_backlog_size": SHADOW_BACKLOG},
    ]


def file_source(path: Path) -> dict[str, Any]:
    """Watch a file for being renamed over.

    No `watched_directory`: it would read one file again whenever another is replaced.
    """
    return {"resource_api_version": "V3", "path_config_source": {"path": str(path)}}


def _address(settings: EnvoySettings, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": settings.listen_address, "port_value": port}}


def _listener(name: str, address: dict[str, Any], manager: dict[str, Any]) -> dict[str, Any]:
    kind = f"{_TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    return {
        "name": name,
        "address": address,
        "per_connection_buffer_limit_bytes": 32_768,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": {"@type": kind, **manager},
                    }
                ]
            }
        ],
    }


def _inbound(prefix: str, route_config: str, path: Path) -> dict[str, Any]:
    """Return what both ports for clients have in common."""
    return {
        "stat_prefix": prefix,
        "rds": {"route_config_name": route_config, "config_source": file_source(path)},
        "use_remote_address": True,
        "strip_any_host_port": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        # A client's own id is kept for its logs; it is never the prediction's key.
        "preserve_external_request_id": True,
        "request_headers_timeout": "10s",
        "request_timeout": "60s",
        "stream_idle_timeout": f"{DEFAULT_TIMEOUT_S + IDLE_MARGIN_S}s",
        "common_http_protocol_options": {"idle_timeout": "300s", "max_headers_count": 100},
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 65_536,
            "initial_connection_window_size": 1_048_576,
        },
        "server_name": "perennial",
        "local_reply_config": {
            "mappers": [_grpc_reply(status, code) for status, code in GRPC_STATUSES.items()]
            + [_grpc_reply()],
            "body_format": {"json_format": {"error": "%LOCAL_REPLY_BODY%"}},
        },
    }


def _grpc_reply(status: int | None = None, code: int | None = None) -> dict[str, Any]:
    """Return how Envoy's own answer to a gRPC request is put: a sentence, and the status that says most."""
    is_grpc = {
        "header_filter": {"header": {"name": "content-type", "string_match": {"prefix": "application/grpc"}}}
    }
    text = {"body_format_override": {"text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"}}}
    if status is None:
        return {"filter": is_grpc, **text}
    comparison = {
        "op": "EQ",
        "value": {"default_value": status, "runtime_key": f"perennial.grpc_reply.{status}"},
    }
    return {
        "filter": {"and_filter": {"filters": [is_grpc, {"status_code_filter": {"comparison": comparison}}]}},
        "headers_to_add": [overwrite("grpc-status", str(code))],
        **text,
    }


def _shadow() -> dict[str, Any]:
    """Return the inner listener: it believes every header, since only Envoy itself reaches its socket."""
    # Set here and not on the copy: the router that sends the copy would take it for its own timeout and remove it.
    timeout = {"append": overwrite("x-envoy-upstream-rq-timeout-ms", f"%REQ({SHADOW_TIMEOUT_HEADER})%")}
    host = {"name": "any", "domains": ["*"], "routes": [build_shadow_action(retry_policy())]}
    return {
        "stat_prefix": SHADOW_PREFIX,
        "route_config": {"name": SHADOW_PREFIX, "virtual_hosts": [host]},
        "access_log": [build_slow_log(), *build_grpc_logs(), *build_capture_logs()],
        "generate_request_id": False,
        "http_filters": [
            _filter("header_mutation", "HeaderMutation", {"mutations": {"request_mutations": [timeout]}}),
            build_capture_filter(disabled=False),
            _router(),
        ],
    }


def _early(mutations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what happens to a request's headers before its route is chosen.

    No client steers routing or counting: what the gateway sets itself is dropped or drawn anew. The
    prediction id is there before anything can answer the request.
    """
    dropped = [{"remove": name} for name in INTERNAL_HEADERS if name != CLIENT_HEADER]
    drawn = [{"append": overwrite(name, "%UNIQUE_ID%")} for name in (PREDICTION_HEADER, CLIENT_HEADER)]
    kind = f"{_TYPE}envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    return [
        {
            "name": "envoy.http.early_header_mutation.header_mutation",
            "typed_config": {"@type": kind, "mutations": [*dropped, *drawn, *mutations]},
        }
    ]


def _answers() -> dict[str, Any]:
    """Return the filter that puts our two headers on every answer, also on Envoy's own."""
    mutations = {
        # A client's x-envoy-* headers could switch on retries or shorten timeouts.
        "request_mutations": [{"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}}],
        "response_mutations": [
            {"remove": REVISION_HEADER},
            {"append": overwrite(PREDICTION_HEADER, f"%REQ({PREDICTION_HEADER})%")},
            {"append": overwrite(REVISION_HEADER, f"%REQ({REVISION_HEADER})%")},
        ],
    }
    return _filter("header_mutation", "HeaderMutation", {"mutations": mutations})


def _health() -> dict[str, Any]:
    path = {"name": ":path", "string_match": {"exact": HEALTH_PATH}}
    return _filter("health_check", "HealthCheck", {"pass_through_mode": False, "headers": [path]})


def _authentication(settings: EnvoySettings) -> dict[str, Any]:
    """Return the filter that lets only ServiceAccounts of this cluster in; without keys, nobody.

    The signature is checked against the API server's keys, which the agent passes on; the token
    goes no further than here. Only now is it known who asks, so the route is chosen again.
    """
    provider = {
        "audiences": [settings.pin_audience],
        "remote_jwks": {
            "http_uri": {"uri": f"http://agent{JWKS_PATH}", "cluster": AGENT_CLUSTER, "timeout": "5s"},
            "cache_duration": JWKS_CACHE,
        },
        "claim_to_headers": [{"header_name": CALLER_HEADER, "claim_name": "sub"}],
        "clear_route_cache": True,
    }
    rule = {"match": {"prefix": "/"}, "requires": {"provider_name": "kubernetes"}}
    config = {"providers": {"kubernetes": provider}, "rules": [rule]}
    return _filter("jwt_authn", "JwtAuthentication", config)


def _cookie() -> dict[str, Any]:
    """Return the filter that reads the cookie which a route goes by; routes say which, else it does nothing."""
    return {"name": COOKIE_FILTER, "typed_config": {"@type": COOKIE_FILTER_TYPE}}


def _buffer() -> dict[str, Any]:
    return _filter("buffer", "Buffer", {"max_request_bytes": DEFAULT_MAX_BODY_BYTES})


def _router() -> dict[str, Any]:
    return _filter("router", "Router", {"suppress_envoy_headers": True})


def _filter(name: str, message: str, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": f"envoy.filters.http.{name}",
        "typed_config": {"@type": f"{_TYPE}{_HTTP}.{name}.v3.{message}", **config},
    }
