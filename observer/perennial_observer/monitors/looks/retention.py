"""Whether rows leave the log before a window of a monitor could be judged."""

from perennial_api.modeldeployment.monitoring import Monitor, MonitorSettings

from perennial_observer.monitors.alarms.verdicts import Memory
from perennial_observer.monitors.labels.labelled import maturity_s
from perennial_observer.monitors.looks.subjects import Subject
from perennial_observer.store.arrivals import read_latest_arrival
from perennial_observer.store.store import Store

__all__ = ["find_retention_lack"]

HOUR_S = 3600.0


def find_retention_lack(
    store: Store,
    subject: Subject,
    monitor: Monitor,
    settings: MonitorSettings,
    memory: Memory,
    *,
    longest_s: float,
    lateness_s: float,
) -> str | None:
    """Say what to change if windows can't close before their rows are deleted, and none does; None if nothing.

    Windows that fill before they grow old need their rows for a shorter time, so nothing is said while some are judged.

    Parameters
    ----------
    longest_s
        How long the installation keeps rows at most.
    lateness_s
        How long windows wait for late rows.
    """
    kept_s = min(subject.deployment.spec.monitoring.retention.max_age.seconds, longest_s)
    need_s = maturity_s(monitor) + settings.window.max_age.seconds + lateness_s
    if need_s <= kept_s or subject.deployment_id is None:
        return None
    with store.read() as connection:
        arrival = read_latest_arrival(connection, subject.deployment_id)
    if arrival is None or (memory.evaluated_at is not None and arrival - memory.evaluated_at <= kept_s):
        return None
    return (
        f"rows are deleted {kept_s / HOUR_S:g} h after they came, and a window that isn't full is judged"
        f" {need_s / HOUR_S:g} h after its first row (labels.maturity, window.maxAge and the lateness of rows):"
        " lengthen monitoring.retention.maxAge, or shorten the others"
    )
