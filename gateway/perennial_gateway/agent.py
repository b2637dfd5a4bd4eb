"""The agent's loop: routes in, Envoy's configuration out, and the truth about both for `/status`."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from perennial_gateway.applier import REJECTED_MESSAGE, Applier, save_last_good
from perennial_gateway.errors import EnvoyUnavailable, InvalidRoute
from perennial_gateway.model import InvalidResource, Route, RouteKey, Snapshot, build_slots
from perennial_gateway.publisher import Publisher
from perennial_gateway.resources import Fragment, build_fragment
from perennial_gateway.settings import AgentSettings

TICK_S = 1.0
DEBOUNCE_S = 0.02
FIRST_RETRY_S = 0.2
LAST_RETRY_S = 5.0

_LOG = logging.getLogger(__name__)


class RouteSource(Protocol):
    """Where routes come from: the API server, or a test."""

    def snapshot(self) -> Snapshot | None:
        """Return all routes, or None until they have been read once."""

    async def wait_for_change(self) -> None:
        """Return after the snapshot has changed since the last call."""


class Follower(Protocol):
    """Who has to know of routes before Envoy does, since Envoy then tells of their requests."""

    def follow(self, routes: Mapping[RouteKey, Route]) -> None:
        """Take note of all routes."""


class RouteState(StrEnum):
    """What Envoy does with a route."""

    APPLIED = "Applied"
    PENDING = "Pending"
    QUARANTINED = "Quarantined"


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """One route as `/status` tells it; `generation` is the one that Envoy has loaded, 0 for none."""

    uid: str
    generation: int
    state: RouteState
    message: str = ""


class Agent:
    """Applies every snapshot of the source, and again whenever Envoy may not have it.

    Parameters
    ----------
    settings
        Of the agent.
    source
        Where routes come from.
    publisher, applier
        What talks to Envoy.
    followers
        Told of the routes before Envoy is: the clients' counts and the prediction log.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        settings: AgentSettings,
        source: RouteSource,
        publisher: Publisher,
        applier: Applier,
        *,
        followers: Sequence[Follower],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._source = source
        self._publisher = publisher
        self._applier = applier
        self._followers = followers
        self._clock = clock
        self._seen: Snapshot | None = None
        self._refusals: dict[RouteKey, str] = {}
        self._applied: dict[RouteKey, tuple[str, int]] = {}
        self._built: dict[RouteKey, tuple[Route, Fragment]] = {}
        self._lagging_since: float | None = clock()
        self.last_tick = clock()

    def ready(self) -> bool:
        """Return whether Envoy serves the routes, or has lagged for no longer than allowed."""
        if self._seen is None:
            return False
        lagging = self._lagging_since
        return lagging is None or self._clock() - lagging < self._settings.ready_lag_s

    def statuses(self) -> dict[RouteKey, RouteStatus]:
        """Return the state of every route that the source knows now."""
        snapshot = self._source.snapshot() or Snapshot()
        known: dict[RouteKey, Route | InvalidResource] = {**snapshot.routes, **snapshot.invalid}
        return {key: self._status(key, resource) for key, resource in known.items()}

    def status(self, key: RouteKey) -> RouteStatus | None:
        """Return the state of one route, or None if the source doesn't know it."""
        snapshot = self._source.snapshot() or Snapshot()
        resource = snapshot.routes.get(key) or snapshot.invalid.get(key)
        return self._status(key, resource) if resource else None

    def _status(self, key: RouteKey, resource: Route | InvalidResource) -> RouteStatus:
        uid, generation = self._applied.get(key, ("", 0))
        if uid != resource.uid:
            generation = 0
        if isinstance(resource, InvalidResource):
            return RouteStatus(resource.uid, generation, RouteState.QUARANTINED, resource.message)
        if generation == resource.generation and key not in self._refusals:
            return RouteStatus(resource.uid, generation, RouteState.APPLIED, _weights_message(resource))
        if key in self._refusals:
            return RouteStatus(resource.uid, generation, RouteState.QUARANTINED, self._refusals[key])
        return RouteStatus(resource.uid, generation, RouteState.PENDING)

    async def run(self) -> None:
        """Serve until cancelled."""
        retry_s = FIRST_RETRY_S
        while True:
            self.last_tick = self._clock()
            try:
                await self.tick()
            except EnvoyUnavailable as error:
                self._lag()
                _LOG.warning("envoy unavailable error=%s retry_s=%.1f", error, retry_s)
                await asyncio.sleep(retry_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
                retry_s = min(2 * retry_s, LAST_RETRY_S)
                continue
            retry_s = FIRST_RETRY_S
            try:
                async with asyncio.timeout(TICK_S):
                    await self._source.wait_for_change()
                self._lag()
                await asyncio.sleep(DEBOUNCE_S)
            except TimeoutError:
                pass

    async def tick(self) -> None:
        """Apply the snapshot if it is new or Envoy may not have it; take unused clusters away."""
        snapshot = self._source.snapshot()
        if snapshot is None:
            return
        current = snapshot is self._seen and await self._publisher.verify()
        if not current:
            self._lag()
            await self._apply(snapshot)
        self._lagging_since = None
        await self._publisher.retire()

    def _lag(self) -> None:
        if self._lagging_since is None:
            self._lagging_since = self._clock()

    async def _apply(self, snapshot: Snapshot) -> None:
        fragments: dict[RouteKey, Fragment] = {}
        refusals: dict[RouteKey, str] = {}
        for key, route in snapshot.routes.items():
            try:
                fragments[key] = self._build(route)
            except InvalidRoute as error:
                refusals[key] = f"{error}."
        self._built = {k: v for k, v in self._built.items() if k in fragments}
        for key in (*refusals, *snapshot.invalid):
            if key in self._applier.last_good:
                fragments[key] = self._applier.last_good[key]
        for follower in self._followers:
            follower.follow(snapshot.routes)
        before = self._applier.last_good
        started = self._clock()
        await self._applier.apply(fragments)
        refusals |= dict.fromkeys(self._applier.quarantined, REJECTED_MESSAGE)
        self._refusals = refusals
        self._seen = snapshot
        self._applied = {
            k: v for k, v in self._applied.items() if k in snapshot.routes or k in snapshot.invalid
        }
        for key, route in snapshot.routes.items():
            if key not in refusals:
                self._applied[key] = (route.uid, route.generation)
        if before != self._applier.last_good:
            await asyncio.to_thread(save_last_good, self._settings.last_good_path, self._applier.last_good)
            _LOG.info(
                "routes applied routes=%d quarantined=%d took_ms=%.0f",
                len(self._applier.last_good),
                len(refusals) + len(snapshot.invalid),
                1000 * (self._clock() - started),
            )

    def _build(self, route: Route) -> Fragment:
        """Build a route's part, or take the last one if the route is the same: a thousand others change nothing."""
        built = self._built.get(route.key)
        if built is not None and built[0].has_same_content(route):
            return built[1]
        fragment = build_fragment(route, self._settings.cluster_domain, str(self._settings.shadow_socket))
        self._built[route.key] = (route, fragment)
        return fragment


def _weights_message(route: Route) -> str:
    without = [b.revision for b in route.backends if b.weight_percent and not b.endpoints]
    if not without:
        return ""
    if not build_slots(route.backends):
        return "No server is ready; requests are answered 503."
    return f"No ready server for {', '.join(without)}; its share goes to the other revisions."
