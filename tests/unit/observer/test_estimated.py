"""Windows judged without labels: what is learnt from, what an estimate may say, and what stops it."""

import numpy as np
import pytest
from perennial_api.modeldeployment.monitoring import (
    EstimatedPerformance,
    Labels,
    MonitorDefaults,
    MonitorSettings,
)
from perennial_bundle import Schema
from perennial_bundle.encoding import build_encoder
from perennial_observer.monitors.estimates.lessons import Lessons, choose_lessons, lessons_of
from perennial_observer.monitors.estimates.monitor import assess_estimated, learn
from perennial_observer.store.references import StoredReference
from perennial_observer.store.rows import LoggedRow

SCHEMA = Schema.model_validate(
    {
        "inputs": [{"name": "x", "datatype": "FP64"}],
        "outputs": [{"name": "predict", "datatype": "FP64", "role": "Output"}],
    }
)


def settings(size=1000, min_samples=100) -> MonitorSettings:
    window = {"size": size, "minSamples": min_samples}
    defaults = MonitorDefaults.model_validate({"window": window})
    return MonitorSettings(defaults.window, defaults.false_alarm_every, defaults.alarm, defaults.clear)


def spec(method="CBPE", metric="accuracy", **bounds) -> EstimatedPerformance:
    bounds = bounds or {"min": 0.7}
    labels = {"minLabels": 50, "minCoverage": 0.5}
    return EstimatedPerformance.model_validate(
        {"method": method, "metric": metric, "labels": labels, **bounds}
    )


def classified(rng, n, shift=0.0, classes=("no", "yes")) -> list[LoggedRow]:
    """Rows of a model that is too sure of itself; `shift` moves them to where it is less right."""
    x = rng.normal(size=n) * (1 - shift)
    truth = rng.random(n) < 1 / (1 + np.exp(-2 * x))
    score = 1 / (1 + np.exp(-4 * x))
    return [
        LoggedRow(
            i,
            float(i),
            {"x": float(x[i])},
            {"predict": classes[int(x[i] > 0)], "probability": float(score[i])},
            label=classes[int(truth[i])],
            has_label=True,
        )
        for i in range(n)
    ]


def regressed(rng, n, mean=0.0) -> list[LoggedRow]:
    x = rng.normal(mean, 1.0, size=n)
    errors = rng.normal(size=n) * (0.5 + np.abs(x))
    return [
        LoggedRow(i, float(i), {"x": float(x[i])}, {"predict": float(x[i])}, float(x[i] + errors[i]), True)
        for i in range(n)
    ]


def lessons(rows) -> Lessons:
    return Lessons(rows, "reference", is_final=True)


def encoder():
    return build_encoder(SCHEMA, {"x": [-1.0, 0.0, 1.0]})


@pytest.mark.parametrize("shift", [0.0, 0.6])
@pytest.mark.parametrize("classes", [("no", "yes"), (0, 1), (False, True)])
def test_an_estimated_accuracy_is_what_labels_give_later(shift, classes):
    rng = np.random.default_rng(1)
    learnt = learn(lessons(classified(rng, 3000, classes=classes)), spec(), None)
    window = classified(rng, 1000, shift, classes)
    got = assess_estimated(window, spec(), settings(), learnt, None)
    realised = np.mean([row.label == row.outputs["predict"] for row in window])
    assert got.lower <= realised <= got.upper
    assert (got.metric, got.samples, got.calibrated) == ("accuracy", 1000, True)
    assert "3000 labelled rows of the reference" in got.message


def test_an_estimate_far_below_min_breaches_and_one_above_does_not():
    rng = np.random.default_rng(2)
    learnt = learn(lessons(classified(rng, 3000)), spec(), None)
    breached = {
        shift: assess_estimated(classified(rng, 1000, shift), spec(), settings(), learnt, None).breached
        for shift in (0.0, 0.8)
    }
    assert breached == {0.0: False, 0.8: True}


def test_without_labels_the_verdict_says_that_it_is_not_calibrated():
    window = classified(np.random.default_rng(3), 1000)
    got = assess_estimated(window, spec(), settings(), None, None)
    realised = np.mean([row.label == row.outputs["predict"] for row in window])
    assert got.calibrated is False
    assert got.statistic > realised + 0.05, "a model that is too sure of itself looks better than it is"
    assert "too few labelled rows" in got.message


def test_answers_all_alike_are_the_class_that_the_probabilities_mean():
    rows = [LoggedRow(i, float(i), {}, {"predict": "yes", "probability": 0.8}) for i in range(200)]
    got = assess_estimated(rows, spec(), settings(), None, None)
    assert got.statistic == pytest.approx(0.8)


@pytest.mark.parametrize("mean", [0.0, 0.8])
def test_an_estimated_error_is_what_labels_give_later(mean):
    rng = np.random.default_rng(4)
    wanted = spec("DLE", "mae", max=1.3)
    learnt = learn(lessons(regressed(rng, 3000)), wanted, encoder())
    window = regressed(rng, 1000, mean)
    got = assess_estimated(window, wanted, settings(), learnt, encoder())
    realised = np.mean([abs(row.label - row.outputs["predict"]) for row in window])
    assert got.lower <= realised <= got.upper
    assert got.breached is False


