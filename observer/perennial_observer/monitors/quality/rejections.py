"""Rows that didn't fit: those that came with a window, and those that no window would ever tell of.

Such rows have no event time. They are counted by arrival, each once: the monitor remembers up to which arrival it has.
"""

from collections.abc import Sequence

from perennial_api.modeldeployment.monitoring import Monitor, MonitorSettings, MonitorType
from sqlalchemy import Connection

from perennial_observer.monitors.alarms.verdicts import Memory
from perennial_observer.store.arrivals import (
    Misfits,
    count_arrived,
    find_arrival,
    find_last_arrival,
    read_misfits,
)
from perennial_observer.store.log import find_deployment_id
from perennial_observer.store.reads import Position
from perennial_observer.store.rows import LoggedRow
from perennial_observer.store.store import Store

__all__ = ["counts_misfits", "read_flood", "read_rejected"]

_NONE = Misfits({}, None, None)


def counts_misfits(monitor: Monitor) -> bool:
    """Whether rows that don't fit are this monitor's business: they are of no slice."""
    return monitor.type is MonitorType.DATA_QUALITY and monitor.slice is None


def read_rejected(
    store: Store, uid: str, revision: str, rows: Sequence[LoggedRow], *, after: float | None
) -> tuple[Misfits, float | None]:
    """Count the rows that didn't fit and came with a whole window's rows; and up to which arrival that is.

    Parameters
    ----------
    after
        Up to which arrival they have been counted. None if that isn't known: then those of before the window have.
    """
    first, last = (Position(row.event_time, row.id) for row in (rows[0], rows[-1]))
    with store.read() as connection:
        deployment_id = find_deployment_id(connection, uid)
        if deployment_id is None:
            return _NONE, after
        if after is None:
            after = find_arrival(connection, deployment_id, revision, first, included=False)
        until = find_last_arrival(connection, deployment_id, revision, first=first, last=last)
        if until is None or (after is not None and until <= after):
            return _NONE, after
        return read_misfits(connection, deployment_id, revision, after=after, until=until), until


def read_flood(
    connection: Connection, deployment_id: int, memory: Memory, settings: MonitorSettings, *, now: float
) -> tuple[Misfits, int] | None:
    """Return the rows that didn't fit, and how many others came meanwhile, if they are to be judged by themselves.

    They are where most rows don't fit, and there are as many as fill a window or the first has waited for as long as a
    window may stay open. Otherwise the window that is open will count them when it closes.
    """
    window, after = settings.window, memory.rejected_until
    if after is None and memory.cursor is not None:
        after = find_arrival(connection, deployment_id, memory.revision, memory.cursor, included=True)
    found = read_misfits(connection, deployment_id, memory.revision, after=after)
    if found.first is None or 2 * found.rows <= window.min_samples:
        return None
    if found.rows < window.size and now - found.first < window.max_age.seconds:
        return None
    others = count_arrived(connection, deployment_id, memory.revision, after=after, limit=found.rows)
    if others >= found.rows or found.rows + others < window.min_samples:
        return None
    return found, others
