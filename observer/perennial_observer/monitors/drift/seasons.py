"""Inputs that look alike again after a day or a week: which rows of the reference a window may be compared with. Pure.

Hours are those of UTC, counted from the epoch.
"""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
from perennial_api.modeldeployment.monitoring import Seasonality

__all__ = ["MIN_SEASONS", "cut_seasons", "find_phases", "is_in_phase", "span_seasons"]

Floats = npt.NDArray[np.float64]

HOUR_S = 3600.0
LENGTH_S = {Seasonality.DAILY: 24 * HOUR_S, Seasonality.WEEKLY: 7 * 24 * HOUR_S}
# One season can't tell how much the same hours differ from one time to the next.
MIN_SEASONS = 2


def find_phases(event_times: Floats, seasonality: Seasonality) -> frozenset[int]:
    """Which hours of the day (or of the week) some rows are from.

    Examples
    --------
    >>> sorted(find_phases(np.array([0.0, 3_599.0, 86_400.0 + 7_200.0]), Seasonality.DAILY))
    [0, 2]
    """
    return frozenset(_phase(event_times, seasonality).tolist())


def is_in_phase(
    event_times: Floats, phases: Collection[int], seasonality: Seasonality
) -> npt.NDArray[np.bool_]:
    """Which rows are from these hours, bool (n,)."""
    return np.isin(_phase(event_times, seasonality), list(phases))


def span_seasons(event_times: Floats, seasonality: Seasonality) -> float:
    """How many seasons some rows span."""
    return float((event_times.max() - event_times.min()) / LENGTH_S[seasonality]) if len(event_times) else 0.0


def cut_seasons(
    event_times: Floats, seasonality: Seasonality, *, start: float, most_rows: int
) -> tuple[int, list[tuple[int, int]]]:
    """Cut rows in time order into blocks that lie within one season each.

    A window lies within one season too; a block over two days' mornings would differ less from the rest than one
    morning does, and the threshold would promise too much.

    Parameters
    ----------
    start
        Event time of the window's first row: seasons are counted from it, so that no window spans two.
    most_rows
        Rows of a window.

    Returns
    -------
    tuple
        Rows of a block, which are fewer than a window's where a season holds fewer, and (start, end) of each.
    """
    numbers = np.floor((event_times - start) / LENGTH_S[seasonality])
    firsts = np.flatnonzero(np.diff(numbers, prepend=np.nan) != 0)
    lasts = np.append(firsts[1:], len(numbers))
    if not len(firsts):
        return 0, []
    block_rows = min(most_rows, int(np.median(lasts - firsts)))
    if block_rows < 1:
        return 0, []
    bounds = [
        (end, end + block_rows)
        for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)
        for end in range(first + (last - first) % block_rows, last, block_rows)
    ]
    return block_rows, bounds


def _phase(event_times: Floats, seasonality: Seasonality) -> npt.NDArray[np.int64]:
    return np.floor(np.mod(event_times, LENGTH_S[seasonality]) / HOUR_S).astype(np.int64)
