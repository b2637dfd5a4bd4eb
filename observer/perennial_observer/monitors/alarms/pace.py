"""How far a monitor's windows are apart. Pure."""

from perennial_observer.store.reads import Position

__all__ = ["find_pace"]

# The pace is an average in which a window counts for an eighth: rows that come in bursts fill several at once.
WEIGHT = 1 / 8


def find_pace(
    before: float | None, cursor: Position | None, last: Position, *, max_age_s: float
) -> float | None:
    """Return how far windows are apart in event time, a new one included; None before the second.

    Not how long its rows took: a thousand rows of a second, once an hour, are one window an hour. A gap counts for as long
    as a window may stay open.

    Parameters
    ----------
    before
        The pace until now.
    cursor, last
        Where the window before and the new one end.

    Examples
    --------
    >>> find_pace(None, Position(0.0, 1), Position(3_600.0, 9), max_age_s=21_600.0)
    3600.0
    >>> find_pace(3_600.0, Position(3_600.0, 9), Position(3_602.0, 17), max_age_s=21_600.0)
    3150.25
    """
    if cursor is None:
        return before
    apart = min(max(last.event_time - cursor.event_time, 0.0), max_age_s)
    return apart if before is None else before + WEIGHT * (apart - before)
