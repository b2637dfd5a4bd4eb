"""Maximum mean discrepancy with random Fourier features: drift of the joint distribution, without torch."""

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.distance import pdist

from perennial_observer.detectors.base import Floats, Result
from perennial_observer.detectors.native.shapes import in_order, require_known, require_shape

__all__ = ["MMDDetector"]

FEATURES = 500
# Rows that the kernel's width is learnt from: the median of half a million distances.
ROWS_FOR_WIDTH = 1000


@dataclass
class MMDDetector:
    """Implements :class:`~perennial_observer.detectors.base.Detector`; no NaN.

    The statistic is the distance of the two means of the random features, which estimates the MMD of a Gaussian kernel
    (Rahimi and Recht 2007; Gretton et al. 2012). Columns are scaled by the reference's mean and standard deviation, and
    the kernel's width is the median distance of its rows.
    """

    seed: int = 0
    _center: Floats = field(default_factory=lambda: np.empty(0))
    _scale: Floats = field(default_factory=lambda: np.empty(0))
    _frequencies: Floats = field(default_factory=lambda: np.empty((0, 0)))
    _mean: Floats = field(default_factory=lambda: np.empty(0))

    def fit(self, reference: Floats) -> None:
        """Learn scale, width and mean of `reference`, float64 (m, d)."""
        require_known(reference)
        rng = np.random.default_rng(self.seed)
        self._center = reference.mean(axis=0)
        spread = reference.std(axis=0)
        self._scale = np.where(spread > 0, spread, 1.0)
        scaled = (reference - self._center) / self._scale
        some = scaled[rng.permutation(len(scaled))[:ROWS_FOR_WIDTH]]
        width = float(np.median(pdist(some))) if len(some) > 1 else 0.0
        self._frequencies = rng.normal(size=(reference.shape[1], FEATURES)) / (width or 1.0)
        self._mean = self._embed(reference)

    def score(self, window: Floats) -> Result:
        """Compare `window`, float64 (n, d)."""
        require_shape(window, len(self._center))
        require_known(window)
        distance = float(np.linalg.norm(self._embed(in_order(window)) - self._mean))
        return Result(statistic=distance, per_column=np.empty(0), n=len(window))

    def _embed(self, rows: Floats) -> Floats:
        """Mean of the random features, float64 (2 * FEATURES,)."""
        angles = (rows - self._center) / self._scale @ self._frequencies
        mean: Floats = np.concatenate([np.cos(angles).mean(axis=0), np.sin(angles).mean(axis=0)])
        scaled: Floats = mean / np.sqrt(FEATURES)
        return scaled
