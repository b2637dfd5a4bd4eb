"""How Envoy tells the agent of finished requests: many in a call that no request waits for, and boundedly many calls.

An access logger posts its entries over a Unix socket. The cluster of those calls has few connections and a short queue:
what the agent is too slow to take, or isn't there for, is dropped there. Envoy's own count of that is wrong where several
calls are under way, so another logger counts what it was given, and the agent what has come.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from perennial_gateway.otlp import Record, read_records

CALLS_PATH = "/v1/logs"
CALL_TIMEOUT = "2s"
MAX_CALLS = 4
MAX_WAITING_CALLS = 8
BUFFER_BYTES = 256 * 1024
"""Of a worker thread, which are sent at once when they are full."""

STATS_SCOPE = "perennial"
"""Prefix of the counters that access loggers keep."""

_LOGGERS = "type.googleapis.com/envoy.extensions.access_loggers"
_LOG = logging.getLogger(__name__)


def build_telling(
    stat: str, cluster: str, attributes: Mapping[str, str], *, flush: str
) -> dict[str, dict[str, Any]]:
    """Return the configurations of two access loggers, by name: one counts requests, one posts these attributes of them.

    Parameters
    ----------
    stat
        Name of the counter, in `STATS_SCOPE`.
    attributes
        Name to Envoy's format string.
    flush
        Longest that an entry waits, as Envoy writes durations.
    """
    return {f"{stat}_counting": build_counting(stat), f"{stat}_sending": _sending(cluster, attributes, flush)}


def _sending(cluster: str, attributes: Mapping[str, str], flush: str) -> dict[str, Any]:
    uri = {"uri": f"http://agent{CALLS_PATH}", "cluster": cluster, "timeout": CALL_TIMEOUT}
    return {
        "@type": f"{_LOGGERS}.open_telemetry.v3.OpenTelemetryAccessLogConfig",
        "http_service": {"http_uri": uri},
        "log_name": cluster,
        "disable_builtin_labels": True,
        "buffer_flush_interval": flush,
        "buffer_size_bytes": BUFFER_BYTES,
        "attributes": {
            "values": [{"key": key, "value": {"string_value": text}} for key, text in attributes.items()]
        },
    }


def build_counting(name: str, tags: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the configuration of an access logger that counts, by the values of these tags."""
    made = [{"name": tag, "value_format": value} for tag, value in (tags or {}).items()]
    return {
        "@type": f"{_LOGGERS}.stats.v3.Config",
        "stats_scope": {"prefix": STATS_SCOPE},
        "counters": [{"stat": {"name": name, **({"tags": made} if made else {})}, "value_fixed": 1}],
    }


def build_call_limits() -> dict[str, Any]:
    """Return how many calls the cluster may hold, each of a full buffer and its last entry."""
    threshold = {
        "max_connections": MAX_CALLS,
        "max_pending_requests": MAX_WAITING_CALLS,
        "max_requests": MAX_CALLS + MAX_WAITING_CALLS,
    }
    return {"circuit_breakers": {"thresholds": [threshold]}}


@asynccontextmanager
async def serve_calls(socket: Path, take: Callable[[Record], None], most_bytes: int) -> AsyncIterator[None]:
    """Take calls on a Unix socket until the end of the block, where those under way have a second to end.

    Parameters
    ----------
    take
        Told of each entry; a ValueError says that it isn't understood, and ends its call.
    most_bytes
        Largest call.
    """

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            for record in read_records(body):
                take(record)
        except ValueError as error:
            _LOG.warning("entries not understood socket=%s error=%s", socket.name, error)
            return web.Response(status=400)
        return web.Response()

    await asyncio.to_thread(socket.unlink, missing_ok=True)
    app = web.Application(client_max_size=most_bytes)
    app.router.add_post(CALLS_PATH, answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(socket)).start()
        yield
    finally:
        await runner.cleanup()
