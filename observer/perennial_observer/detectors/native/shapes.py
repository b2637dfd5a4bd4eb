"""What every native detector asks of its arrays."""

import numpy as np

from perennial_observer.detectors.base import Floats
from perennial_observer.errors import DetectorFailure

__all__ = ["in_order", "require_known", "require_shape"]


def require_shape(window: Floats, n_columns: int) -> None:
    """Refuse a window that isn't (n, d) with at least one row.

    Raises
    ------
    DetectorFailure
        ``ShapeMismatch``.
    """
    if window.ndim != 2 or window.shape[1] != n_columns or not len(window):  # noqa: PLR2004  rows and columns
        raise DetectorFailure(
            f"a window of shape {window.shape}, where (n, {n_columns}) was expected", "ShapeMismatch"
        )


def require_known(rows: Floats) -> None:
    """Refuse rows with missing values.

    Raises
    ------
    DetectorFailure
        ``MissingValues``.
    """
    if np.isnan(rows).any():
        raise DetectorFailure("there are missing values, which this detector can't compare", "MissingValues")


def in_order(rows: Floats) -> Floats:
    """Sort rows, so that what adds or draws them one by one gives the same whatever order they came in."""
    ordered: Floats = rows[np.lexsort(rows.T)]
    return ordered
