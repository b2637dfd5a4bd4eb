"""What is reported of a deployment, and of monitors beside their verdicts: that they wait, or what hinders them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from perennial_api.modeldeployment.monitoring import Monitor
from perennial_api.monitorreport import LogCounts, MonitorReportStatus, MonitorState, MonitorVerdict

from perennial_observer.monitors.alarms.hindrance import show_hindrance
from perennial_observer.monitors.alarms.verdicts import Memory, build_verdict, utc
from perennial_observer.monitors.references.beside import Preparing
from perennial_observer.monitors.references.sources import MissingReference
from perennial_observer.store.rows import Counts, DeploymentKey

__all__ = [
    "DeploymentReport",
    "count_log",
    "report_hindrance",
    "report_lack",
    "report_no_rows",
    "report_waiting",
]


@dataclass(frozen=True)
class DeploymentReport:
    """What is known about one deployment after a look; reports and metrics are made of it."""

    key: DeploymentKey
    counts: Counts
    status: MonitorReportStatus
    memories: Mapping[str, Memory]


def count_log(counts: Counts, watermark: float | None) -> LogCounts:
    """Report what has been logged."""
    return LogCounts(
        predictions=counts.predictions,
        labels=counts.labels,
        rejected=counts.rejected,
        late=counts.late,
        watermark=utc(watermark),
    )


def report_waiting(monitor: Monitor, reason: str, message: str) -> MonitorVerdict:
    """Report a monitor that can't have judged anything yet."""
    return MonitorVerdict(
        name=monitor.name,
        type=monitor.type,
        severity=monitor.severity,
        state=MonitorState.INSUFFICIENT,
        reason=reason,
        message=message,
    )


def report_no_rows(monitor: Monitor, rejected: int) -> MonitorVerdict:
    """Report a monitor without any row to judge.

    Parameters
    ----------
    rejected
        How many came that don't fit.
    """
    if not rejected:
        return report_waiting(monitor, "NoPredictions", "nothing has been logged yet")
    return report_waiting(
        monitor,
        "NoRowFits",
        f"none of the {rejected} rows that came fits the schema: perennial_log_rejected_rows_total says why",
    )


def report_lack(monitor: Monitor, memory: Memory, lack: MissingReference | Preparing) -> MonitorVerdict:
    """Report that a window waits for what it is compared with.

    While that is only made anew, the last verdict stands: it would come and go with the room in memory.
    """
    if isinstance(lack, Preparing) and memory.latest is not None:
        return build_verdict(monitor, memory)
    return report_hindrance(monitor, memory, MonitorState.INSUFFICIENT, lack.reason, str(lack))


def report_hindrance(
    monitor: Monitor, memory: Memory, state: MonitorState, reason: str, message: str
) -> MonitorVerdict:
    """Report what hinders the monitor now."""
    return show_hindrance(build_verdict(monitor, memory), state, reason, message)
