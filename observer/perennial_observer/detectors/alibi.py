"""Drift statistics by alibi-detect, in the sidecar; the units are said there, in ``columns.py`` and ``together.py``."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from perennial_observer.detectors.base import Floats, Result, largest
from perennial_observer.detectors.sidecar import Sidecar

__all__ = ["AlibiClassifier", "AlibiColumns", "AlibiUncertainty"]


@dataclass
class AlibiColumns:
    """Implements :class:`~perennial_observer.detectors.base.Detector` column by column; missing values are left out.

    Parameters
    ----------
    test
        ``ks``, ``cvm``, ``chi_square``, ``fet`` or ``tabular``.
    is_category
        Which columns hold codes; only ``tabular`` asks, and takes those it isn't told of for numbers.
    """

    sidecar: Sidecar
    test: str
    is_category: Sequence[bool] = ()
    _reference: Floats = field(default_factory=lambda: np.empty((0, 0)))

    def fit(self, reference: Floats) -> None:
        """Keep the reference."""
        self._reference = reference

    def score(self, window: Floats) -> Result:
        """Compare one window."""
        row = self.sidecar.compare_columns(self.test, self._reference, [window], self.is_category)[0]
        return Result(statistic=largest(row), per_column=row, n=len(window))


@dataclass
class AlibiClassifier:
    """Implements :class:`~perennial_observer.detectors.base.Detector` on all columns together; no NaN."""

    sidecar: Sidecar
    seed: int = 0
    _reference: Floats = field(default_factory=lambda: np.empty((0, 0)))

    def fit(self, reference: Floats) -> None:
        """Keep the reference."""
        self._reference = reference

    def score(self, window: Floats) -> Result:
        """Compare one window."""
        found = self.sidecar.compare_by_classifier(self._reference, window, seed=self.seed)
        return Result(statistic=found, per_column=np.empty(0), n=len(window))


@dataclass
class AlibiUncertainty:
    """Implements :class:`~perennial_observer.detectors.base.Detector` on predicted probabilities, a column per class."""

    sidecar: Sidecar
    _reference: Floats = field(default_factory=lambda: np.empty((0, 0)))

    def fit(self, reference: Floats) -> None:
        """Keep the reference."""
        self._reference = reference

    def score(self, window: Floats) -> Result:
        """Compare one window."""
        found = self.sidecar.compare_uncertainty(self._reference, window)
        return Result(statistic=found, per_column=np.empty(0), n=len(window))
