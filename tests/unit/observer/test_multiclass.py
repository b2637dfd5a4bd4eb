"""Estimates for three classes against what their labels say, and what stops them."""

import numpy as np
import pytest
from perennial_api.modeldeployment.monitoring import PerformanceMetric
from perennial_observer.monitors.estimates.estimators import ESTIMATED_BY_CBPE
from perennial_observer.monitors.estimates.lessons import Lessons
from perennial_observer.monitors.estimates.monitor import assess_estimated, learn
from perennial_observer.monitors.estimates.multiclass import MulticlassCBPE
from perennial_observer.monitors.labels.performance import assess_performance
from perennial_observer.store.rows import LoggedRow
from sklearn import metrics

from .test_estimated import settings, spec

CENTRES = np.array([[0.0, 1.0], [1.0, -1.0], [-1.2, -0.8]])
NAMES = ("ale", "lager", "stout")
TRUE = {
    PerformanceMetric.ACCURACY: lambda y, p, s: metrics.accuracy_score(y, p),
    PerformanceMetric.BALANCED_ACCURACY: lambda y, p, s: metrics.balanced_accuracy_score(y, p),
    PerformanceMetric.F1: lambda y, p, s: metrics.f1_score(y, p, average="macro"),
    PerformanceMetric.LOG_LOSS: lambda y, p, s: metrics.log_loss(y, s),
    PerformanceMetric.ROC_AUC: lambda y, p, s: metrics.roc_auc_score(y, s, multi_class="ovr"),
}


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def draw(rng, n, shift=0.0):
    """Probabilities that are too sure of themselves, and labels; `shift` moves rows to where classes meet."""
    x = rng.normal(size=(n, 2)) * (1 - shift) + [0.3, 0.0]
    scores = 1.5 * x @ CENTRES.T
    labels = (rng.random((n, 1)) > np.cumsum(softmax(scores), axis=1)).sum(axis=1)
    return softmax(2.5 * scores), labels


def fitted(rng, n):
    estimator = MulticlassCBPE(3)
    estimator.fit(*draw(rng, n))
    return estimator


@pytest.mark.parametrize("metric", sorted(ESTIMATED_BY_CBPE))
@pytest.mark.parametrize("shift", [0.0, 0.6])
def test_an_estimate_without_labels_is_near_what_they_say(metric, shift):
    rng = np.random.default_rng(3)
    estimator = fitted(rng, 20_000)
    probabilities, labels = draw(rng, 20_000, shift)
    predicted = probabilities.argmax(axis=1)
    got = estimator.estimate(metric, probabilities, predicted)
    # A loss is made of the rarest rows, of which few are there to learn from.
    near = 0.05 if metric is PerformanceMetric.LOG_LOSS else 0.02
    assert got.value == pytest.approx(TRUE[metric](labels, predicted, probabilities), abs=near)


@pytest.mark.parametrize("metric", sorted(ESTIMATED_BY_CBPE))
def test_the_interval_holds_the_realised_metric_in_most_windows(metric):
    rng = np.random.default_rng(6)
    inside = []
    for _ in range(4):
        estimator = fitted(rng, 1000)
        for shift in (0.0, 0.3, 0.5):
            probabilities, labels = draw(rng, 300, shift)
            predicted = probabilities.argmax(axis=1)
            got = estimator.estimate(metric, probabilities, predicted)
            assert got.lower <= got.value <= got.upper
            inside.append(got.lower <= TRUE[metric](labels, predicted, probabilities) <= got.upper)
    assert np.mean(inside) >= 10 / 12


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "f1"])
def test_a_class_that_no_row_has_is_left_out_as_with_labels(metric):
    sure = np.tile([1.0, 0.0, 0.0], (50, 1))
    got = MulticlassCBPE(3).estimate(PerformanceMetric(metric), sure, np.zeros(50, np.int64))
    assert got.value == pytest.approx(1.0, abs=1e-3)


