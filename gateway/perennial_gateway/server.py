"""The agent's HTTP server: for the operator, the kubelet, Prometheus, Envoy, and the other gateway pods."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from perennial_gateway.admin import ClusterCounters, EnvoyAdmin, EnvoyCounters
from perennial_gateway.agent import Agent, RouteStatus
from perennial_gateway.clients import ClientCounter, ClientCounts
from perennial_gateway.clusters import Traffic
from perennial_gateway.errors import EnvoyUnavailable, KeysUnavailable
from perennial_gateway.metrics import render_metrics
from perennial_gateway.model import RouteKey
from perennial_gateway.peers import Knowledge
from perennial_gateway.prediction_log.collector import Collector

DEAD_AFTER_S = 60.0
"""A loop that has not turned for this long is stuck; each of its waits is shorter."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the pages tell, and where it comes from.

    Attributes
    ----------
    pod
        Name of this gateway pod.
    watch_failures
        How often each watch has failed.
    knowledge
        What this pod knows of the routes, for its peers.
    is_outdated
        Whether a peer knows newer routes than this pod can learn.
    read_keys
        The API server's public keys.
    """

    pod: str
    agent: Agent
    admin: EnvoyAdmin
    clients: ClientCounter
    log: Collector
    watch_failures: Callable[[], Mapping[str, int]]
    knowledge: Callable[[], Knowledge]
    is_outdated: Callable[[], bool]
    read_keys: Callable[[], Awaitable[bytes]]


class Pages:
    """The handlers."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    async def status(self, _request: web.Request) -> web.Response:
        """Answer all states and counters."""
        facts = self._facts
        try:
            counters = await facts.admin.read_counters()
        except EnvoyUnavailable as error:
            return web.json_response({"error": str(error)}, status=503)
        return web.json_response(
            build_status(facts.pod, facts.agent.statuses(), counters, facts.clients.counts())
        )

    async def applied(self, request: web.Request) -> web.Response:
        """Answer one route's state, without asking Envoy: cheap enough for five times a second."""
        namespace, _, name = request.query.get("route", "").partition("/")
        status = self._facts.agent.status(RouteKey(namespace, name))
        if status is None:
            return web.json_response(
                {"error": "no such route; ask for ?route=<namespace>/<name>"}, status=404
            )
        return web.json_response(_route(status))

    async def knowledge(self, _request: web.Request) -> web.Response:
        """Answer what this pod knows, for its peers."""
        return web.json_response(self._facts.knowledge().model_dump())

    async def jwks(self, _request: web.Request) -> web.Response:
        """Answer the API server's public keys, for Envoy."""
        try:
            return web.Response(body=await self._facts.read_keys(), content_type="application/json")
        except KeysUnavailable as error:
            return web.json_response({"error": str(error)}, status=503)

    async def healthz(self, _request: web.Request) -> web.Response:
        """Answer whether the agent's loop turns."""
        alive = time.monotonic() - self._facts.agent.last_tick < DEAD_AFTER_S
        return web.Response(status=200 if alive else 503, text="ok" if alive else "the loop is stuck")

    async def readyz(self, _request: web.Request) -> web.Response:
        """Answer whether this pod serves what it should."""
        if self._facts.is_outdated():
            return web.Response(
                status=503, text="Other gateway pods know newer routes; the API server is silent"
            )
        if not self._facts.agent.ready():
            return web.Response(status=503, text="Envoy does not serve the current routes yet")
        try:
            await self._facts.admin.read_versions()
        except EnvoyUnavailable as error:
            return web.Response(status=503, text=str(error))
        return web.Response(text="ok")

    async def metrics(self, _request: web.Request) -> web.Response:
        """Answer Prometheus."""
        facts = self._facts
        try:
            counters = await facts.admin.read_counters()
        except EnvoyUnavailable:
            counters = None
        body = render_metrics(
            facts.agent.statuses().values(),
            counters,
            facts.watch_failures(),
            clients=facts.clients,
            log=facts.log,
            ready=facts.agent.ready() and not facts.is_outdated(),
        )
        return web.Response(body=body, headers={"content-type": CONTENT_TYPE_LATEST})


def build_app(facts: Facts) -> web.Application:
    """Return the application that serves the agent's pages."""
    pages = Pages(facts)
    app = web.Application()
    for handler in (
        pages.status,
        pages.applied,
        pages.knowledge,
        pages.jwks,
        pages.healthz,
        pages.readyz,
        pages.metrics,
    ):
        app.router.add_get(f"/{handler.__name__}", handler)
    return app


def build_status(
    pod: str,
    statuses: Mapping[RouteKey, RouteStatus],
    counters: EnvoyCounters,
    clients: Mapping[str, ClientCounts],
) -> dict[str, Any]:
    """Return what the operator reads: each route's state, and the counters with their epoch."""
    clusters = counters.folded()
    return {
        "pod": pod,
        "epoch": counters.epoch,
        "routes": {str(key): _route(status) for key, status in sorted(statuses.items())},
        # Of routes that the agent doesn't know too, after its restart all: a counter must not vanish in its epoch.
        "unserved": {
            name: count
            for name, count in sorted(counters.unserved.items())
            if name.count("/") == 1 and ":" not in name
        },
        "counters": {
            name: _counts(
                values,
                clusters.get(f"{name}/{Traffic.SHADOW}", ClusterCounters()),
                clients.get(name, ClientCounts()),
            )
            for name, values in sorted(clusters.items())
            if name.count("/") == 1
        },
    }


def _route(status: RouteStatus) -> dict[str, Any]:
    return {
        "uid": status.uid,
        "generation": status.generation,
        "state": status.state,
        "message": status.message,
    }


def _counts(live: ClusterCounters, shadow: ClusterCounters, clients: ClientCounts) -> dict[str, Any]:
    return {
        "requests": live.requests,
        "errors": live.errors,
        "active": live.active,
        "slow": live.slow,
        "invalid": live.invalid,
        "users": clients.users,
        "failingUsers": clients.failing,
        "shadow": {"requests": shadow.requests, "errors": shadow.errors, "slow": shadow.slow},
    }
