"""Scores of single odd rows: Mahalanobis distance, and distance to the nearest neighbours."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from perennial_observer.detectors.base import Floats, Result
from perennial_observer.detectors.native.shapes import require_known, require_shape

__all__ = ["Mahalanobis", "Neighbours", "OddRows", "Scorer"]

FOLDS = 5
NEIGHBOURS = 10
MOST_ROWS = 2000


class Scorer(Protocol):
    """Says how odd rows are by a reference."""

    def fit(self, reference: Floats) -> None:
        """Learn `reference`, float64 (m, d) without NaN."""

    def score_rows(self, rows: Floats) -> Floats:
        """Score `rows`, float64 (n, d): float64 (n,), higher is odder."""


@dataclass
class Mahalanobis:
    """Distance from the reference's mean in units of its spread; the covariance is shrunk (Ledoit and Wolf 2004)."""

    _scaler: StandardScaler = field(default_factory=StandardScaler)
    _covariance: LedoitWolf = field(default_factory=LedoitWolf)

    def fit(self, reference: Floats) -> None:
        """Learn mean and covariance."""
        self._covariance.fit(self._scaler.fit_transform(reference))

    def score_rows(self, rows: Floats) -> Floats:
        """Score rows."""
        squared: Floats = self._covariance.mahalanobis(self._scaler.transform(rows))
        return np.sqrt(np.maximum(squared, 0.0))


@dataclass
class Neighbours:
    """Mean distance to the nearest rows of the reference, of which at most `MOST_ROWS` are kept, evenly spread."""

    _scaler: StandardScaler = field(default_factory=StandardScaler)
    _index: NearestNeighbors = field(default_factory=NearestNeighbors)

    def fit(self, reference: Floats) -> None:
        """Keep the reference."""
        chosen = np.unique(np.linspace(0, len(reference) - 1, min(len(reference), MOST_ROWS)).astype(int))
        rows = self._scaler.fit_transform(reference)[chosen]
        self._index = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(rows))).fit(rows)

    def score_rows(self, rows: Floats) -> Floats:
        """Score rows."""
        distances, _ = self._index.kneighbors(self._scaler.transform(rows))
        mean: Floats = distances.mean(axis=1)
        return mean


@dataclass
class OddRows:
    """Implements :class:`~perennial_observer.detectors.base.Detector` by a scorer of rows; no NaN.

    Parameters
    ----------
    make_scorer
        Class of a fresh scorer.
    contamination
        Share of the reference's own rows beyond the cut.
    """

    make_scorer: type[Mahalanobis] | type[Neighbours]
    contamination: float
    _scorer: Scorer | None = None
    _columns: int = 0
    _cut: float = float("inf")

    def fit(self, reference: Floats) -> None:
        """Fit; the cut is the (1 - contamination) quantile of rows scored by a fit that saw no neighbours in time."""
        require_known(reference)
        held_out = []
        for fold in np.array_split(np.arange(len(reference)), min(FOLDS, len(reference))):
            rest = np.delete(reference, fold, axis=0)
            if len(rest) > 1:
                scorer = self.make_scorer()
                scorer.fit(rest)
                held_out.append(scorer.score_rows(reference[fold]))
        if held_out:
            self._cut = float(
                np.quantile(np.concatenate(held_out), 1.0 - self.contamination, method="higher")
            )
        self._columns = reference.shape[1]
        self._scorer = self.make_scorer()
        self._scorer.fit(reference)

    def score(self, window: Floats) -> Result:
        """Share of the window's rows beyond the cut."""
        return Result(statistic=float(np.mean(self.flag(window))), per_column=np.empty(0), n=len(window))

    def rate_rows(self, window: Floats) -> Floats:
        """Tell by how much each of the window's rows is beyond the cut, float64 (n,)."""
        assert self._scorer is not None, "fit comes first"
        require_shape(window, self._columns)
        require_known(window)
        return self._scorer.score_rows(window) - self._cut

    def flag(self, window: Floats) -> npt.NDArray[np.bool_]:
        """Tell which of the window's rows are beyond the cut, bool (n,)."""
        return np.asarray(self.rate_rows(window) > 0.0)
