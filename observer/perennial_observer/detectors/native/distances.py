"""Two-sample distances per column: Kolmogorov-Smirnov, Cramér-von Mises, and the population stability index."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import ks_2samp

from perennial_observer.detectors.base import Floats, Result
from perennial_observer.detectors.native.shapes import require_shape

__all__ = ["ColumnDetector", "cvm_distance", "ks_distance", "psi"]

MIN_VALUES = 2
PSI_BINS = 10
# A bin that is empty on one side would make the index infinite; half a row stands for it.
EMPTY_ROWS = 0.5


def ks_distance(reference: Floats, window: Floats) -> float:
    """Largest difference of the two empirical distribution functions, 0 to 1 (scipy.stats.ks_2samp)."""
    return float(ks_2samp(reference, window, method="asymp").statistic)


def cvm_distance(reference: Floats, window: Floats) -> float:
    """Mean squared difference of the two distribution functions over the pooled sample, 0 to 1/3.

    That is Anderson's T (1962, doi:10.1214/aoms/1177704477) without its factor mn/(m + n), so that samples of different
    sizes compare. SciPy's T is wrong where values repeat (a constant column would have drifted).
    """
    pooled = np.concatenate([reference, window])
    shares = [
        np.searchsorted(np.sort(side), pooled, side="right") / len(side) for side in (reference, window)
    ]
    return float(np.mean((shares[0] - shares[1]) ** 2))


def psi(reference: Floats, window: Floats) -> float:
    """Population stability index over the reference's deciles: sum of (q - p) ln(q/p)."""
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, PSI_BINS + 1)[1:-1]))
    shares = []
    for values in (reference, window):
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
        shares.append(np.maximum(counts, EMPTY_ROWS) / len(values))
    p, q = shares
    return float(np.sum((q - p) * np.log(q / p)))


@dataclass
class ColumnDetector:
    """Implements :class:`~perennial_observer.detectors.base.Detector` by a distance of single columns.

    Missing values (NaN) are left out by column; a column with fewer than two values on either side is NaN.

    Parameters
    ----------
    distance
        Of two float64 arrays without NaN: (reference (m,), window (n,)).
    """

    distance: Callable[[Floats, Floats], float]
    _columns: list[Floats] = field(default_factory=list)

    def fit(self, reference: Floats) -> None:
        """Keep the reference, float64 (m, d)."""
        self._columns = [column[~np.isnan(column)] for column in reference.T]

    def score(self, window: Floats) -> Result:
        """Compare `window`, float64 (n, d)."""
        require_shape(window, len(self._columns))
        found = np.full(len(self._columns), np.nan)
        for i, (known, column) in enumerate(zip(self._columns, window.T, strict=True)):
            values = column[~np.isnan(column)]
            if min(len(known), len(values)) >= MIN_VALUES:
                found[i] = self.distance(known, values)
        tested = found[~np.isnan(found)]
        return Result(
            statistic=float(tested.max()) if len(tested) else float("nan"), per_column=found, n=len(window)
        )
