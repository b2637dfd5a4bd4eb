"""The next window of a monitor that has closed, read from the log."""

from collections.abc import Sequence
from dataclasses import dataclass

from perennial_api.modeldeployment.monitoring import Window

from perennial_observer.monitors.alarms.verdicts import Memory
from perennial_observer.monitors.looks.subjects import Subject
from perennial_observer.monitors.windows.closing import close_window, closes_at
from perennial_observer.store.reads import Position, read_closing, read_positions, read_window
from perennial_observer.store.rows import LoggedRow
from perennial_observer.store.store import Store

__all__ = ["ClosedWindow", "find_next_window"]


@dataclass(frozen=True)
class ClosedWindow:
    """A window from its first row to its last, of whatever slice."""

    first: Position
    last: Position
    rows: Sequence[LoggedRow]


def find_next_window(
    store: Store, subject: Subject, memory: Memory, window: Window, *, maturity_s: float
) -> ClosedWindow | None:
    """Read the window behind the last one that was judged; None while it is open, which the subject's rest remembers."""
    assert subject.deployment_id is not None
    assert subject.watermark is not None
    horizon, max_age_s = subject.watermark - maturity_s, window.max_age.seconds
    place = (subject.deployment_id, memory.revision)
    with store.read() as connection:
        ends = read_closing(connection, *place, after=memory.cursor, size=window.size)
        closing = closes_at(*ends, max_age_s=max_age_s)
        if horizon < closing:
            subject.rest.end_with_window(closing, maturity_s)
            return None
        positions = read_positions(connection, *place, after=memory.cursor, until=horizon, limit=window.size)
        count = close_window(positions, watermark=horizon, size=window.size, max_age_s=max_age_s)
        assert count is not None, "its end is behind the watermark"
        first, last = positions[0], positions[count - 1]
        return ClosedWindow(first, last, read_window(connection, *place, first=first, last=last))
