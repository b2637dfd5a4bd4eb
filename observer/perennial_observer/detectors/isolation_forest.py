"""Share of outlying rows by alibi-detect's isolation forest."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from perennial_observer.detectors.base import Floats, Result
from perennial_observer.detectors.sidecar import Sidecar

__all__ = ["IsolationForestDetector"]

# Every row's score comes from a forest that did not see it or its neighbours in time.
FOLDS = 5


@dataclass
class IsolationForestDetector:
    """Implements :class:`~perennial_observer.detectors.base.Detector`; `reference` and `window` hold no NaN.

    Parameters
    ----------
    contamination
        Share of the reference's own rows beyond the cut.
    """

    sidecar: Sidecar
    contamination: float
    seed: int = 0
    _reference: Floats = field(default_factory=lambda: np.empty((0, 0)))
    _key: str = ""
    _cut: float = float("inf")

    def fit(self, reference: Floats) -> None:
        """Fit on `reference`; the cut is the (1 - contamination) quantile of held-out rows' scores."""
        self._reference = reference
        self._key = hashlib.sha256(reference.tobytes() + repr(reference.shape).encode()).hexdigest()[:40]
        folds = np.array_split(np.arange(len(reference)), min(FOLDS, len(reference)))
        scores = []
        for i, fold in enumerate(folds):
            rest = np.delete(reference, fold, axis=0)
            key = f"{self._key}-{i}"
            if len(rest):
                scores.append(self.sidecar.isolation_forest(key, rest, reference[fold], seed=self.seed))
        if scores:
            self._cut = float(np.quantile(np.concatenate(scores), 1.0 - self.contamination, method="higher"))

    def score(self, window: Floats) -> Result:
        """Share of the window's rows beyond the cut."""
        return Result(statistic=float(np.mean(self.flag(window))), per_column=np.empty(0), n=len(window))

    def rate_rows(self, window: Floats) -> Floats:
        """By how much each of the window's rows is beyond the cut, float64 (n,)."""
        return self.sidecar.isolation_forest(self._key, self._reference, window, seed=self.seed) - self._cut

    def flag(self, window: Floats) -> npt.NDArray[np.bool_]:
        """Which of the window's rows are beyond the cut, bool (n,)."""
        return np.asarray(self.rate_rows(window) > 0.0)
