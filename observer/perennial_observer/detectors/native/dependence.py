"""Drift of how columns depend on each other: whether a forest can tell the window's rows from the reference's."""

from dataclasses import dataclass, field

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from perennial_observer.detectors.base import Floats, Result
from perennial_observer.detectors.native.shapes import in_order, require_known, require_shape

__all__ = ["DependenceDetector"]

TREES = 100
SMALLEST_LEAF = 5
# Of the reference, evenly spread: more teach the forest little and cost seconds a block.
MOST_REFERENCE_ROWS = 2_000


@dataclass
class DependenceDetector:
    """Implements :class:`~perennial_observer.detectors.base.Detector` as a classifier two-sample test; no NaN.

    The statistic is how far the out-of-bag area under the ROC curve is above one half, times two: 0 where nothing
    tells the two apart, 1 where everything does (Lopez-Paz and Oquab 2017). Trees see pairs of columns, which tests of
    single columns can't.
    """

    seed: int = 0
    _reference: Floats = field(default_factory=lambda: np.empty((0, 0)))

    def fit(self, reference: Floats) -> None:
        """Keep `reference`, float64 (m, d), or some of it."""
        require_known(reference)
        kept = min(len(reference), MOST_REFERENCE_ROWS)
        self._reference = reference[np.unique(np.linspace(0, len(reference) - 1, kept).astype(int))]

    def score(self, window: Floats) -> Result:
        """Compare `window`, float64 (n, d); `per_column` is how much each column helped, which sums to 1."""
        require_shape(window, self._reference.shape[1])
        require_known(window)
        rows = np.concatenate([self._reference, in_order(window)])
        is_window = np.repeat([0, 1], [len(self._reference), len(window)])
        forest = RandomForestClassifier(
            n_estimators=TREES,
            min_samples_leaf=SMALLEST_LEAF,
            class_weight="balanced",
            oob_score=True,
            random_state=self.seed,
            n_jobs=1,
        ).fit(rows, is_window)
        votes = forest.oob_decision_function_[:, 1]
        voted = ~np.isnan(votes)  # a row that every tree has seen has no vote
        area = float(roc_auc_score(is_window[voted], votes[voted]))
        return Result(
            statistic=max(0.0, 2 * area - 1),
            per_column=np.asarray(forest.feature_importances_, dtype=np.float64),
            n=len(window),
        )
