"""Asks the routers every few seconds for the deployments that promise a service level."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from perennial_api import ModelDeployment
from perennial_api.modeldeployment.monitoring import MonitorType

from perennial_observer.errors import ObserverError, Unavailable
from perennial_observer.registry import Registry, key_of
from perennial_observer.service_level.records import Sample, expire_buckets, record
from perennial_observer.service_level.routers import Routers, cut_out
from perennial_observer.store.store import Store

__all__ = ["Poller", "budget_ms_of"]

_LOG = logging.getLogger(__name__)

EXPIRY_PAUSE_S = 600.0


def budget_ms_of(deployment: ModelDeployment) -> int:
    """Return the latency budget by which the routers count slow requests, as they get it; 0 without one."""
    budget = deployment.spec.server.latency_budget
    return round(budget.seconds * 1000) if budget is not None else 0


def promises_service(deployment: ModelDeployment) -> bool:
    """Whether any monitor of it needs what the routers count."""
    return any(monitor.type is MonitorType.SERVICE_LEVEL for monitor in deployment.spec.monitoring.monitors)


@dataclass
class Poller:
    """Keeps what the routers count.

    Every observer of a database may run it: what two of them hear at the same time is counted once.

    Parameters
    ----------
    interval_s
        Pause between two looks.
    clock
        Seconds since the epoch.
    """

    store: Store
    registry: Registry
    routers: Routers
    interval_s: float
    clock: Callable[[], float]
    _expired_at: float = field(default=float("-inf"))

    async def poll(self) -> int:
        """Ask once; return for how many deployments something was kept.

        Raises
        ------
        Unavailable, Overloaded
            If no router answers, or the database doesn't take it. Nothing is lost by that: the routers go on counting.
        """
        watched = [deployment for deployment in self.registry.all() if promises_service(deployment)]
        if not watched:
            return 0
        taken_at = self.clock()
        statuses = await self.routers.read()
        if not statuses:
            raise Unavailable(
                f"no router of the gateway answers at {self.routers.host}:{self.routers.port}: is the gateway running, "
                "and does a NetworkPolicy let the observer reach its agents?",
                "NoRouters",
            )
        writes = []
        for deployment in watched:
            key = key_of(deployment)
            sample = Sample(key, taken_at, budget_ms_of(deployment), cut_out(statuses, key))
            writes.append(self._submit(sample))
        return sum(await asyncio.gather(*writes))

    def _submit(self, sample: Sample) -> "asyncio.Future[bool]":
        pause_s = self.interval_s / 2
        return asyncio.wrap_future(
            self.store.writer.submit(lambda c: record(c, sample, min_pause_s=pause_s), 0)
        )

    async def expire(self) -> None:
        """Drop what no window reaches any more, every few minutes."""
        now = self.clock()
        if 0 <= now - self._expired_at < EXPIRY_PAUSE_S:
            return
        await asyncio.wrap_future(self.store.writer.submit(lambda c: expire_buckets(c, now=now), 0))
        self._expired_at = now

    async def run(self) -> None:
        """Poll until cancelled."""
        reported = ""
        while True:
            problem = ""
            try:
                if self.registry.synced:
                    await self.poll()
                    await self.expire()
            except ObserverError as error:
                problem = error.reason
                if problem != reported:
                    _LOG.warning("routers not counted reason=%s message=%s", error.reason, error.message)
            except Exception:  # noqa: BLE001  the top of a loop
                _LOG.exception("routers not counted")
            reported = problem
            await asyncio.sleep(self.interval_s)