def test_an_estimated_error_above_max_breaches():
    rng = np.random.default_rng(5)
    wanted = spec("DLE", "rmse", max=1.5)
    learnt = learn(lessons(regressed(rng, 3000)), wanted, encoder())
    got = assess_estimated(regressed(rng, 1000, 2.0), wanted, settings(), learnt, encoder())
    assert (got.breached, got.reason) == (True, "BoundExceeded")


def changed(rows, **outputs) -> list[LoggedRow]:
    return [LoggedRow(row.id, row.event_time, row.inputs, {**row.outputs, **outputs}) for row in rows]


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ({"probability": None}, "OutputMissing"),
        ({"predict": None}, "OutputMissing"),
        ({"probability": [0.2, 0.3, 0.5]}, "ClassesUnknown"),
        ({"probability": 1.5}, "MetricNotDefined"),
        ({"probability": "high"}, "MetricNotDefined"),
        ({"predict": "perhaps"}, "MetricNotDefined"),
    ],
)
def test_answers_that_cannot_be_read_are_insufficient_with_a_reason(outputs, reason):
    rng = np.random.default_rng(6)
    learnt = learn(lessons(classified(rng, 500)), spec(), None)
    got = assess_estimated(changed(classified(rng, 200), **outputs), spec(), settings(), learnt, None)
    assert (got.breached, got.reason) == (None, reason)


def test_probabilities_that_float32_rounds_beyond_one_are_read():
    rng = np.random.default_rng(6)
    learnt = learn(lessons(classified(rng, 500)), spec(), None)
    got = assess_estimated(
        changed(classified(rng, 200), probability=1.0000001), spec(), settings(), learnt, None
    )
    assert got.breached is not None


@pytest.mark.parametrize(
    ("labels", "reason"),
    [(["yes"] * 300, "SingleClass"), (["a", "b", "c"] * 100, "MetricNotDefined")],
)
def test_labels_that_teach_nothing_are_named_with_their_place(labels, reason):
    rows = classified(np.random.default_rng(7), 300)
    rows = [
        LoggedRow(row.id, row.event_time, {}, row.outputs, label, True)
        for row, label in zip(rows, labels, strict=True)
    ]
    learnt = learn(Lessons(rows, "log", is_final=False), spec(), None)
    got = assess_estimated(rows, spec(), settings(), learnt, None)
    assert (got.breached, got.reason) == (None, reason)
    assert "labelled rows of the log" in got.message


def test_dle_without_labelled_rows_says_how_to_get_some():
    got = assess_estimated(
        regressed(np.random.default_rng(8), 200), spec("DLE", "mae", max=1), settings(), None, encoder()
    )
    assert (got.breached, got.reason) == (None, "NoLabelledRows")
    assert "send labels" in got.message


def test_labels_of_a_wrong_type_teach_no_errors():
    rows = [LoggedRow(i, 0.0, {"x": 1.0}, {"predict": 1.0}, "much", True) for i in range(200)]
    wanted = spec("DLE", "mae", max=1)
    learnt = learn(lessons(rows), wanted, encoder())
    got = assess_estimated(rows, wanted, settings(), learnt, encoder())
    assert (got.breached, got.reason) == (None, "MetricNotDefined")


def test_a_short_window_is_not_judged():
    got = assess_estimated(classified(np.random.default_rng(9), 20), spec(), settings(), None, None)
    assert (got.breached, got.reason) == (None, "TooFewSamples")


def reference(labels) -> StoredReference:
    n = 100 if labels is None else len(labels)
    return StoredReference(
        revision="r",
        digest="d",
        bundle_digest="b",
        task="Classification",
        schema=SCHEMA,
        columns={"x": [float(i) for i in range(n)]},
        outputs={"predict": [1] * n, "probability": [0.9] * n},
        event_time=None,
        labels=labels,
    )


def test_a_reference_teaches_by_the_rows_whose_label_is_known():
    got = lessons_of(reference([1, None] * 60), Labels(min_labels=50))
    assert [row.inputs["x"] for row in got.rows] == [2.0 * i for i in range(60)]
    assert got.rows[0].outputs == {"predict": 1, "probability": 0.9}
    assert lessons_of(reference([1, None] * 60), Labels(min_labels=61)) is None
    assert lessons_of(reference(None), Labels(min_labels=10)) is None


@pytest.mark.parametrize(("labelled", "is_enough"), [(60, True), (59, False)])
def test_a_log_teaches_only_where_most_of_its_rows_are_labelled(labelled, is_enough):
    rows = [LoggedRow(i, float(i), {}, {}, 1 if i < labelled else None, i < labelled) for i in range(100)]
    got = choose_lessons(rows, Labels(min_labels=50, min_coverage=0.6), is_final=False)
    assert (got is not None) is is_enough
