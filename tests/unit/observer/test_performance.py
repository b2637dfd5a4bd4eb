from dataclasses import replace

import numpy as np
import pytest
from perennial_api.modeldeployment.monitoring import MonitorDefaults, MonitorSettings, Performance
from perennial_observer.monitors.labels.performance import assess_performance
from perennial_observer.store.rows import LoggedRow
from sklearn.metrics import f1_score, log_loss, roc_auc_score


def rows(labels, predictions, probabilities=None) -> list[LoggedRow]:
    probabilities = [0.5] * len(labels) if probabilities is None else probabilities
    return [
        LoggedRow(i, float(i), {}, {"predict": p, "probability": q}, label=y, has_label=y is not None)
        for i, (y, p, q) in enumerate(zip(labels, predictions, probabilities, strict=True))
    ]


def settings(min_samples=10, every="30d") -> MonitorSettings:
    defaults = MonitorDefaults.model_validate(
        {"window": {"size": 1000, "minSamples": min_samples}, "falseAlarmEvery": every}
    )
    return MonitorSettings(defaults.window, defaults.false_alarm_every, defaults.alarm, defaults.clear)


def spec(metric="accuracy", **bounds) -> Performance:
    bounds = bounds or {"min": 0.8}
    labels = {"maturity": "1h", "minCoverage": 0.5, "minLabels": 10}
    return Performance.model_validate({"metric": metric, "labels": labels, **bounds})


def test_accuracy_compares_labels_however_they_are_spelled():
    got = assess_performance(rows([1, 1.0, True, 0, False] * 4, [1, 1, 1, 0, 1] * 4), spec(), settings())
    assert (got.statistic, got.breached, got.samples) == (0.8, False, 20)
    assert got.lower < 0.8 < got.upper


def test_a_value_below_min_breaches():
    got = assess_performance(rows([1] * 20, [1] * 5 + [0] * 15), spec(), settings())
    assert (got.statistic, got.threshold, got.breached, got.reason) == (0.25, 0.8, True, "BoundExceeded")


def test_a_value_below_min_on_few_labels_is_noise_and_on_many_a_breach():
    few = assess_performance(rows([1] * 20, [1] * 15 + [0] * 5), spec(), settings())
    assert (few.statistic, few.breached, few.reason) == (0.75, False, "WithinNoise")
    many = assess_performance(rows([1] * 2000, [1] * 1500 + [0] * 500), spec(), settings())
    assert (many.statistic, many.breached, many.reason) == (0.75, True, "BoundExceeded")


def test_who_takes_more_false_alarms_is_told_sooner():
    window = rows([1] * 100, [1] * 73 + [0] * 27)
    got = {
        every: assess_performance(window, spec(), settings(every=every)).breached for every in ("1h", "365d")
    }
    assert got == {"1h": True, "365d": False}


def test_a_model_at_its_bound_breaches_as_often_as_was_asked():
    random = np.random.default_rng(11)
    # Windows of 400 s and one hour: nine of them, in which 2 of 3 breach at most once by chance.
    breaches = [
        assess_performance(
            rows([1] * 400, (random.random(400) < 0.8).astype(int).tolist()), spec(), settings(every="1h")
        ).breached
        for _ in range(300)
    ]
    assert 0.06 < np.mean(breaches) < 0.14  # 0.1 is the largest probability that is allowed


def test_a_single_class_has_an_accuracy_with_an_interval():
    got = assess_performance(rows([1] * 100, [1] * 90 + [0] * 10), spec(), settings())
    assert got.lower < 0.9 < got.upper


def test_the_coverage_is_told():
    got = assess_performance(rows([1] * 30 + [None] * 10, [1] * 40), spec(), settings())
    assert got.coverage == 0.75
    assert "75% of the rows" in got.message


def test_a_loss_above_max_breaches():
    got = assess_performance(rows([1.0] * 20, [3.5] * 20), spec("rmse", max=2.0), settings())
    assert (got.statistic, got.breached) == (2.5, True)


def test_auc_is_scikit_learns():
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, 200)
    scores = labels * 0.3 + random.random(200)
    got = assess_performance(
        rows(labels.tolist(), labels.tolist(), scores.tolist()), spec("roc_auc"), settings()
    )
    assert got.statistic == roc_auc_score(labels, scores)
    assert got.lower < got.statistic < got.upper


def test_the_last_of_two_classes_in_order_is_the_positive_one():
    got = assess_performance(
        rows(["no", "yes"] * 10, ["no", "yes"] * 10, [0.1, 0.9] * 10), spec("roc_auc"), settings()
    )
    assert got.statistic == 1.0


@pytest.mark.parametrize("metric", ["balanced_accuracy", "f1"])
def test_more_than_two_classes_are_averaged(metric):
    got = assess_performance(rows(["a", "b", "c"] * 10, ["a", "b", "b"] * 10), spec(metric), settings())
    want = {"balanced_accuracy": 2 / 3, "f1": (1 + 2 / 3 + 0) / 3}[metric]
    assert got.statistic == pytest.approx(want)


PROBABILITIES = np.random.default_rng(3).dirichlet([1.0, 1.0, 1.0], 60)
ORDERED = [
    LoggedRow(
        i,
        float(i),
        {},
        {"predict": "abc"[p.argmax()], "probability": p.tolist()},
        "abc"[i % 3],
        has_label=True,
    )
    for i, p in enumerate(PROBABILITIES)
]


