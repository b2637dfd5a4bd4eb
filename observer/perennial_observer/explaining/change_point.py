"""When it started: the window from which on the statistic has been elsewhere. Pure."""

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["find_start"]

# A step smaller than this many standard deviations within the two parts is taken for noise.
MIN_STEP = 2.0
FEWEST = 3


def find_start(statistics: Sequence[float], *, upwards: bool) -> int | None:
    """Return the index of the first window after the step, or None if there is no clear one.

    The windows are cut in two where the difference of the parts' means is largest by the measure of its own standard
    error, ``sqrt(k (n - k) / n) |mean after - mean before|``, as a CUSUM statistic for one change does.

    Parameters
    ----------
    statistics
        One for each window, the oldest first; the last one breached.
    upwards
        Whether a larger statistic is the bad one.

    Examples
    --------
    >>> find_start([0.05, 0.06, 0.05, 0.3, 0.31], upwards=True)
    3
    >>> find_start([0.30, 0.31, 0.29, 0.3], upwards=True) is None
    True
    """
    values = np.asarray(statistics, dtype=np.float64) * (1.0 if upwards else -1.0)
    n = len(values)
    if n < FEWEST or not np.isfinite(values).all():
        return None
    steps = [float(values[k:].mean() - values[:k].mean()) for k in range(1, n)]
    weighed = [math.sqrt(k * (n - k) / n) * step for k, step in enumerate(steps, start=1)]
    best = int(np.argmax(weighed)) + 1
    before, after = values[:best], values[best:]
    within = math.sqrt((before.var() * len(before) + after.var() * len(after)) / n)
    step = steps[best - 1]
    # Equal numbers differ by rounding only.
    return best if step > max(MIN_STEP * within, 1e-9) else None
