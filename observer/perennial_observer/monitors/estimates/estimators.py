"""Performance without labels: what a model's own, calibrated probabilities say of it, and errors learnt from others.

CBPE (confidence-based performance estimation) reads a row's calibrated probability as the chance that its label is one
class or the other; a metric's expectation over those chances is the estimate. DLE (direct loss estimation) learns the
size of a regression's errors from labelled rows. Both hold as long as the relation of inputs and labels stays: they see
what drift of the inputs does to a model, and no concept drift. Both say within what the figure would lie that labels
give, from the chance of the labels themselves and from that of the rows that were learnt from. Pure.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import cycle, islice

import numpy as np
import numpy.typing as npt
from perennial_api.modeldeployment.monitoring import PerformanceMetric
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestRegressor
from sklearn.metrics import roc_auc_score

from perennial_observer.monitors.estimates.calibration import (
    CALIBRATIONS,
    DRAWS,
    INTERVAL_PERCENT,
    SEED,
    SURE,
    Curve,
    fit_curve,
)

__all__ = ["CBPE", "DLE", "ESTIMATED_BY_CBPE", "ESTIMATED_BY_DLE", "Estimate"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

NORMAL_95 = 1.96
TREES = 30
LEAF_ROWS = 20
# The forest reads its inputs in single precision, which has no larger numbers.
LARGEST_INPUT = 1e30
SMALLEST = 1e-300


@dataclass(frozen=True)
class Estimate:
    """What labels would probably give.

    Parameters
    ----------
    error
        Standard error of `value` as a forecast of the figure that the labels give.
    lower, upper
        95 % interval of that figure.
    """

    value: float
    error: float
    lower: float
    upper: float


@dataclass
class CBPE:
    """Estimates metrics of a classifier with two classes.

    The calibration is isotonic (Zadrozny and Elkan 2002), learnt on labelled rows that the model wasn't fitted on.
    Until it has learnt, probabilities are taken as they are.
    """

    _curve: Curve = field(default_factory=Curve)
    _others: tuple[Curve, ...] = ()

    def fit(self, probability: Floats, is_positive: Bools) -> None:
        """Learn how often a score is right.

        Parameters
        ----------
        probability
            float64 (n,): the model's, of the positive class.
        is_positive
            bool (n,): the labels.
        """
        random = np.random.default_rng(SEED)
        self._curve = fit_curve(probability, is_positive)
        chosen = (random.integers(0, len(probability), len(probability)) for _ in range(CALIBRATIONS))
        self._others = tuple(fit_curve(probability[rows], is_positive[rows]) for rows in chosen)

    def estimate(self, metric: PerformanceMetric, probability: Floats, predicted: Bools) -> Estimate:
        """Estimate a metric of a window.

        The interval is that of the metric on labels drawn from the chances, each time by another calibration: a
        parametric bootstrap (Efron and Tibshirani 1993, chapter 6.5) around one of the calibration's rows.

        Parameters
        ----------
        probability, predicted
            float64 (n,), bool (n,): the model's, of the positive class.

        Raises
        ------
        KeyError
            The metric isn't one of `ESTIMATED_BY_CBPE`.
        """
        value = _EXPECTATIONS[metric](self._curve.read(probability), probability, predicted)
        realise = _REALISED[metric]
        random = np.random.default_rng(SEED)
        ranks = rankdata(probability)
        chances = [curve.read(probability) for curve in self._others or (self._curve,)]
        draws = [
            realise(random.random(len(chance)) < chance, probability, predicted, ranks)
            for chance in islice(cycle(chances), DRAWS)
        ]
        figures = np.array([figure for figure in draws if figure is not None] or [value])
        lower, upper = np.percentile(figures, INTERVAL_PERCENT)
        return Estimate(value, float(np.std(figures)), min(float(lower), value), max(float(upper), value))


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


def _realise_accuracy(labels: Bools, _: Floats, predicted: Bools, __: Floats) -> float | None:
    return float(np.mean(labels == predicted))


def _realise_f1(labels: Bools, _: Floats, predicted: Bools, __: Floats) -> float | None:
    return _expect_f1(labels.astype(np.float64), _, predicted)


def _realise_balanced_accuracy(labels: Bools, _: Floats, predicted: Bools, __: Floats) -> float | None:
    if labels.all() or not labels.any():
        return None
    return _expect_balanced_accuracy(labels.astype(np.float64), _, predicted)


def _realise_log_loss(labels: Bools, probability: Floats, _: Bools, __: Floats) -> float | None:
    return _expect_log_loss(labels.astype(np.float64), probability, _)


def _realise_roc_auc(labels: Bools, _: Floats, __: Bools, ranks: Floats) -> float | None:
    """By the sum of the positive rows' ranks (Mann and Whitney 1947); None where there is one class."""
    positive = int(labels.sum())
    negative = len(labels) - positive
    if not positive or not negative:
        return None
    return float((ranks[labels].sum() - positive * (positive + 1) / 2) / (positive * negative))


