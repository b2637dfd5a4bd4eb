"""Performance without labels: what a model's own, calibrated probabilities say of it, and errors learnt from others.

CBPE (confidence-based performance estimation) reads a row's calibrated probability as the chance that its label is one
class or the other; a metric's expectation over those chances is the estimate. DLE (direct loss estimation) learns the
size of a regression's errors from labelled rows. Both hold as long as the relation of inputs and labels stays: they see
what drift of the inputs does to a model, and no concept drift. Pure.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from perennial_api.modeldeployment.monitoring import PerformanceMetric
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score

__all__ = ["CBPE", "DLE", "ESTIMATED_BY_CBPE", "ESTIMATED_BY_DLE"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# A probability of 0 or 1 would make the log loss of a single row infinite.
SURE = 1e-6
DLE_SEED = 0


@dataclass
class CBPE:
    """Estimates metrics of a classifier with two classes.

    The calibration is isotonic (Zadrozny and Elkan 2002), learnt on labelled rows that the model wasn't fitted on.
    """

    _calibration: IsotonicRegression = field(
        default_factory=lambda: IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    )

    def fit(self, probability: Floats, is_positive: Bools) -> None:
        """Learn how often a score is right.

        Parameters
        ----------
        probability
            float64 (n,): the model's, of the positive class.
        is_positive
            bool (n,): the labels.
        """
        self._calibration.fit(probability, is_positive.astype(np.float64))

    def estimate(self, metric: PerformanceMetric, probability: Floats, predicted: Bools) -> float:
        """Estimate a metric of a window.

        Parameters
        ----------
        probability, predicted
            float64 (n,), bool (n,): the model's, of the positive class.

        Raises
        ------
        KeyError
            The metric isn't one of `ESTIMATED_BY_CBPE`.
        """
        chance: Floats = np.clip(self._calibration.predict(probability), SURE, 1 - SURE)
        return _EXPECTATIONS[metric](chance, probability, predicted)


def _expect_accuracy(chance: Floats, _: Floats, predicted: Bools) -> float:
    return float(np.mean(np.where(predicted, chance, 1 - chance)))


def _expect_f1(chance: Floats, _: Floats, predicted: Bools) -> float:
    true_positive = chance[predicted].sum()
    denominator = predicted.sum() + chance.sum()
    return float(2 * true_positive / denominator) if denominator else 0.0


def _expect_balanced_accuracy(chance: Floats, _: Floats, predicted: Bools) -> float:
    positive, negative = chance.sum(), (1 - chance).sum()
    return float((chance[predicted].sum() / positive + (1 - chance[~predicted]).sum() / negative) / 2)


def _expect_roc_auc(chance: Floats, probability: Floats, _: Bools) -> float:
    """Each row is a positive one with its chance, and a negative one with the rest."""
    labels = np.repeat([1, 0], len(chance))
    weights = np.concatenate([chance, 1 - chance])
    return float(roc_auc_score(labels, np.tile(probability, 2), sample_weight=weights))


def _expect_log_loss(chance: Floats, probability: Floats, _: Bools) -> float:
    said = np.clip(probability, SURE, 1 - SURE)
    return float(-np.mean(chance * np.log(said) + (1 - chance) * np.log(1 - said)))


_EXPECTATIONS: Mapping[PerformanceMetric, Callable[[Floats, Floats, Bools], float]] = {
    PerformanceMetric.ACCURACY: _expect_accuracy,
    PerformanceMetric.BALANCED_ACCURACY: _expect_balanced_accuracy,
    PerformanceMetric.F1: _expect_f1,
    PerformanceMetric.LOG_LOSS: _expect_log_loss,
    PerformanceMetric.ROC_AUC: _expect_roc_auc,
}
ESTIMATED_BY_CBPE = frozenset(_EXPECTATIONS)
ESTIMATED_BY_DLE = frozenset({PerformanceMetric.MAE, PerformanceMetric.RMSE})


@dataclass
class DLE:
    """Estimates a loss of a regression by a model of its errors.

    Parameters
    ----------
    metric
        One of `ESTIMATED_BY_DLE`.
    """

    metric: PerformanceMetric
    _errors: HistGradientBoostingRegressor = field(
        default_factory=lambda: HistGradientBoostingRegressor(random_state=DLE_SEED, early_stopping=False)
    )

    def fit(self, features: Floats, predicted: Floats, labels: Floats) -> None:
        """Learn the size of the errors.

        Parameters
        ----------
        features
            float64 (n, d), may hold NaN.
        predicted, labels
            float64 (n,).
        """
        errors = np.abs(labels - predicted)
        self._errors.fit(np.column_stack([features, predicted]), self._size(errors))

    def estimate(self, features: Floats, predicted: Floats) -> float:
        """Estimate the loss of a window: float64 (n, d), float64 (n,)."""
        sizes = np.maximum(self._errors.predict(np.column_stack([features, predicted])), 0.0)
        mean = float(np.mean(sizes))
        return float(np.sqrt(mean)) if self.metric is PerformanceMetric.RMSE else mean

    def _size(self, errors: Floats) -> Floats:
        return errors**2 if self.metric is PerformanceMetric.RMSE else errors
