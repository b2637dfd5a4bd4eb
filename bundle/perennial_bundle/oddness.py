"""How odd single rows are by the measure of the reference: the observer logs it, a server may answer it at once."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from perennial_bundle.encoding import build_encoder
from perennial_bundle.errors import InvalidBundle
from perennial_bundle.rows import Rows, Values
from perennial_bundle.schema import Schema

__all__ = [
    "LEAST_REFERENCE_ROWS",
    "MOST_COLUMNS",
    "Cut",
    "Mahalanobis",
    "Neighbours",
    "Rate",
    "Scorer",
    "learn_rows",
]

Floats = npt.NDArray[np.float64]
# The cut is a quantile of held-out rows' scores; of fewer rows it is the largest of a handful.
LEAST_REFERENCE_ROWS = 50
# A server learns before it serves and rates while a client waits; a covariance costs their third power.
MOST_COLUMNS = 1000
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
        # By hand: scikit-learn's checks take ten times as long for a row, and a request may wait for it.
        deviations = (rows - self._scaler.mean_) / self._scaler.scale_ - self._covariance.location_
        squared: Floats = np.sum((deviations @ self._covariance.precision_) * deviations, axis=1)
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
class Cut:
    """Scores rows, and knows from which score on a row is odd.

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
    _cut: float = float("inf")

    def fit(self, reference: Floats) -> None:
        """Learn float64 (m, d) without NaN.

        The cut is the (1 - contamination) quantile of rows scored by a fit that saw no neighbours in time.
        """
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
        self._scorer = self.make_scorer()
        self._scorer.fit(reference)

    def rate_rows(self, rows: Floats) -> Floats:
        """Tell by how much each row, float64 (n, d) without NaN, is beyond the cut: float64 (n,), odd above 0."""
        assert self._scorer is not None, "fit comes first"
        return self._scorer.score_rows(rows) - self._cut


Rate = Callable[[Rows], Floats]


def learn_rows(
    schema: Schema,
    reference: Mapping[str, Sequence[Any]],
    cut: Cut,
    exclude: Collection[str] = (),
) -> Rate:
    """Learn a reference, by column as a request carries it, and return what rates rows as they were sent.

    The observer's Outlier monitor rates the same rows by the same numbers, if it has the same reference.

    Returns
    -------
    callable
        Takes n rows, of which columns may be missing; returns float64 (n,), odd above 0.

    Raises
    ------
    InvalidBundle
        No feature is left to learn, they have more than `MOST_COLUMNS` columns when encoded, or the reference has
        fewer than `LEAST_REFERENCE_ROWS` rows.
    """
    encoder = build_encoder(schema, reference, exclude)
    if encoder is None:
        raise InvalidBundle(
            "the reference sample has no feature that may be looked at: what is odd can't be told"
        )
    if len(encoder.owner) > MOST_COLUMNS:
        raise InvalidBundle(
            f"the features have {len(encoder.owner)} columns when encoded (a number has 2, a category one per value and"
            f" 2), and what is odd is told by at most {MOST_COLUMNS}: remove server.outlierScores, or exclude columns by"
            " logger.exclude"
        )
    matrix = encoder.impute(encoder.encode(reference))
    if len(matrix) < LEAST_REFERENCE_ROWS:
        raise InvalidBundle(
            f"the reference sample has {len(matrix)} rows, {LEAST_REFERENCE_ROWS} are needed to say what is odd: save"
            " the bundle with more"
        )
    cut.fit(matrix)
    places = {name: place for place, name in enumerate(schema.feature_names)}
    chosen = [places[name] for name in encoder.names]

    def choose(rows: Rows, name: str) -> Values:
        if rows.matrix is not None:
            return rows.matrix[:, places[name]]
        return rows.columns[name] if name in rows.columns else [None] * rows.n

    def encode(rows: Rows) -> Floats:
        if rows.matrix is not None and rows.matrix.dtype.kind in "biuf" and encoder.takes_matrix:
            return encoder.encode_matrix(rows.matrix[:, chosen])
        return encoder.encode({name: choose(rows, name) for name in encoder.names})

    return lambda rows: cut.rate_rows(encoder.impute(encode(rows)))
