"""CBPE for three classes and more: the same idea as `estimators.CBPE`, with a chance for each class. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from perennial_api.modeldeployment.monitoring import PerformanceMetric
from scipy.stats import rankdata

from perennial_observer.monitors.estimates.calibration import (
    CALIBRATIONS,
    DRAWS,
    INTERVAL_PERCENT,
    SEED,
    Curve,
    fit_curve,
)
from perennial_observer.monitors.estimates.estimators import Estimate
from perennial_observer.monitors.labels.many_classes import (
    count_pairs,
    macro_f1,
    mean_auc,
    mean_log_loss,
    mean_recall,
)

__all__ = ["MulticlassCBPE"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Curves = tuple[Curve, ...]


@dataclass
class MulticlassCBPE:
    """Estimates metrics of a classifier with k classes.

    Each class has an isotonic calibration of its own against all others; a row's chances are then brought to a sum of 1
    (Zadrozny and Elkan 2002, section 4). Until it has learnt, probabilities are taken as they are.

    Parameters
    ----------
    n_classes
        k.
    """

    n_classes: int
    _curves: Curves = ()
    _others: list[Curves] = field(default_factory=list)

    def fit(self, probabilities: Floats, labels: Codes) -> None:
        """Learn how often a score is right.

        Parameters
        ----------
        probabilities
            float64 (n, k): the model's, of each class.
        labels
            int64 (n,): the place of each row's class among the k.
        """
        random = np.random.default_rng(SEED)
        self._curves = self._fit_curves(probabilities, labels)
        chosen = (random.integers(0, len(labels), len(labels)) for _ in range(CALIBRATIONS))
        self._others = [self._fit_curves(probabilities[rows], labels[rows]) for rows in chosen]

    def estimate(self, metric: PerformanceMetric, probabilities: Floats, predicted: Codes) -> Estimate:
        """Estimate a metric of a window: its mean over labels drawn from the chances, as labels would give it.

        The interval is of labels drawn by other calibrations, as in `estimators.CBPE`.

        Parameters
        ----------
        probabilities, predicted
            float64 (n, k), int64 (n,): the model's, and the place of its answer among the k.

        Returns
        -------
        Estimate
            NaN where all rows are so surely of one class that the metric isn't defined.

        Raises
        ------
        KeyError
            The metric isn't one of `ESTIMATED_BY_CBPE`.
        """
        measure = _MEASURES[metric]
        window = _Window(probabilities, predicted, rankdata(probabilities, axis=0))
        random = np.random.default_rng(SEED)

        def draw(curves: Curves, n: int) -> list[float]:
            upto = np.cumsum(_read(curves, probabilities)[:, :-1], axis=1)
            figures = (measure(_draw_labels(random, upto), window) for _ in range(n))
            return [figure for figure in figures if figure is not None]

        curves = self._curves or (Curve(),) * self.n_classes
        others = self._others or [curves]
        value = float(np.mean(draw(curves, DRAWS) or [np.nan]))
        figures = [figure for some in others for figure in draw(some, DRAWS // len(others))] or [value]
        lower, upper = np.percentile(figures, INTERVAL_PERCENT)
        return Estimate(value, float(np.std(figures)), min(float(lower), value), max(float(upper), value))

    def _fit_curves(self, probabilities: Floats, labels: Codes) -> Curves:
        return tuple(fit_curve(probabilities[:, k], labels == k) for k in range(self.n_classes))


def _read(curves: Curves, probabilities: Floats) -> Floats:
    chances = np.column_stack([curve.read(probabilities[:, k]) for k, curve in enumerate(curves)])
    shared: Floats = chances / chances.sum(axis=1, keepdims=True)
    return shared


def _draw_labels(random: np.random.Generator, upto: Floats) -> Codes:
    """Draw one label a row, int64 (n,), by the sums of the chances of all classes but the last, float64 (n, k - 1)."""
    drawn: Codes = np.sum(random.random((len(upto), 1)) >= upto, axis=1)
    return drawn


@dataclass(frozen=True)
class _Window:
    probabilities: Floats
    predicted: Codes
    ranks: Floats

    def pair(self, labels: Codes) -> Codes:
        return count_pairs(labels, self.predicted, self.probabilities.shape[1])


def _accuracy(labels: Codes, window: _Window) -> float | None:
    return float(np.mean(labels == window.predicted))


def _balanced_accuracy(labels: Codes, window: _Window) -> float | None:
    return mean_recall(window.pair(labels))


def _macro_f1(labels: Codes, window: _Window) -> float | None:
    return macro_f1(window.pair(labels))


def _log_loss(labels: Codes, window: _Window) -> float | None:
    return mean_log_loss(labels, window.probabilities)


def _roc_auc(labels: Codes, window: _Window) -> float | None:
    return mean_auc(labels, window.ranks)


# Of labels that were drawn: what Performance computes of labels that came back.
_MEASURES: Mapping[PerformanceMetric, Callable[[Codes, _Window], float | None]] = {
    PerformanceMetric.ACCURACY: _accuracy,
    PerformanceMetric.BALANCED_ACCURACY: _balanced_accuracy,
    PerformanceMetric.F1: _macro_f1,
    PerformanceMetric.LOG_LOSS: _log_loss,
    PerformanceMetric.ROC_AUC: _roc_auc,
}
