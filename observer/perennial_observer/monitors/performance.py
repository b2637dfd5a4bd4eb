"""Realised performance of one window from the labels that came back. Pure.

The point estimate decides; the interval is recorded beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from perennial_api.modeldeployment.monitoring import Performance, PerformanceMetric
from sklearn import metrics

from perennial_observer.monitors.verdicts import Assessment, assess_too_few
from perennial_observer.store.rows import LoggedRow

__all__ = ["assess_performance", "comparable"]

Array = npt.NDArray[Any]
RESAMPLES = 200
SEED = 20130101
INTERVAL_PERCENT = (2.5, 97.5)
NEEDS_PROBABILITY = {PerformanceMetric.ROC_AUC, PerformanceMetric.LOG_LOSS}
REGRESSION = {PerformanceMetric.MAE, PerformanceMetric.RMSE}


@dataclass(frozen=True)
class _Unusable(Exception):
    reason: str
    message: str


def assess_performance(rows: Sequence[LoggedRow], spec: Performance, *, min_samples: int) -> Assessment:
    """Judge a window whose labels have had time to mature.

    Parameters
    ----------
    rows
        All rows of the window, labelled or not, in order of event time.
    """
    labelled = [row for row in rows if row.has_label and row.label is not None]
    coverage = len(labelled) / len(rows) if rows else 0.0
    wanted = max(spec.labels.min_labels, 1)
    if len(rows) < min_samples:
        return assess_too_few(len(rows), min_samples, samples=len(labelled))
    if len(labelled) < wanted:
        return _insufficient(
            "TooFewLabels", f"{len(labelled)} labels, labels.minLabels is {wanted}", len(labelled)
        )
    if coverage < spec.labels.min_coverage:
        return _insufficient(
            "LowLabelCoverage",
            f"{coverage:.0%} of the mature rows have a label, labels.minCoverage is {spec.labels.min_coverage:.0%}",
            len(labelled),
        )
    try:
        truth, answer, measure = _prepare(labelled, spec.metric)
        value = measure(truth, answer)
    except _Unusable as why:
        return _insufficient(why.reason, why.message, len(labelled))
    lower, upper = _bootstrap(truth, answer, measure)
    bound = spec.min if spec.min is not None else spec.max
    assert bound is not None, "the API demands exactly one bound"
    breached = value < bound if spec.min is not None else value > bound
    word = "below min" if spec.min is not None else "above max"
    return Assessment(
        breached=breached,
        reason="BoundExceeded" if breached else "WithinBound",
        message=f"{spec.metric.value} is {value:.4g} ({lower:.4g} to {upper:.4g}) on {len(labelled)} labels, "
        + (f"{word} {bound:g}" if breached else f"not {word} {bound:g}"),
        samples=len(labelled),
        statistic=value,
        threshold=bound,
        lower=lower,
        upper=upper,
        metric=spec.metric.value,
    )


def _insufficient(reason: str, message: str, samples: int) -> Assessment:
    return Assessment(breached=None, reason=reason, message=message, samples=samples)


def _prepare(
    rows: Sequence[LoggedRow], metric: PerformanceMetric
) -> tuple[Array, Array, Callable[[Array, Array], float]]:
    """Choose what is compared, and the function that compares it."""
    output = "probability" if metric in NEEDS_PROBABILITY else "predict"
    if any(row.outputs.get(output) is None for row in rows):
        raise _Unusable(
            "OutputMissing", f"{metric.value} needs the output {output!r}, which the log doesn't hold"
        )
    answers = [row.outputs[output] for row in rows]
    if metric in REGRESSION:
        return _numbers([row.label for row in rows], "label"), _numbers(answers, output), _MEASURES[metric]
    truth = np.array([comparable(row.label) for row in rows], dtype=object)
    if metric is PerformanceMetric.ACCURACY:
        return truth, np.array([comparable(answer) for answer in answers], dtype=object), _accuracy
    classes = sorted(set(truth), key=_class_order)
    if len(classes) < 2:  # noqa: PLR2004
        raise _Unusable("SingleClass", f"all labels are {classes[0]!r}, so {metric.value} is not defined")
    if metric in NEEDS_PROBABILITY:
        if len(classes) > 2:  # noqa: PLR2004
            raise _Unusable(
                "MetricNotDefined", f"{metric.value} is computed for two classes; use balanced_accuracy"
            )
        positive = np.array([label == classes[-1] for label in truth], dtype=np.int64)
        return positive, _numbers(answers, output), _MEASURES[metric]
    predicted = [comparable(answer) for answer in answers]
    codes = {label: i for i, label in enumerate(sorted({*classes, *predicted}, key=_class_order))}
    measure = _MEASURES[metric]
    if metric is PerformanceMetric.F1 and len(codes) > 2:  # noqa: PLR2004
        measure = _macro_f1
    return np.array([codes[x] for x in truth]), np.array([codes[x] for x in predicted]), measure


def comparable(value: Any) -> Any:
    """Make 1, 1.0 and true the same class: clients and models spell a label differently."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | float | str) else str(value)


def _class_order(value: Any) -> tuple[bool, float, str]:
    """As scikit-learn orders classes, so that the last of two is the positive one."""
    return (True, 0.0, value) if isinstance(value, str) else (False, float(value), "")


def _numbers(values: Sequence[Any], what: str) -> npt.NDArray[np.float64]:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty((0, 0))
    if array.ndim != 1 or not np.isfinite(array).all():
        raise _Unusable("MetricNotDefined", f"the {what} values are not single finite numbers")
    return array


def _accuracy(truth: Array, answer: Array) -> float:
    return float(np.mean(truth == answer))


def _macro_f1(truth: Array, answer: Array) -> float:
    return float(metrics.f1_score(truth, answer, average="macro", zero_division=0.0))


def _f1(truth: Array, answer: Array) -> float:
    return float(metrics.f1_score(truth, answer, zero_division=0.0))


def _balanced_accuracy(truth: Array, answer: Array) -> float:
    """Mean recall over the classes that occur; scikit-learn's own warns about predicted classes that don't."""
    return float(np.mean([np.mean(answer[truth == label] == label) for label in np.unique(truth)]))


def _log_loss(truth: Array, answer: Array) -> float:
    return float(metrics.log_loss(truth, answer, labels=[0, 1]))


def _roc_auc(truth: Array, answer: Array) -> float:
    return float(metrics.roc_auc_score(truth, answer))


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


def _bootstrap(truth: Array, answer: Array, measure: Callable[[Array, Array], float]) -> tuple[float, float]:
    """95 % percentile interval over resampled rows, with a fixed seed: the same window gives the same figures."""
    random = np.random.default_rng(SEED)
    values = []
    for _ in range(RESAMPLES):
        chosen = random.integers(0, len(truth), len(truth))
        # A resample without one of the classes has no such metric; it is rare where minLabels is kept.
        if truth.dtype != np.float64 and len(np.unique(truth[chosen].astype(str))) < 2:  # noqa: PLR2004
            continue
        values.append(measure(truth[chosen], answer[chosen]))
    if not values:
        return measure(truth, answer), measure(truth, answer)
    lower, upper = np.percentile(values, INTERVAL_PERCENT)
    return float(lower), float(upper)
