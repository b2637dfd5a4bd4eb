"""The agent's HTTP server: `/status` for the operator, probes for the kubelet, `/metrics` for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from perennial_gateway.admin import EnvoyAdmin, EnvoyCounters
from perennial_gateway.agent import Agent, RouteStatus
from perennial_gateway.errors import EnvoyUnavailable
from perennial_gateway.metrics import render_metrics
from perennial_gateway.model import RouteKey

DEAD_AFTER_S = 60.0
"""A loop that has not turned for this long is stuck; each of its waits is shorter."""


def build_app(
    agent: Agent, admin: EnvoyAdmin, pod: str, watch_failures: Callable[[], Mapping[str, int]]
) -> web.Application:
    """Return the application that serves the agent's four pages."""

    async def status(_request: web.Request) -> web.Response:
        try:
            counters = await admin.read_counters()
        except EnvoyUnavailable as error:
            return web.json_response({"error": str(error)}, status=503)
        return web.json_response(build_status(pod, agent.statuses(), counters))

    async def healthz(_request: web.Request) -> web.Response:
        alive = time.monotonic() - agent.last_tick < DEAD_AFTER_S
        return web.Response(status=200 if alive else 503, text="ok" if alive else "the loop is stuck")

    async def readyz(_request: web.Request) -> web.Response:
        if not agent.ready():
            return web.Response(status=503, text="Envoy does not serve the current routes yet")
        try:
            await admin.read_subscriptions()
        except EnvoyUnavailable as error:
            return web.Response(status=503, text=str(error))
        return web.Response(text="ok")

    async def metrics(_request: web.Request) -> web.Response:
        try:
            counters = await admin.read_counters()
        except EnvoyUnavailable:
            counters = None
        body = render_metrics(agent.statuses().values(), counters, watch_failures(), ready=agent.ready())
        return web.Response(body=body, headers={"content-type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/status", status)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    return app


def build_status(
    pod: str, statuses: Mapping[RouteKey, RouteStatus], counters: EnvoyCounters
) -> dict[str, Any]:
    """Return what the operator reads: each route's state, and the counters with their epoch."""
    return {
        "pod": pod,
        "epoch": counters.epoch,
        "routes": {
            str(key): {
                "uid": status.uid,
                "generation": status.generation,
                "state": status.state,
                "message": status.message,
            }
            for key, status in sorted(statuses.items())
        },
        "counters": {
            name: {"requests": values.requests, "errors": values.errors, "active": values.active}
            for name, values in sorted(counters.clusters.items())
            if "/" in name
        },
    }
