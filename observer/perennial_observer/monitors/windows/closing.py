"""Where a window ends. Pure; ``looks`` calls it with positions from the log."""

import math
from collections.abc import Sequence

from perennial_observer.store.reads import Position

__all__ = ["close_window", "closes_at"]


def close_window(
    positions: Sequence[Position], *, watermark: float, size: int, max_age_s: float
) -> int | None:
    """How many of the leading rows form the next window, or None while it must stay open.

    A window holds at most `size` rows and spans less than `max_age_s`; the watermark must have passed what closes it,
    so that no row which belongs inside can still come within the allowed lateness.

    Parameters
    ----------
    positions
        The next rows in order, at most `size` of them, none after the watermark.

    Examples
    --------
    >>> rows = [Position(0.0, 1), Position(10.0, 2), Position(70.0, 3)]
    >>> close_window(rows, watermark=70.0, size=100, max_age_s=60.0)
    2
    >>> close_window(rows[:2], watermark=30.0, size=100, max_age_s=60.0) is None
    True
    """
    if not positions:
        return None
    deadline = positions[0].event_time + max_age_s
    inside = sum(position.event_time < deadline for position in positions)
    if inside == size or deadline <= watermark:
        return inside
    return None


def closes_at(first: float | None, last: float | None, *, max_age_s: float) -> float:
    """Watermark from which on the open window is closed, if no more rows come; infinite while it has none.

    Parameters
    ----------
    first
        Event time of its first row.
    last
        Of the one that fills it.

    Examples
    --------
    >>> closes_at(0.0, None, max_age_s=60.0), closes_at(0.0, 20.0, max_age_s=60.0), closes_at(None, None, max_age_s=1.0)
    (60.0, 20.0, inf)
    """
    if first is None:
        return math.inf
    return first + max_age_s if last is None else min(last, first + max_age_s)
