"""Numbers as codes, so that shares can be compared: cut at the reference's deciles."""

from dataclasses import dataclass, field

import numpy as np

from perennial_observer.detectors.base import Detector, Floats, Result
from perennial_observer.detectors.native.shapes import require_shape

__all__ = ["Binned", "choose_edges", "to_codes"]

BINS = 10


def choose_edges(values: Floats) -> Floats:
    """Where to cut, so that a tenth of `values` falls into each bin; beyond the smallest and largest are two more.

    A few different values, such as 0 and 1, get a bin each: deciles of a rare one would all be the other.

    Parameters
    ----------
    values
        float64 (m,) without NaN; empty gives no edges, hence one bin.
    """
    if not len(values):
        return np.empty(0)
    different = np.unique(values)
    inner = different if len(different) <= BINS else np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])
    return np.unique([different[0], *inner, np.nextafter(different[-1], np.inf)])


def to_codes(values: Floats, edges: Floats) -> Floats:
    """Number of each value's bin; NaN stays NaN."""
    return np.where(np.isnan(values), np.nan, np.searchsorted(edges, values, side="right"))


@dataclass
class Binned:
    """Implements :class:`~perennial_observer.detectors.base.Detector` by another one, which gets codes.

    Parameters
    ----------
    detector
        What compares the codes.
    is_category
        Which columns hold codes already; the others are numbers.
    """

    detector: Detector
    is_category: tuple[bool, ...] = ()
    _edges: list[Floats | None] = field(default_factory=list)

    def fit(self, reference: Floats) -> None:
        """Cut the reference, float64 (m, d)."""
        flags = self.is_category or (False,) * reference.shape[1]
        self._edges = [
            None if is_category else choose_edges(column[~np.isnan(column)])
            for column, is_category in zip(reference.T, flags, strict=True)
        ]
        self.detector.fit(self._cut(reference))

    def score(self, window: Floats) -> Result:
        """Compare `window`, float64 (n, d)."""
        require_shape(window, len(self._edges))
        return self.detector.score(self._cut(window))

    def _cut(self, rows: Floats) -> Floats:
        return np.column_stack(
            [
                column if edges is None else to_codes(column, edges)
                for column, edges in zip(rows.T, self._edges, strict=True)
            ]
        )
