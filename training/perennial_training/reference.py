"""How densely a candidate's reference sample is drawn from its rows."""

import numpy as np
import numpy.typing as npt

DAY_S = 86_400.0


def thinning_step(champion_times: npt.NDArray[np.float64] | None, event_time: npt.NDArray[np.float64]) -> int:
    """Take one row in how many, so that the candidate's reference is as dense in time as the champion's is.

    Monitors compare windows with blocks of the reference. An author who thinned the reference so that a block spans
    weeks has fitted it to windows of weeks; the candidate's has to keep that scale, else the first retraining would
    change what counts as drift.

    Worked example: a champion's reference of 85 rows a day and 900 logged rows a day give a step of 11.

    Parameters
    ----------
    champion_times : float64 array (m,) or None
        Event times of the champion's reference, epoch seconds; None where unknown.
    event_time : float64 array (n,)
        Event times of the rows to choose from, epoch seconds, n >= 1.

    Returns
    -------
    int
        At least 1.
    """
    if champion_times is None or not champion_times.size:
        return 1
    return max(1, round(_rows_per_day(event_time) / _rows_per_day(champion_times)))


def _rows_per_day(event_time: npt.NDArray[np.float64]) -> float:
    """Median over the days that have rows: gaps between the runs of a sample don't count."""
    return float(np.median(np.unique(np.floor(event_time / DAY_S), return_counts=True)[1]))
