"""Give Envoy a configuration in the order that fails no request, and wait for its word on each file."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from perennial_gateway.admin import EnvoyAdmin, EnvoyFile
from perennial_gateway.errors import ConfigRejected, EnvoyUnavailable
from perennial_gateway.files import write_atomically
from perennial_gateway.model import RouteKey
from perennial_gateway.resources import (
    Fragment,
    build_pin_configuration,
    build_route_configuration,
    clusters_of,
    digest,
    has_endpoints,
    render_json,
    render_response,
)
from perennial_gateway.settings import AgentSettings

POLL_S = 0.02
REFUSAL_POLL_S = 0.1
"""Less often: Envoy goes through all its counters for it."""


class Publisher:
    """Writes the clusters' file, then those of the routes; takes an unused cluster away only when its requests have ended.

    Every write has a version of its own, so that a confirmation can't be that of an older file.

    Parameters
    ----------
    settings
        Paths and times.
    admin
        Envoy's admin interface.
    clock
        Monotonic seconds.
    """

    def __init__(
        self, settings: AgentSettings, admin: EnvoyAdmin, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._admin = admin
        self._clock = clock
        self._clusters = _read_clusters(settings.cds_path)
        self._unused_since: dict[str, float] = {}
        self._confirmed: dict[EnvoyFile, str] = {}
        self._content: dict[EnvoyFile, str] = {}
        self._instance = uuid.uuid4().hex[:8]
        self._writes = 0

    async def publish(self, fragments: Mapping[RouteKey, Fragment]) -> None:
        """Make Envoy serve exactly these routes; return once it does.

        Raises
        ------
        ConfigRejected
            Envoy serves what it served before (but may have taken up good clusters).
        EnvoyUnavailable
            Unknown what Envoy serves; publish again.
        """
        wanted = clusters_of(fragments)
        # A cluster that loses its last endpoint keeps it until no route sends it anything: between the two files Envoy
        # would answer its share with 503 "no healthy upstream".
        known = self._clusters
        emptied = {
            name: known[name] for name, cluster in wanted.items() if _loses_all(known.get(name), cluster)
        }
        self._clusters = known | wanted | emptied
        await self._put(EnvoyFile.CLUSTERS, self._clusters.values())
        routes = build_route_configuration(fragments, self._settings.gateway_url)
        await self._put(EnvoyFile.ROUTES, [routes])
        await self._put(EnvoyFile.PINS, [build_pin_configuration(fragments)])
        if emptied:
            self._clusters = self._clusters | wanted
            await self._put(EnvoyFile.CLUSTERS, self._clusters.values())
        now = self._clock()
        unused = self._clusters.keys() - wanted.keys()
        self._unused_since = {name: self._unused_since.get(name, now) for name in unused}

    async def retire(self) -> None:
        """Remove clusters that no route has used for a while and that have no active request left."""
        now = self._clock()
        due = [n for n, since in self._unused_since.items() if now - since >= self._settings.cluster_grace_s]
        if not due:
            return
        counters = (await self._admin.read_counters()).clusters
        overdue = self._settings.cluster_drain_s
        gone = {
            name
            for name in due
            if now - self._unused_since[name] >= overdue or name not in counters or not counters[name].active
        }
        if not gone:
            return
        self._forget(gone)
        await self._put(EnvoyFile.CLUSTERS, self._clusters.values())

    def drop_clusters(self, keep: Iterable[str]) -> None:
        """Forget all clusters but these, since one of them may be what Envoy refuses."""
        self._forget(self._clusters.keys() - set(keep))

    async def verify(self) -> bool:
        """Return whether Envoy still serves what it confirmed; a restarted one might not."""
        versions = await self._admin.read_versions()
        holds = all(self._confirmed.get(file) == versions[file] for file in EnvoyFile)
        if not holds:
            self._confirmed.clear()
        return holds

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            self._clusters.pop(name, None)
            self._unused_since.pop(name, None)

    async def _put(self, file: EnvoyFile, resources: Iterable[str]) -> None:
        resources = list(resources)
        content = digest(resources)
        if self._confirmed.get(file) and self._content.get(file) == content:
            return
        self._confirmed.pop(file, None)
        refused_before = (await self._admin.read_refusals())[file]
        self._writes += 1
        version = f"{self._instance}.{self._writes}.{content}"
        path = self._settings.gateway_directory / f"{file}.json"
        await asyncio.to_thread(write_atomically, path, render_response(resources, version))
        await self._wait(file, version, refused_before)
        self._confirmed[file] = version
        self._content[file] = content

    async def _wait(self, file: EnvoyFile, version: str, refused_before: int) -> None:
        deadline = self._clock() + self._settings.apply_timeout_s
        look_for_refusal_at = self._clock() + REFUSAL_POLL_S
        while self._clock() < deadline:
            if (await self._admin.read_versions())[file] == version:
                return
            if self._clock() >= look_for_refusal_at:
                if (await self._admin.read_refusals())[file] > refused_before:
                    raise ConfigRejected(f"Envoy refuses {file}.json; its log says why")
                look_for_refusal_at = self._clock() + REFUSAL_POLL_S
            await asyncio.sleep(POLL_S)
        raise EnvoyUnavailable(
            f"Envoy has not taken up {file}.json within {self._settings.apply_timeout_s} s"
        )


def _loses_all(before: str | None, after: str) -> bool:
    return before is not None and before != after and has_endpoints(before) and not has_endpoints(after)


def _read_clusters(path: Path) -> dict[str, str]:
    """Return the clusters that Envoy may be using since before this agent started."""
    try:
        document = json.loads(path.read_bytes())
        return {cluster["name"]: render_json(cluster) for cluster in document["resources"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