def logged(probabilities, labels=None, names=NAMES, answers=None):
    answers = probabilities.argmax(axis=1) if answers is None else answers
    return [
        LoggedRow(
            i,
            float(i),
            {},
            {"predict": names[answer], "probability": chances},
            None if labels is None else names[labels[i]],
            labels is not None,
        )
        for i, (chances, answer) in enumerate(zip(probabilities.tolist(), answers.tolist(), strict=True))
    ]


def learn_from(rows, **metric):
    return learn(Lessons(rows, "reference", is_final=True), spec(**metric), None)


@pytest.mark.parametrize("names", [NAMES, (0, 1, 2), (1.0, 2.0, 3.0)])
@pytest.mark.parametrize(
    ("metric", "bound"),
    [
        ("accuracy", {"min": 0.6}),
        ("balanced_accuracy", {"min": 0.6}),
        ("f1", {"min": 0.6}),
        ("roc_auc", {"min": 0.75}),
        ("log_loss", {"max": 1.0}),
    ],
)
def test_a_window_is_judged_as_its_labels_judge_it_later(names, metric, bound):
    rng = np.random.default_rng(1)
    learnt = learn_from(logged(*draw(rng, 3000), names), metric=metric, **bound)
    for shift, breached in ((0.0, False), (0.8, True)):
        rows = logged(*draw(rng, 1000, shift), names)
        got = assess_estimated(rows, spec(metric=metric, **bound), settings(), learnt, None)
        realised = assess_performance(rows, spec(metric=metric, **bound), settings())
        assert got.lower <= realised.upper
        assert realised.lower <= got.upper
        assert (got.breached, realised.breached, got.calibrated) == (breached, breached, True)


def test_before_there_are_labels_the_order_of_the_answers_is_taken():
    rng = np.random.default_rng(2)
    probabilities, _ = draw(rng, 500)
    got = assess_estimated(logged(probabilities), spec(), settings(), None, None)
    assert got.calibrated is False
    assert got.statistic == pytest.approx(probabilities.max(axis=1).mean(), abs=0.02)


def assess(rows, learnt=None, **metric):
    got = assess_estimated(rows, spec(**metric), settings(), learnt, None)
    assert got.breached is None
    return got


def test_what_cannot_be_told_is_insufficient_with_a_reason():
    rng = np.random.default_rng(4)
    rows = logged(*draw(rng, 500))
    learnt = learn_from(rows)
    probabilities, _ = draw(rng, 200)
    never_stout = logged(probabilities[probabilities.argmax(axis=1) < 2])
    backwards = logged(probabilities[:, ::-1], answers=probabilities.argmax(axis=1))
    porter = logged(probabilities, names=("ale", "lager", "porter"))
    ragged = [*rows[:150], *logged(probabilities[:, :2] / 2)]
    four = logged(np.column_stack([probabilities * 0.9, np.full(200, 0.1)]))
    for got, reason, says in (
        (
            assess(never_stout),
            "ClassesUnknown",
            "3 probabilities, and its answers and labels are of 2 classes",
        ),
        (assess(backwards), "ClassesUnknown", "don't seem to be in the order"),
        (assess(porter, learnt), "ClassesUnknown", "'porter' is none of the classes 'ale', 'lager', 'stout'"),
        (assess(four, learnt), "ClassesUnknown", "had another number"),
        (assess(ragged), "MetricNotDefined", "not one number for each class"),
        (assess(logged(probabilities * 3)), "MetricNotDefined", "between 0 and 1"),
    ):
        assert got.reason == reason
        assert says in got.message


def test_rows_that_are_all_surely_of_one_class_have_no_auc():
    rng = np.random.default_rng(9)
    learnt = learn_from(logged(*draw(rng, 500)), metric="roc_auc")
    learnt.estimator._curves, learnt.estimator._others = (), []
    got = assess(logged(np.tile([1.0, 0.0, 0.0], (200, 1))), learnt, metric="roc_auc")
    assert got.reason == "SingleClass"