@pytest.mark.parametrize(
    ("metric", "bound", "theirs"),
    [
        ("log_loss", {"max": 9.0}, log_loss),
        ("roc_auc", {"min": 0.0}, lambda y, p: roc_auc_score(y, p, multi_class="ovr")),
    ],
)
def test_probabilities_of_more_than_two_classes_are_scored_as_scikit_learn_does(metric, bound, theirs):
    got = assess_performance(ORDERED, spec(metric, **bound), settings())
    assert got.statistic == pytest.approx(theirs([row.label for row in ORDERED], PROBABILITIES))
    assert got.lower < got.statistic < got.upper


def test_classes_of_the_bundle_need_not_all_be_in_the_window_and_are_in_its_order():
    lacking = [replace(row, label="b") if row.label == "c" else row for row in ORDERED]
    got = assess_performance(lacking, spec("log_loss", max=9.0), settings(), ("a", "b", "c"))
    want = log_loss([row.label for row in lacking], PROBABILITIES, labels=["a", "b", "c"])
    assert got.statistic == pytest.approx(want)
    backwards = [
        replace(row, outputs={**row.outputs, "probability": row.outputs["probability"][::-1]})
        for row in lacking
    ]
    got = assess_performance(backwards, spec("log_loss", max=9.0), settings(), ("c", "b", "a"))
    assert got.statistic == pytest.approx(want)
    strange = [*lacking[:-1], replace(lacking[-1], label="z")]
    got = assess_performance(strange, spec("log_loss", max=9.0), settings(), ("a", "b", "c"))
    assert (got.reason, "'z' is none of the classes" in got.message) == ("ClassesUnknown", True)


@pytest.mark.parametrize("known", [("a", "b", "c"), ()])
def test_f1_stays_the_mean_of_many_classes_where_a_window_has_two_of_them(known):
    labels, answers = ["a", "b"] * 10, ["a", "b", "b", "b"] * 5
    probabilities = None if known else [[0.3, 0.3, 0.4]] * 20
    got = assess_performance(rows(labels, answers, probabilities), spec("f1"), settings(), known)
    assert got.statistic == pytest.approx(f1_score(labels, answers, average="macro"))
    two = assess_performance(rows(labels, answers), spec("f1"), settings())
    assert two.statistic == pytest.approx(f1_score(labels, answers, pos_label="b"))


def test_classes_that_no_probability_is_of_are_named():
    other = [*ORDERED[:-1], replace(ORDERED[-1], label="d")]
    got = assess_performance(other, spec("log_loss", max=9.0), settings())
    assert (got.breached, got.reason) == (None, "ClassesUnknown")
    assert "4 classes: 'a', 'b', 'c', 'd'" in got.message


@pytest.mark.parametrize(
    ("labels", "metric", "reason"),
    [
        ([1] * 5, "accuracy", "TooFewSamples"),
        ([1] * 8 + [None] * 12, "accuracy", "TooFewLabels"),
        ([1] * 12 + [None] * 20, "accuracy", "LowLabelCoverage"),
        ([1] * 20, "roc_auc", "SingleClass"),
        (["a", "b", "c", "d"] * 5, "roc_auc", "MetricNotDefined"),
        (["a", "b"] * 10, "mae", "MetricNotDefined"),
        (["1.5"] * 20, "mae", "MetricNotDefined"),
        ([[1.0]] * 20, "mae", "MetricNotDefined"),
        ([10**400] * 20, "mae", "MetricNotDefined"),
        ([1.0, float("nan")] * 10, "mae", "MetricNotDefined"),
    ],
)
def test_what_cannot_be_judged_is_insufficient_with_a_reason(labels, metric, reason):
    bounds = {"max": 1.0} if metric == "mae" else {"min": 0.5}
    got = assess_performance(rows(labels, [1] * len(labels)), spec(metric, **bounds), settings())
    assert (got.breached, got.reason) == (None, reason)


def test_a_missing_output_is_named():
    bare = [LoggedRow(i, float(i), {}, {"predict": 1}, label=i % 2, has_label=True) for i in range(20)]
    got = assess_performance(bare, spec("roc_auc"), settings())
    assert (got.breached, got.reason) == (None, "OutputMissing")


def test_the_same_window_gives_the_same_interval():
    window = rows([0, 1] * 20, [0, 1, 1, 1] * 10)
    assert assess_performance(window, spec(), settings()) == assess_performance(window, spec(), settings())


def test_probabilities_rounded_beyond_0_and_1_have_a_log_loss():
    rounded = rows([0, 1] * 20, [0, 1] * 20, [-1e-7, 1.0 + 1.2e-7] * 20)
    exact = rows([0, 1] * 20, [0, 1] * 20, [0.0, 1.0] * 20)
    got = assess_performance(rounded, spec("log_loss", max=0.5), settings())
    assert got == assess_performance(exact, spec("log_loss", max=0.5), settings())
    assert got.breached is False


@pytest.mark.parametrize("score", [-0.01, 1.01, 40.0])
def test_scores_that_are_no_probabilities_have_no_log_loss(score):
    got = assess_performance(
        rows([0, 1] * 20, [0, 1] * 20, [0.2, score] * 20), spec("log_loss", max=0.5), settings()
    )
    assert (got.breached, got.reason) == (None, "MetricNotDefined")
    assert f"{score:g}" in got.message
