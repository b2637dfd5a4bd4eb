"""Two-sample distances per column: Kolmogorov-Smirnov and Cramér-von Mises, and the detector that applies any."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from perennial_observer.detectors.base import Floats, Result, largest
from perennial_observer.detectors.native.shapes import require_shape

__all__ = ["ColumnDetector", "cvm_distance", "ks_distance"]

MIN_VALUES = 2


def ks_distance(reference: Floats, window: Floats) -> float:
    """Largest difference of the two empirical distribution functions, 0 to 1.

    Between two values of the window its own function is flat and the reference's rises, so the difference is largest
    at a value or just before one: a few thousand look-ups instead of a walk through the pooled sample.

    Parameters
    ----------
    reference
        float64 (m,), sorted.
    """
    values = np.sort(window)
    found = 0.0
    for side in ("left", "right"):
        gaps = np.searchsorted(reference, values, side=side) / len(reference) - np.searchsorted(
            values, values, side=side
        ) / len(values)
        found = max(found, float(np.abs(gaps).max()))
    return found


def cvm_distance(reference: Floats, window: Floats) -> float:
    """Mean squared difference of the two distribution functions over the pooled sample, 0 to 1/3.

    That is Anderson's T (1962, doi:10.1214/aoms/1177704477) without its factor mn/(m + n), so that samples of different
    sizes compare. SciPy's T is wrong where values repeat (a constant column would have drifted).

    Parameters
    ----------
    reference
        float64 (m,), sorted.
    """
    pooled = np.concatenate([reference, window])
    shares = [
        np.searchsorted(side, pooled, side="right") / len(side) for side in (reference, np.sort(window))
    ]
    return float(np.mean((shares[0] - shares[1]) ** 2))


@dataclass
class ColumnDetector:
    """Implements :class:`~perennial_observer.detectors.base.Detector` by a distance of single columns.

    Missing values (NaN) are left out by column; a column with fewer than two values on either side is NaN.

    Parameters
    ----------
    distance
        Of two float64 arrays without NaN: (reference (m,) sorted, window (n,)).
    """

    distance: Callable[[Floats, Floats], float]
    _columns: list[Floats] = field(default_factory=list)

    def fit(self, reference: Floats) -> None:
        """Keep the reference, float64 (m, d)."""
        self._columns = [_sort(column[~np.isnan(column)]) for column in reference.T]

    def score(self, window: Floats) -> Result:
        """Compare `window`, float64 (n, d)."""
        require_shape(window, len(self._columns))
        found = np.full(len(self._columns), np.nan)
        for i, (known, column) in enumerate(zip(self._columns, window.T, strict=True)):
            values = column[~np.isnan(column)]
            if min(len(known), len(values)) >= MIN_VALUES:
                found[i] = self.distance(known, values)
        return Result(statistic=largest(found), per_column=found, n=len(window))


def _sort(values: Floats) -> Floats:
    """Sort; of equal values, as where none is missing, only one is held."""
    if len(values) and (values == values[0]).all():
        return np.broadcast_to(values[:1].copy(), values.shape)
    return np.sort(values)
