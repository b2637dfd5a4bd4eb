"""Changes of categories' shares, per feature: chi-square, as Cramér's V, which doesn't grow with the sample."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import chi2_contingency

from perennial_observer.detectors.base import Floats, Result
from perennial_observer.detectors.native.shapes import require_shape

__all__ = ["ChiSquareDetector"]

# Cochran's rule: with fewer expected in a cell the statistic is mostly chance, so rare categories are one cell.
LEAST_EXPECTED = 5.0
BOTH_SIDES = 2


@dataclass
class ChiSquareDetector:
    """Implements :class:`~perennial_observer.detectors.base.Detector` on 0/1 columns, one for each category.

    Parameters
    ----------
    owner
        Feature of each column: columns of one feature are the shares of its categories. Others are left alone (NaN).
    """

    owner: Sequence[int | None]
    _counts: Floats = field(default_factory=lambda: np.empty(0))

    def fit(self, reference: Floats) -> None:
        """Count the reference, float64 (m, d)."""
        self._counts = np.nansum(reference, axis=0)

    def score(self, window: Floats) -> Result:
        """Compare `window`, float64 (n, d); each column of a feature gets the feature's statistic."""
        require_shape(window, len(self._counts))
        counts = np.nansum(window, axis=0)
        found = np.full(len(self._counts), np.nan)
        for feature in {owner for owner in self.owner if owner is not None}:
            columns = [i for i, owner in enumerate(self.owner) if owner == feature]
            found[columns] = cramers_v(self._counts[columns], counts[columns])
        tested = found[~np.isnan(found)]
        return Result(
            statistic=float(tested.max()) if len(tested) else float("nan"), per_column=found, n=len(window)
        )


def cramers_v(reference: Floats, window: Floats) -> float:
    """Association of side and category, 0 to 1: sqrt(chi²/N); NaN with one category or an empty side.

    Parameters
    ----------
    reference, window
        float64 (categories,): how many rows have each.
    """
    table = np.vstack([reference, window])
    table = table[:, table.sum(axis=0) > 0]
    if not (table.sum(axis=1) > 0).all():
        return float("nan")
    table = _join_rare(table)
    if table.shape[1] < BOTH_SIDES:
        return float("nan")
    return float(np.sqrt(chi2_contingency(table, correction=False).statistic / table.sum()))


def _join_rare(table: Floats) -> Floats:
    expected = table.sum(axis=0) * (table.sum(axis=1).min() / table.sum())
    rare = expected < LEAST_EXPECTED
    if not rare.any():
        return table
    return np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