def test_labels_of_more_classes_than_probabilities_teach_nothing():
    rng = np.random.default_rng(5)
    rows = logged(*draw(rng, 300))
    odd = [
        LoggedRow(r.id, r.event_time, {}, r.outputs, "porter" if r.id % 50 == 0 else r.label, True)
        for r in rows
    ]
    got = assess(rows, learn_from(odd))
    assert (got.reason, "labelled rows of the reference" in got.message) == ("ClassesUnknown", True)


def test_two_probabilities_in_a_list_are_those_of_two_classes():
    rng = np.random.default_rng(8)
    positive = rng.random(400)
    pairs = np.column_stack([1 - positive, positive])
    single = [
        LoggedRow(i, float(i), {}, {"predict": NAMES[int(p > 0.5)], "probability": p})
        for i, p in enumerate(positive.tolist())
    ]
    one, other = (assess_estimated(rows, spec(), settings(), None, None) for rows in (logged(pairs), single))
    assert one == other


def test_the_bundles_classes_tell_the_order_also_of_rare_ones_and_of_those_that_nobody_has_met():
    rng = np.random.default_rng(10)
    order = ("lager", "stout", "ale")
    learnt = learn(
        Lessons(logged(*draw(rng, 3000), order), "reference", is_final=True), spec(), None, classes=order
    )
    window = logged(*draw(rng, 1000, 0.3), order)
    got = assess_estimated(window, spec(), settings(), learnt, None, classes=order)
    realised = assess_performance(window, spec(), settings(), order)
    assert got.lower <= realised.upper
    assert realised.lower <= got.upper
    few = [row for row in window if "ale" not in {row.label, row.outputs["predict"]}]
    for what in (learnt, None):
        assert assess_estimated(few, spec(), settings(), what, None, classes=order).statistic is not None
    assert assess_performance(few, spec(metric="roc_auc"), settings(), order).statistic is not None


def test_of_what_lacks_a_class_one_can_learn_if_the_bundle_has_it():
    rng = np.random.default_rng(11)
    rows = [r for r in logged(*draw(rng, 800)) if "stout" not in {r.label, r.outputs["predict"]}]
    lessons = Lessons(rows, "reference", is_final=True)
    assert learn(lessons, spec(), None).failure.reason == "ClassesUnknown"
    assert learn(lessons, spec(), None, classes=NAMES).failure is None


def test_an_order_that_only_rare_classes_contradict_is_not_believed():
    rng = np.random.default_rng(12)
    probabilities = rng.dirichlet([3.0, 2.0, 0.5, 0.5], 2000)
    swapped = np.array([0, 1, 3, 2])[probabilities.argmax(axis=1)]
    got = assess(logged(probabilities, names=("a", "b", "c", "d"), answers=swapped))
    assert got.reason == "ClassesUnknown"
    assert "answers 'c' only 0 are the most probable class" in got.message
    assert not assess_estimated(
        logged(probabilities, names=("a", "b", "c", "d")), spec(), settings(), None, None
    ).reason.startswith("Classes")


def test_the_bundles_two_classes_tell_which_one_the_probability_is_of():
    rng = np.random.default_rng(13)
    score = rng.random(2000)
    labels = np.where(rng.random(2000) < score, "ale", "stout")
    rows = [
        LoggedRow(
            i,
            float(i),
            {},
            {"predict": "ale" if p > 0.5 else "stout", "probability": p},
            str(label),
            has_label=True,
        )
        for i, (p, label) in enumerate(zip(score.tolist(), labels, strict=True))
    ]
    order = ("stout", "ale")
    auc, truth = spec(metric="roc_auc"), metrics.roc_auc_score(labels == "ale", score)
    assert assess_performance(rows, auc, settings(), order).statistic == pytest.approx(truth)
    learnt = learn(Lessons(rows, "log", is_final=True), auc, None, classes=order)
    for what in (learnt, None):
        got = assess_estimated(rows, auc, settings(), what, None, classes=order)
        assert got.statistic == pytest.approx(truth, abs=0.03)
