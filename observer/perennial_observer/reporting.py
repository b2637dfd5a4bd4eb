"""When a MonitorReport is written: at once on a transition, else at most every few seconds, never unchanged."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from perennial_api.monitorreport import MonitorReportStatus

from perennial_observer.errors import ObserverError
from perennial_observer.monitors.evaluation import DeploymentReport
from perennial_observer.store.rows import DeploymentKey

__all__ = ["ReportWriter", "Reporter", "is_transition"]

_LOG = logging.getLogger(__name__)


class ReportWriter(Protocol):
    """Where reports go."""

    async def write(self, key: DeploymentKey, status: MonitorReportStatus) -> None:
        """Write one report's status, or raise an ObserverError."""
        ...


def is_transition(before: MonitorReportStatus | None, after: MonitorReportStatus) -> bool:
    """Whether somebody waits for the change: another revision, state, reason or episode, not just other figures."""
    if before is None:
        return True

    def essence(status: MonitorReportStatus) -> list[object]:
        return [status.revision, *((v.name, v.type, v.state, v.reason, v.breach_id) for v in status.monitors)]

    return essence(before) != essence(after)


@dataclass
class Reporter:
    """Writes what differs from what was last written.

    Parameters
    ----------
    interval_s
        Statistics may be this old.
    clock
        Monotonic seconds.
    """

    writer: ReportWriter
    interval_s: float
    clock: Callable[[], float]
    _written: dict[str, tuple[float, MonitorReportStatus]] = field(default_factory=dict)

    async def publish(self, reports: Mapping[str, DeploymentReport]) -> None:
        """Write the reports that are due. One that fails is tried again at the next call."""
        self._written = {uid: written for uid, written in self._written.items() if uid in reports}
        for uid, report in reports.items():
            at, before = self._written.get(uid, (float("-inf"), None))
            if report.status == before:
                continue
            if not is_transition(before, report.status) and self.clock() - at < self.interval_s:
                continue
            try:
                await self.writer.write(report.key, report.status)
            except ObserverError as error:
                _LOG.warning(
                    "report not written deployment=%s/%s reason=%s message=%s",
                    report.key.namespace,
                    report.key.name,
                    error.reason,
                    error.message,
                )
            else:
                self._written[uid] = (self.clock(), report.status)
