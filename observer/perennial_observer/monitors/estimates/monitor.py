"""The monitor of estimated performance: what it has learnt, and the verdict on one window without labels. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from perennial_api.modeldeployment.monitoring import (
    EstimatedPerformance,
    EstimationMethod,
    MonitorSettings,
    PerformanceMetric,
)
from perennial_bundle.encoding import Encoder

from perennial_observer.monitors.alarms.verdicts import Assessment, assess_too_few
from perennial_observer.monitors.estimates.estimators import CBPE, DLE, Estimate
from perennial_observer.monitors.estimates.lessons import Lessons
from perennial_observer.monitors.estimates.multiclass import MulticlassCBPE
from perennial_observer.monitors.labels.answers import (
    code_classes,
    find_classes,
    find_two_classes,
    read_predicted,
    read_probabilities,
)
from perennial_observer.monitors.labels.chance import chance_of_breach
from perennial_observer.monitors.labels.labelled import (
    Unusable,
    assess_unusable,
    comparable,
    read_numbers,
    read_output,
)
from perennial_observer.monitors.labels.performance import assess_bound
from perennial_observer.store.rows import LoggedRow

__all__ = ["Learnt", "assess_estimated", "learn"]

Floats = npt.NDArray[np.float64]
TWO = 2


@dataclass(frozen=True)
class Learnt:
    """An estimator, and what it has learnt from.

    Parameters
    ----------
    source, count, is_final
        See `Lessons`; the rows themselves aren't kept.
    classes
        In the order of the probabilities, of two the positive one last; empty for a regression.
    failure
        Why nothing could be learnt from the lessons, if so.
    """

    estimator: CBPE | MulticlassCBPE | DLE
    source: str
    count: int
    is_final: bool
    classes: tuple[Any, ...] = ()
    failure: Unusable | None = None


def learn(
    lessons: Lessons, spec: EstimatedPerformance, encoder: Encoder | None, classes: Sequence[Any] = ()
) -> Learnt:
    """Fit the method's estimator; what the lessons lack is kept as the failure.

    Parameters
    ----------
    encoder
        Of the inputs, for DLE.
    classes
        As the bundle has them, see `find_classes`.
    """
    about = (lessons.source, len(lessons.rows), lessons.is_final)
    try:
        if spec.method is EstimationMethod.CBPE:
            estimator, found = _learn_classes(lessons.rows, spec.metric, classes)
            return Learnt(estimator, *about, found)
        assert encoder is not None, "DLE has the reference's"
        predicted = read_numbers(read_output(lessons.rows, "predict", spec.metric.value), "predict")
        labels = read_numbers([row.label for row in lessons.rows], "label")
        dle = DLE(spec.metric)
        dle.fit(encoder.encode_rows([row.inputs for row in lessons.rows]), predicted, labels)
    except Unusable as why:
        place = f"in the labelled rows of the {lessons.source} that it learns from, {why.message}"
        return Learnt(CBPE(), *about, failure=Unusable(why.reason, place))
    return Learnt(dle, *about)


def _learn_classes(
    rows: Sequence[LoggedRow], metric: PerformanceMetric, known: Sequence[Any]
) -> tuple[CBPE | MulticlassCBPE, tuple[Any, ...]]:
    probabilities = read_probabilities(rows, metric)
    truth = [comparable(row.label) for row in rows]
    if probabilities.ndim > 1:
        classes = find_classes(probabilities, read_predicted(rows, metric), truth, known)
        many = MulticlassCBPE(len(classes))
        many.fit(probabilities, code_classes(truth, classes))
        return many, classes
    classes = find_two_classes(truth, known, metric)
    if len(set(truth)) < TWO:
        raise Unusable("SingleClass", f"all labels are {truth[0]!r}, so no probability can be calibrated")
    two = CBPE()
    two.fit(probabilities, np.array([label == classes[-1] for label in truth], dtype=np.bool_))
    return two, classes


def assess_estimated(
    rows: Sequence[LoggedRow],
    spec: EstimatedPerformance,
    settings: MonitorSettings,
    learnt: Learnt | None,
    encoder: Encoder | None,
    *,
    classes: Sequence[Any] = (),
) -> Assessment:
    """Judge one window by an estimate, as realised performance is judged by its figure.

    Parameters
    ----------
    learnt
        None while there are no labelled rows: CBPE then takes the probabilities as they are and says
        ``calibrated: false``; DLE has nothing to say.
    classes
        As the bundle has them, see `find_classes`.
    """
    if len(rows) < settings.window.min_samples:
        return assess_too_few(len(rows), settings.window.min_samples)
    try:
        if learnt is not None and learnt.failure is not None:
            raise learnt.failure
        if spec.method is EstimationMethod.CBPE:
            estimate = _estimate_by_cbpe(rows, spec, learnt, classes)
        else:
            estimate = _estimate_by_dle(rows, spec, learnt, encoder)
    except Unusable as why:
        return assess_unusable(why, len(rows))
    basis = (
        "by the probabilities as they are, since too few labelled rows are there to calibrate them"
        if learnt is None
        else f"learnt from {learnt.count} labelled rows of the {learnt.source}"
    )
    verdict = assess_bound(
        spec,
        estimate.value,
        (estimate.lower, estimate.upper),
        estimate.error,
        p=chance_of_breach(rows, settings),
        basis=f"as estimated without labels, {basis}",
    )
    return verdict.model_copy(update={"samples": len(rows), "calibrated": learnt is not None})


def _estimate_by_cbpe(
    rows: Sequence[LoggedRow], spec: EstimatedPerformance, learnt: Learnt | None, known: Sequence[Any]
) -> Estimate:
    probabilities = read_probabilities(rows, spec.metric)
    predicted = read_predicted(rows, spec.metric)
    if probabilities.ndim > 1:
        return _estimate_for_many(probabilities, predicted, spec.metric, learnt, known)
    estimator = learnt.estimator if learnt is not None else CBPE()
    classes = find_two_classes(
        [*(learnt.classes if learnt is not None else ()), *predicted], known, spec.metric
    )
    assert isinstance(estimator, CBPE), "more than two classes are known otherwise"
    if len(classes) == TWO:
        is_positive = np.array([answer == classes[-1] for answer in predicted], dtype=np.bool_)
    else:
        # All answers are alike and no label tells the other class: the probabilities say which it is.
        is_positive = np.full(len(rows), float(np.mean(probabilities)) > 0.5)  # noqa: PLR2004  the more probable one
    return estimator.estimate(spec.metric, probabilities, is_positive)


def _estimate_for_many(
    probabilities: Floats,
    predicted: Sequence[Any],
    metric: PerformanceMetric,
    learnt: Learnt | None,
    known: Sequence[Any],
) -> Estimate:
    if learnt is None:
        classes = find_classes(probabilities, predicted, (), known)
        estimator: CBPE | MulticlassCBPE | DLE = MulticlassCBPE(len(classes))
    else:
        classes, estimator = learnt.classes, learnt.estimator
    if not isinstance(estimator, MulticlassCBPE) or estimator.n_classes != probabilities.shape[1]:
        raise Unusable(
            "ClassesUnknown",
            f"the rows have {probabilities.shape[1]} probabilities each, those that it learnt from had another number",
        )
    estimate = estimator.estimate(metric, probabilities, code_classes(predicted, classes))
    if np.isnan(estimate.value):
        raise Unusable("SingleClass", f"all rows are surely of one class, so {metric.value} is not defined")
    return estimate


def _estimate_by_dle(
    rows: Sequence[LoggedRow], spec: EstimatedPerformance, learnt: Learnt | None, encoder: Encoder | None
) -> Estimate:
    if learnt is None:
        raise Unusable(
            "NoLabelledRows",
            "DLE learns the errors from labelled rows, and there are too few: save the bundle with y, or send labels"
            " (labels.minLabels, labels.minCoverage and labels.maturity say how many are needed)",
        )
    assert isinstance(learnt.estimator, DLE)
    assert encoder is not None, "DLE has the reference's"
    predicted = read_numbers(read_output(rows, "predict", spec.metric.value), "predict")
    return learnt.estimator.estimate(encoder.encode_rows([row.inputs for row in rows]), predicted)
