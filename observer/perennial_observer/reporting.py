"""When a MonitorReport is written: at once on a transition, else at most every few seconds, never unchanged."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from perennial_api.arms import Arm, Arms
from perennial_api.monitorreport import MonitorReportStatus

from perennial_observer.errors import ObserverError
from perennial_observer.monitors.looks.reports import DeploymentReport
from perennial_observer.store.rows import DeploymentKey

__all__ = ["ReportWriter", "Reporter", "is_transition"]

_LOG = logging.getLogger(__name__)


class ReportWriter(Protocol):
    """Where reports go."""

    async def write(self, key: DeploymentKey, status: MonitorReportStatus) -> None:
        """Write one report's status, or raise an ObserverError."""
        ...


def is_transition(before: MonitorReportStatus | None, after: MonitorReportStatus) -> bool:
    """Whether somebody waits for the change: a revision, state, reason, episode or comparison, not just figures."""
    if before is None:
        return True

    def essence(status: MonitorReportStatus) -> list[object]:
        arms = [(arm.revision, arm.since) for arm in status.arms]
        return [
            status.revision,
            arms,
            *((v.name, v.type, v.state, v.reason, v.breach_id) for v in status.monitors),
        ]

    return essence(before) != essence(after)


@dataclass
class Reporter:
    """Writes what differs from what was last written.

    Parameters
    ----------
    interval_s
        Statistics may be this old.
    arms_interval_s
        Counts of a comparison may be this old.
    clock
        Monotonic seconds.
    """

    writer: ReportWriter
    interval_s: float
    arms_interval_s: float
    clock: Callable[[], float]
    _written: dict[str, tuple[float, MonitorReportStatus]] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def publish(
        self, reports: Mapping[str, DeploymentReport], arms: Mapping[str, Arms] = MappingProxyType({})
    ) -> None:
        """Write the reports that are due, each with its comparison's arms. One that fails is tried again next time."""
        async with self._lock:
            await self._publish(reports, arms)

    async def _publish(self, reports: Mapping[str, DeploymentReport], arms: Mapping[str, Arms]) -> None:
        self._written = {uid: written for uid, written in self._written.items() if uid in reports}
        for uid, report in reports.items():
            at, before = self._written.get(uid, (float("-inf"), None))
            status = report.status.model_copy(update={"arms": arms.get(uid, ())})
            if before is not None and not self._is_due(before, status, self.clock() - at):
                continue
            try:
                await self.writer.write(report.key, status)
            except ObserverError as error:
                _LOG.warning(
                    "report not written deployment=%s/%s reason=%s message=%s",
                    report.key.namespace,
                    report.key.name,
                    error.reason,
                    error.message,
                )
            else:
                self._written[uid] = (self.clock(), status)

    def _is_due(self, before: MonitorReportStatus, after: MonitorReportStatus, age_s: float) -> bool:
        if after == before:
            return False
        if is_transition(before, after):
            return True
        return age_s >= (self.interval_s if _counts(after) == _counts(before) else self.arms_interval_s)


def _counts(status: MonitorReportStatus) -> list[Arm]:
    """Return the arms without what changes by the clock alone."""
    return [arm.model_copy(update={"counted_until": arm.since}) for arm in status.arms]
