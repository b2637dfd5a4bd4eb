"""Two-sample Kolmogorov-Smirnov distance per column, by alibi-detect."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from perennial_observer.detectors.base import Floats, Result
from perennial_observer.detectors.sidecar import Sidecar

__all__ = ["KSDetector"]


@dataclass
class KSDetector:
    """Implements :class:`~perennial_observer.detectors.base.Detector`; missing values are left out by column."""

    sidecar: Sidecar
    _reference: Floats = field(default_factory=lambda: np.empty((0, 0)))

    def fit(self, reference: Floats) -> None:
        """Keep the reference."""
        self._reference = reference

    def score(self, window: Floats) -> Result:
        """Distance of one window."""
        return self.score_many([window])[0]

    def score_many(self, windows: Sequence[Floats]) -> list[Result]:
        """Distances of several windows in one call."""
        distances = self.sidecar.ks(self._reference, windows)
        return [
            Result(statistic=_largest(row), per_column=row, n=len(window))
            for row, window in zip(distances, windows, strict=True)
        ]


def _largest(values: Floats) -> float:
    return float(np.fmax.reduce(values)) if len(values) else float("nan")