_REALISED: Mapping[PerformanceMetric, Callable[[Bools, Floats, Bools, Floats], float | None]] = {
    PerformanceMetric.ACCURACY: _realise_accuracy,
    PerformanceMetric.BALANCED_ACCURACY: _realise_balanced_accuracy,
    PerformanceMetric.F1: _realise_f1,
    PerformanceMetric.LOG_LOSS: _realise_log_loss,
    PerformanceMetric.ROC_AUC: _realise_roc_auc,
}
ESTIMATED_BY_CBPE = frozenset(_EXPECTATIONS)
ESTIMATED_BY_DLE = frozenset({PerformanceMetric.MAE, PerformanceMetric.RMSE})


def _as_inputs(features: Floats, predicted: Floats) -> npt.NDArray[np.float32]:
    inputs = np.column_stack([features, predicted])
    return np.clip(inputs, -LARGEST_INPUT, LARGEST_INPUT).astype(np.float32)


@dataclass
class DLE:
    """Estimates a loss of a regression by a model of its errors.

    The model is a random forest (Breiman 2001): its trees, each grown on other rows, tell how far off the mean of a
    window may be, and the rows that a tree didn't see tell how far off a single error is.

    Parameters
    ----------
    metric
        One of `ESTIMATED_BY_DLE`.
    """

    metric: PerformanceMetric
    _errors: RandomForestRegressor = field(
        default_factory=lambda: RandomForestRegressor(
            TREES, min_samples_leaf=LEAF_ROWS, max_features=1 / 3, oob_score=True, random_state=SEED
        )
    )
    _scale: float = 1.0
    _dispersion: float = 1.0

    def fit(self, features: Floats, predicted: Floats, labels: Floats) -> None:
        """Learn the size of the errors.

        Parameters
        ----------
        features
            float64 (n, d), may hold NaN.
        predicted, labels
            float64 (n,).
        """
        sizes = np.abs(labels - predicted)
        if self.metric is PerformanceMetric.RMSE:
            sizes = sizes**2
        self._scale = float(sizes.max()) or 1.0
        sizes = sizes / self._scale
        self._errors.fit(_as_inputs(features, predicted), sizes)
        unseen = self._errors.oob_prediction_
        # Larger errors vary more: what is kept is the spread in units of the expected size.
        self._dispersion = float(np.sqrt(np.mean((sizes - unseen) ** 2) / max(np.mean(unseen**2), SMALLEST)))

    def estimate(self, features: Floats, predicted: Floats) -> Estimate:
        """Estimate the loss of a window: float64 (n, d), float64 (n,).

        The interval is normal, of the mean of the errors' sizes: their own spread, and that of the trees.
        """
        inputs = _as_inputs(features, predicted)
        by_tree = self._scale * np.array([tree.predict(inputs) for tree in self._errors.estimators_])
        sizes = by_tree.mean(axis=0)
        mean = float(np.mean(sizes))
        sampling = self._dispersion * float(np.sqrt(np.sum(sizes**2))) / len(sizes)
        error = float(np.hypot(sampling, np.std(by_tree.mean(axis=1))))
        lower, upper = max(mean - NORMAL_95 * error, 0.0), mean + NORMAL_95 * error
        if self.metric is not PerformanceMetric.RMSE:
            return Estimate(mean, error, lower, upper)
        root = float(np.sqrt(mean))
        # d√m = dm / 2√m. Errors of 0 alone leave nothing to be off.
        return Estimate(
            root, error / (2 * root) if root else 0.0, float(np.sqrt(lower)), float(np.sqrt(upper))
        )
