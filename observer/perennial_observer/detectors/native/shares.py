"""Changes of shares, per column of codes: chi-square as Cramér's V, and the population stability index."""

import numpy as np

from perennial_observer.detectors.base import Floats

__all__ = ["chi_square_distance", "cramers_v", "psi", "stability_index"]

# Cochran's rule: with fewer expected in a cell the statistic is mostly chance, so rare codes are one cell.
LEAST_EXPECTED = 5.0
BOTH_SIDES = 2
# A code that is absent on one side would make the index infinite; half a row stands for it.
EMPTY_ROWS = 0.5


def chi_square_distance(reference: Floats, window: Floats) -> float:
    """Cramér's V of two samples of codes; see :func:`cramers_v`."""
    return cramers_v(*_count(reference, window))


def psi(reference: Floats, window: Floats) -> float:
    """Population stability index of two samples of codes; see :func:`stability_index`."""
    return stability_index(*_count(reference, window))


def cramers_v(reference: Floats, window: Floats) -> float:
    """Association of side and code as if both sides were as large, 0 to 1; NaN with one code or an empty side.

    Weighing both sides alike is what keeps the unit the same for windows of any size: with shares p and q it is
    ``sqrt(½ · sum((p - q)² / (p + q)))``, which is Cramér's V where the sizes are equal.

    Parameters
    ----------
    reference, window
        float64 (codes,): how many rows have each.

    Examples
    --------
    >>> round(cramers_v(np.array([60.0, 40.0]), np.array([4.0, 6.0])), 3)
    0.2
    """
    table = np.vstack([reference, window])
    table = table[:, table.sum(axis=0) > 0]
    if not (table.sum(axis=1) > 0).all():
        return float("nan")
    table = _join_rare(table)
    if table.shape[1] < BOTH_SIDES:
        return float("nan")
    p, q = table / table.sum(axis=1, keepdims=True)
    return float(np.sqrt(np.sum((p - q) ** 2 / (p + q)) / 2))


def stability_index(reference: Floats, window: Floats) -> float:
    """Sum of (q - p) ln(q/p) over the codes, from 0 up.

    Parameters
    ----------
    reference, window
        float64 (codes,): how many rows have each; at least one row on either side.
    """
    seen = reference + window > 0
    p, q = (np.maximum(side[seen], EMPTY_ROWS) / side.sum() for side in (reference, window))
    return float(np.sum((q - p) * np.log(q / p)))


def _count(reference: Floats, window: Floats) -> tuple[Floats, Floats]:
    codes, places = np.unique(np.concatenate([reference, window]), return_inverse=True)
    counts = [
        np.bincount(side, minlength=len(codes)).astype(np.float64)
        for side in (places[: len(reference)], places[len(reference) :])
    ]
    return counts[0], counts[1]


def _join_rare(table: Floats) -> Floats:
    expected = table.sum(axis=0) * (table.sum(axis=1).min() / table.sum())
    rare = expected < LEAST_EXPECTED
    if not rare.any():
        return table
    return np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
