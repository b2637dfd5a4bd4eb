"""Leader election by a Lease, reckoned by what this replica has seen and its monotonic clock.

No wall clock is compared: a lease counts as expired when this replica has not seen it change for its duration. A
leader believes itself leader for a shorter time than that after its last successful renewal.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from perennial.cluster.client import Client
from perennial.errors import AlreadyExistsError, ConflictError, NotFoundError, PerennialError

__all__ = ["Lease", "LeaseSettings"]

_log = logging.getLogger(__name__)

API_VERSION = "coordination.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """Where the Lease is, and its times.

    Attributes
    ----------
    duration_s
        After how long without a visible renewal another replica takes over.
    renew_deadline_s
        For how long after the last successful renewal this replica leads; shorter than `duration_s`.
    retry_s
        How often it is renewed, or looked at.
    """

    namespace: str
    name: str
    identity: str
    duration_s: float = 15.0
    renew_deadline_s: float = 10.0
    retry_s: float = 2.0


class Lease:
    """Holds, or waits for, the right to write."""

    def __init__(
        self, client: Client, settings: LeaseSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        assert settings.renew_deadline_s < settings.duration_s, "a leader must stop before another may start"
        self._client = client
        self._settings = settings
        self._clock = clock
        self._held_until = float("-inf")
        self._seen: tuple[Any, ...] | None = None
        self._seen_at = float("-inf")
        self.last_attempt_at = clock()

    @property
    def is_held(self) -> bool:
        """Whether this replica may write at this very moment."""
        return self._clock() < self._held_until

    async def run(
        self, on_acquired: Callable[[], Awaitable[None]], on_lost: Callable[[], Awaitable[None]]
    ) -> None:
        """Try for ever to hold the lease; call back on each change. Cancel it to stop, then `release`."""
        leads = False
        while True:
            await self._attempt()
            if self.is_held != leads:
                leads = self.is_held
                _log.info("lease %s identity=%s", "acquired" if leads else "lost", self._settings.identity)
                await (on_acquired() if leads else on_lost())
            # Spread, so that replicas don't look in step.
            await asyncio.sleep(self._settings.retry_s * random.uniform(0.8, 1.2))  # noqa: S311 - no secret

    async def release(self) -> None:
        """Give the lease up at shutdown, so that another replica needn't wait for it to expire."""
        if not self.is_held:
            return
        self._held_until = float("-inf")
        try:
            stored = await self._get()
            if stored is not None and stored["spec"].get("holderIdentity") == self._settings.identity:
                stored["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._client.replace(stored)
        except PerennialError as error:
            _log.warning("lease not released error=%s", error)

    async def _attempt(self) -> None:
        # Taken before the request: the time that the answer takes counts against us.
        started = self._clock()
        try:
            if await self._acquire_or_renew(started):
                self._held_until = started + self._settings.renew_deadline_s
        except (ConflictError, AlreadyExistsError):
            _log.debug("lease contended")
        except PerennialError as error:
            _log.warning("lease unreachable error=%s", error)
        self.last_attempt_at = self._clock()

    async def _acquire_or_renew(self, now: float) -> bool:
        stored = await self._get()
        if stored is None:
            await self._client.create(self._build(1))
            return True
        spec = stored["spec"]
        self._note(spec, now)
        mine = spec.get("holderIdentity") == self._settings.identity
        if not mine and not self._is_expired(spec, now):
            return False
        transitions = int(spec.get("leaseTransitions") or 0) + (0 if mine else 1)
        body = self._build(transitions)
        body["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
        if mine:
            body["spec"]["acquireTime"] = spec.get("acquireTime") or body["spec"]["acquireTime"]
        await self._client.replace(body)
        return True

    def _note(self, spec: dict[str, Any], now: float) -> None:
        record = (spec.get("holderIdentity"), spec.get("renewTime"), spec.get("leaseTransitions"))
        if record != self._seen:
            self._seen, self._seen_at = record, now

    def _is_expired(self, spec: dict[str, Any], now: float) -> bool:
        if not spec.get("holderIdentity"):
            return True
        duration_s = float(spec.get("leaseDurationSeconds") or self._settings.duration_s)
        return now - self._seen_at > duration_s

    async def _get(self) -> dict[str, Any] | None:
        try:
            return await self._client.get("Lease", self._settings.namespace, self._settings.name)
        except NotFoundError:
            return None

    def _build(self, transitions: int) -> dict[str, Any]:
        # The times are for people; nobody reckons with them.
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "apiVersion": API_VERSION,
            "kind": "Lease",
            "metadata": {"name": self._settings.name, "namespace": self._settings.namespace},
            "spec": {
                "holderIdentity": self._settings.identity,
                "leaseDurationSeconds": round(self._settings.duration_s),
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        }
