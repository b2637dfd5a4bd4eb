"""Which rows train and which test, in time order.

::

    T - window                      T - test - gap      T - test               T = watermark - label maturity
        |------------ train ------------|------ gap ------|-------- test --------|

The test slice is the newest one whose labels have matured: a row whose label may still arrive would enter as if it had
none. The gap keeps rows that share a cause with the test (the same storm, a label that looks back) out of training.
Rows are never split at random: that would let the model see the future of its own test.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Split:
    """Half-open intervals of event time, epoch seconds: train [from, until), test [from, until)."""

    train_from_s: float
    train_until_s: float
    test_from_s: float
    test_until_s: float

    def train_mask(self, event_time: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Rows that train: bool array (n,) for float64 ``event_time`` (n,) in epoch seconds."""
        return (event_time >= self.train_from_s) & (event_time < self.train_until_s)

    def test_mask(self, event_time: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Rows that test: bool array (n,) for float64 ``event_time`` (n,) in epoch seconds."""
        return (event_time >= self.test_from_s) & (event_time < self.test_until_s)


def time_gapped_split(
    watermark_s: float, *, window_s: float, gap_s: float, test_s: float, label_maturity_s: float
) -> Split:
    """Place the training window, the gap and the test slice before the watermark.

    Worked example: watermark on day 100, maturity 1 day, test 14 days, gap 7 days, window 90 days give T = day 99,
    test = [85, 99), train = [9, 78).

    Parameters
    ----------
    watermark_s : float
        Event time up to which the log is complete, epoch seconds.
    window_s, gap_s, test_s, label_maturity_s : float
        Durations, seconds. ``window_s`` counts back from T and must exceed ``gap_s + test_s``.

    Raises
    ------
    ValueError
        When no time is left for training.
    """
    if test_s <= 0 or gap_s < 0 or label_maturity_s < 0:
        raise ValueError("test_s must be positive, gap_s and label_maturity_s not negative")
    if window_s <= gap_s + test_s:
        raise ValueError(
            f"window ({window_s:.0f} s) must be longer than gap and test together ({gap_s + test_s:.0f} s)"
        )
    until_s = watermark_s - label_maturity_s
    test_from_s = until_s - test_s
    return Split(until_s - window_s, test_from_s - gap_s, test_from_s, until_s)
