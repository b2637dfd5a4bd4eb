"""The interface that monitors use and the contract suite tests."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Detector", "Floats", "Result", "RowDetector", "largest"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """What a detector says about one window.

    Parameters
    ----------
    statistic
        One number: the largest distance of a column, a distance of all columns together, or the share of outliers. NaN if
        nothing could be tested.
    per_column
        float64 (d,): the statistic of each column, NaN where it was not tested; empty if the detector looks at rows.
    n
        Rows of the window.
    """

    statistic: float
    per_column: Floats
    n: int


class Detector(Protocol):
    """Learns a reference, then compares windows with it. Scoring never changes the detector."""

    def fit(self, reference: Floats) -> None:
        """Learn `reference`, float64 (m, d) in time order."""
        ...

    def score(self, window: Floats) -> Result:
        """Compare `window`, float64 (n, d)."""
        ...


class RowDetector(Detector, Protocol):
    """Also says which single rows are odd, and how odd."""

    def rate_rows(self, window: Floats) -> Floats:
        """Tell by how much each row's score is beyond the cut, in the detector's unit: float64 (n,), odd above 0."""
        ...

    def flag(self, window: Floats) -> npt.NDArray[np.bool_]:
        """Tell which of the window's rows are odd, bool (n,)."""
        ...


def largest(values: Floats) -> float:
    """Largest of the values that are known; NaN without any."""
    return float(np.fmax.reduce(values)) if len(values) else float("nan")
