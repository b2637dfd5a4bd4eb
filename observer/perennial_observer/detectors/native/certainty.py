"""Predicted probabilities as they are logged, in the form that a detector of certainty takes."""

from dataclasses import dataclass

import numpy as np

from perennial_observer.detectors.base import Detector, Floats, Result

__all__ = ["Probabilities"]


@dataclass
class Probabilities:
    """Implements :class:`~perennial_observer.detectors.base.Detector` by another one, which gets a column per class.

    It takes an encoder's matrix: each class's probability with a column of missing values behind it. A model of two
    classes logs that of the second alone.
    """

    detector: Detector

    def fit(self, reference: Floats) -> None:
        """Learn the reference."""
        self.detector.fit(_complete(reference))

    def score(self, window: Floats) -> Result:
        """Compare a window."""
        return self.detector.score(_complete(window))


def _complete(matrix: Floats) -> Floats:
    """Float64 (n, classes), rows that sum to 1: imputed ones don't, and some servers round."""
    shares = np.clip(matrix[:, ::2], 0.0, 1.0)
    if shares.shape[1] == 1:
        shares = np.column_stack([1.0 - shares, shares])
    total = shares.sum(axis=1, keepdims=True)
    complete: Floats = np.where(total > 0, shares / np.where(total > 0, total, 1.0), 1.0 / shares.shape[1])
    return complete
