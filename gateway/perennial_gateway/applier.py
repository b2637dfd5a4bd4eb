"""Keep one bad route from taking the others with it: find it, set it aside, serve the rest."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from perennial_gateway.errors import ConfigRejected
from perennial_gateway.files import write_atomically
from perennial_gateway.model import RouteKey
from perennial_gateway.resources import Fragment, clusters_of

REJECTED_MESSAGE = (
    "Envoy refuses this route's configuration and goes on with the last one it accepted, if any; "
    "the gateway's log says why."
)

_LOG = logging.getLogger(__name__)

Fragments = Mapping[RouteKey, Fragment]


class Publishes(Protocol):
    """What the applier needs of the publisher."""

    async def publish(self, fragments: Fragments) -> None:
        """Make Envoy serve exactly these routes."""

    def drop_clusters(self, keep: set[str]) -> None:
        """Forget all clusters but these."""


class Applier:
    """Applies routes; a route that Envoy refuses is quarantined and keeps its last good form.

    Attributes
    ----------
    last_good
        What Envoy serves, by route.
    quarantined
        The form of each route that Envoy has refused; not tried again until it changes.
    """

    def __init__(self, publisher: Publishes, last_good: Fragments) -> None:
        self._publisher = publisher
        self.last_good: dict[RouteKey, Fragment] = dict(last_good)
        self.quarantined: dict[RouteKey, Fragment] = {}

    async def apply(self, desired: Fragments) -> None:
        """Make Envoy serve these routes, as far as it accepts them.

        Raises
        ------
        EnvoyUnavailable
            Apply again.
        """
        self.quarantined = {k: f for k, f in self.quarantined.items() if desired.get(k) == f}
        target = {k: f for k, f in desired.items() if k not in self.quarantined}
        kept = {k: self.last_good[k] for k in self.quarantined if k in self.last_good}
        accepted: Fragments = target | kept
        try:
            await self._publisher.publish(accepted)
        except ConfigRejected:
            accepted = await self._isolate(desired, target)
        self.last_good = dict(accepted)

    async def _isolate(self, desired: Fragments, target: Fragments) -> Fragments:
        base = {k: self.last_good[k] for k in desired if k in self.last_good}
        suspects = {k: f for k, f in target.items() if base.get(k) != f}
        # What was kept for requests still active may be the culprit; nothing must rest on it.
        self._publisher.drop_clusters(set(clusters_of(base)))
        try:
            await self._publisher.publish(base)
        except ConfigRejected:
            base, suspects = {}, dict(target)
            self._publisher.drop_clusters(set())
        accepted = await self._bisect(base, suspects)
        self._publisher.drop_clusters(set(clusters_of(accepted)))
        await self._publisher.publish(accepted)
        return accepted

    async def _bisect(self, base: Fragments, suspects: Fragments) -> Fragments:
        """Return `base` with all suspects that Envoy accepts; every step serves at least `base`."""
        if not suspects:
            return base
        candidate = {**base, **suspects}
        try:
            await self._publisher.publish(candidate)
        except ConfigRejected:
            self._publisher.drop_clusters(set(clusters_of(base)))
        else:
            return candidate
        if len(suspects) == 1:
            key, fragment = next(iter(suspects.items()))
            self.quarantined[key] = fragment
            _LOG.warning("route quarantined route=%s", key)
            return base
        keys = sorted(suspects)
        for half in (keys[: len(keys) // 2], keys[len(keys) // 2 :]):
            base = await self._bisect(base, {key: suspects[key] for key in half})
        return base


def save_last_good(path: Path, fragments: Fragments) -> None:
    """Keep what Envoy serves, for an agent that restarts."""
    document = [
        {"namespace": k.namespace, "name": k.name, "fragment": f.to_json()} for k, f in fragments.items()
    ]
    write_atomically(path, json.dumps(document).encode())


def load_last_good(path: Path) -> dict[RouteKey, Fragment]:
    """Return what Envoy served when the agent stopped, or nothing if that isn't known."""
    try:
        return {
            RouteKey(entry["namespace"], entry["name"]): Fragment(**entry["fragment"])
            for entry in json.loads(path.read_bytes())
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}
