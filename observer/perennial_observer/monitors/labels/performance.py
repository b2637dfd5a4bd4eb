"""Realised performance of one window from the labels that came back. Pure.

A window breaches where the point estimate is beyond the bound by more than chance (`chance.py`): on few labels a figure
below the bound is noise more often than not. The 95 % interval is recorded beside it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from perennial_api.modeldeployment.monitoring import (
    EstimatedPerformance,
    MonitorSettings,
    Performance,
    PerformanceMetric,
)
from scipy.stats import rankdata
from sklearn import metrics

from perennial_observer.monitors.alarms.verdicts import Assessment
from perennial_observer.monitors.labels.answers import (
    code_classes,
    find_classes,
    find_two_classes,
    has_many_classes,
    read_predicted,
    read_probabilities,
    read_scores,
)
from perennial_observer.monitors.labels.chance import chance_of_breach, deviations
from perennial_observer.monitors.labels.labelled import (
    Unusable,
    assess_shortage,
    assess_unusable,
    comparable,
    measure_coverage,
    pick_labelled,
    read_numbers,
    read_output,
    sort_classes,
)
from perennial_observer.monitors.labels.many_classes import (
    count_pairs,
    macro_f1,
    mean_auc,
    mean_log_loss,
    mean_recall,
)
from perennial_observer.store.rows import LoggedRow

__all__ = ["assess_bound", "assess_performance"]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
RESAMPLES = 200
# Ranking many classes anew in each of them takes long: beyond so many numbers in all there are fewer, but some.
MOST_NUMBERS = 20_000_000
LEAST_RESAMPLES = 40
TWO = 2
SEED = 20130101
INTERVAL_PERCENT = (2.5, 97.5)
NEEDS_PROBABILITY = {PerformanceMetric.ROC_AUC, PerformanceMetric.LOG_LOSS}
REGRESSION = {PerformanceMetric.MAE, PerformanceMetric.RMSE}


def assess_performance(
    rows: Sequence[LoggedRow], spec: Performance, settings: MonitorSettings, classes: Sequence[Any] = ()
) -> Assessment:
    """Judge a window whose labels have had time to mature.

    Parameters
    ----------
    rows
        All rows of the window, labelled or not, in order of event time.
    classes
        A classifier's, in the order of its probabilities, as its bundle has them; empty where they aren't known.
    """
    labelled = pick_labelled(rows)
    lack = assess_shortage(rows, labelled, spec.labels, min_samples=settings.window.min_samples)
    if lack is not None:
        return lack
    coverage = measure_coverage(rows, labelled)
    try:
        truth, answer, measure = _prepare(labelled, spec.metric, classes)
        value = measure(truth, answer)
    except Unusable as why:
        return assess_unusable(why, len(labelled), coverage)
    draws = _resample(truth, answer, measure, needs_two=spec.metric in _NEEDS_TWO_CLASSES)
    lower, upper = np.percentile(draws, INTERVAL_PERCENT)
    return assess_bound(
        spec,
        value,
        (float(lower), float(upper)),
        float(np.std(draws)),
        p=chance_of_breach(rows, settings),
        basis=f"on {len(labelled)} labels ({coverage:.0%} of the rows)",
    ).model_copy(update={"samples": len(labelled), "coverage": coverage})


def assess_bound(
    spec: Performance | EstimatedPerformance,
    value: float,
    interval: tuple[float, float],
    error: float,
    *,
    p: float,
    basis: str,
) -> Assessment:
    """Hold a figure against the bound of a spec that has `metric`, `min` and `max`.

    Parameters
    ----------
    error
        Standard error of the figure.
    p
        How likely a model that stands at the bound may breach.
    basis
        What the figure stands on, for the message.
    """
    is_score = spec.min is not None
    bound = spec.min if is_score else spec.max
    assert bound is not None, "the API demands exactly one bound"
    beyond = bound - value if is_score else value - bound
    breached = beyond > 0 and beyond > deviations(p) * error
    side, name = ("below", "min") if is_score else ("above", "max")
    if breached:
        reason, words = "BoundExceeded", f"{side} {name} {bound:g}"
    elif beyond > 0:
        reason, words = "WithinNoise", f"{side} {name} {bound:g}, but by no more than chance explains"
    else:
        reason, words = "WithinBound", f"not {side} {name} {bound:g}"
    metric = spec.metric.value
    return Assessment(
        breached=bool(breached),
        reason=reason,
        message=f"{metric} is {value:.4g} ({interval[0]:.4g} to {interval[1]:.4g}) {basis}, {words}",
        samples=0,
        statistic=value,
        threshold=bound,
        lower=interval[0],
        upper=interval[1],
        metric=metric,
    )


def _prepare(
    rows: Sequence[LoggedRow], metric: PerformanceMetric, known: Sequence[Any]
) -> tuple[Array, Array, Callable[[Array, Array], float]]:
    """Choose what is compared, and the function that compares it."""
    if metric in REGRESSION:
        truths = read_numbers([row.label for row in rows], "label")
        return truths, read_numbers(read_output(rows, "predict", metric.value), "predict"), _MEASURES[metric]
    truth = [comparable(row.label) for row in rows]
    if metric is PerformanceMetric.ACCURACY:
        answers = read_predicted(rows, metric)
        return np.array(truth, dtype=object), np.array(answers, dtype=object), _accuracy
    classes = sort_classes(truth)
    if len(classes) < TWO:
        raise Unusable("SingleClass", f"all labels are {classes[0]!r}, so {metric.value} is not defined")
    if metric in NEEDS_PROBABILITY:
        # Of a rank it doesn't matter whether it is a probability.
        read = read_probabilities if metric is PerformanceMetric.LOG_LOSS else read_scores
        chances = read(rows, metric)
        if chances.ndim > 1:
            ordered = find_classes(chances, read_predicted(rows, metric), truth, known)
            return code_classes(truth, ordered), chances, _OF_MANY[metric]
        positive = find_two_classes(truth, known, metric)[-1]
        return np.array([label == positive for label in truth], dtype=np.int64), chances, _MEASURES[metric]
    predicted = read_predicted(rows, metric)
    codes = {label: i for i, label in enumerate(sort_classes([*classes, *predicted]))}
    measure = _MEASURES[metric]
    if metric is PerformanceMetric.F1 and (len(codes) > TWO or has_many_classes(rows, known)):
        measure = _macro_f1
    return np.array([codes[x] for x in truth]), np.array([codes[x] for x in predicted]), measure


def _accuracy(truth: Array, answer: Array) -> float:
    return float(np.mean(truth == answer))


def _macro_f1(truth: Array, answer: Array) -> float:
    return macro_f1(_pair(truth, answer))


def _f1(truth: Array, answer: Array) -> float:
    return float(metrics.f1_score(truth, answer, zero_division=0.0))


def _balanced_accuracy(truth: Array, answer: Array) -> float:
    """By our own: scikit-learn's warns about predicted classes that don't occur."""
    return mean_recall(_pair(truth, answer))


def _pair(truth: Array, answer: Array) -> Array:
    return count_pairs(truth, answer, int(max(truth.max(), answer.max())) + 1)


def _log_loss(truth: Array, answer: Array) -> float:
    return float(metrics.log_loss(truth, answer, labels=[0, 1]))


def _roc_auc(truth: Array, answer: Array) -> float:
    return float(metrics.roc_auc_score(truth, answer))


def _roc_auc_of_many(truth: Array, answer: Array) -> float:
    auc = mean_auc(truth, rankdata(answer, axis=0))
    assert auc is not None, "two classes are there"
    return auc


def _mae(truth: Array, answer: Array) -> float:
    return float(metrics.mean_absolute_error(truth, answer))


def _rmse(truth: Array, answer: Array) -> float:
    return float(metrics.root_mean_squared_error(truth, answer))


_MEASURES: dict[PerformanceMetric, Callable[[Array, Array], float]] = {
    PerformanceMetric.ACCURACY: _accuracy,
    PerformanceMetric.BALANCED_ACCURACY: _balanced_accuracy,
    PerformanceMetric.F1: _f1,
    PerformanceMetric.LOG_LOSS: _log_loss,
    PerformanceMetric.MAE: _mae,
    PerformanceMetric.RMSE: _rmse,
    PerformanceMetric.ROC_AUC: _roc_auc,
}
_OF_MANY = {PerformanceMetric.LOG_LOSS: mean_log_loss, PerformanceMetric.ROC_AUC: _roc_auc_of_many}
_NEEDS_TWO_CLASSES = {PerformanceMetric.BALANCED_ACCURACY, PerformanceMetric.F1, PerformanceMetric.ROC_AUC}


def _resample(
    truth: Array, answer: Array, measure: Callable[[Array, Array], float], *, needs_two: bool
) -> Floats:
    """Bootstrap over rows with a fixed seed: the same window gives the same figures. float64 (n,), n up to RESAMPLES."""
    random = np.random.default_rng(SEED)
    values = []
    for _ in range(max(LEAST_RESAMPLES, min(RESAMPLES, MOST_NUMBERS // answer.size))):
        chosen = random.integers(0, len(truth), len(truth))
        # A resample without one of the classes has no such metric; it is rare where minLabels is kept.
        if needs_two and (truth[chosen] == truth[chosen[0]]).all():
            continue
        values.append(measure(truth[chosen], answer[chosen]))
    return np.array(values or [measure(truth, answer)])
