"""Rates of slices against each other: known intervals, what breaches, what is too small."""

import numpy as np
import pytest
from perennial_api.modeldeployment.monitoring import Fairness, MonitorDefaults, MonitorSettings
from perennial_api.where import parse_where
from perennial_observer.monitors.labels.fairness import Rate, assess_fairness, newcombe_interval
from perennial_observer.store.rows import LoggedRow

DEFAULTS = MonitorDefaults.model_validate({"window": {"size": 1000, "minSamples": 50}})
SETTINGS = MonitorSettings(DEFAULTS.window, DEFAULTS.false_alarm_every, DEFAULTS.alarm, DEFAULTS.clear)
SLICES = {name: parse_where(f'country == "{name}"') for name in ("fr", "de", "es")}


def spec(metric="positive_rate", slices=("fr", "de"), difference=0.1) -> Fairness:
    labels = {"minLabels": 50, "minCoverage": 0.5}
    return Fairness.model_validate(
        {"metric": metric, "slices": slices, "maxDifference": difference, "labels": labels}
    )


def rows(country, answers, labels=None) -> list[LoggedRow]:
    labels = labels if labels is not None else [None] * len(answers)
    return [
        LoggedRow(i, float(i), {"country": country}, {"predict": answer}, label, label is not None)
        for i, (answer, label) in enumerate(zip(answers, labels, strict=True))
    ]


def share(n, hits) -> list[int]:
    return [1] * hits + [0] * (n - hits)


def judge(window, wanted=None, classes=(0, 1)):
    return assess_fairness(window, wanted or spec(), SETTINGS, SLICES, classes)


@pytest.mark.parametrize(
    ("one", "other", "want"),
    [
        # Newcombe (1998), table II, method 10.
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((10, 10), (0, 20), (0.6791, 1.0000)),
        ((0, 10), (0, 20), (-0.1611, 0.2775)),
    ],
)
def test_the_interval_is_newcombes(one, other, want):
    got = newcombe_interval(Rate("a", *one), Rate("b", *other), 0.025)
    assert got == pytest.approx(want, abs=1e-4)


def test_a_large_difference_breaches_and_names_both_slices():
    got = judge(rows("fr", share(400, 240)) + rows("de", share(400, 120)))
    assert (got.breached, got.reason) == (True, "DifferenceExceeded")
    assert (got.statistic, got.threshold) == (pytest.approx(0.3), 0.1)
    assert got.lower < 0.3 < got.upper
    assert "0.600 in fr (400 rows) and 0.300 in de (400 rows)" in got.message
    assert dict(got.features) == {"fr": 0.6, "de": 0.3}


def test_the_same_difference_on_few_rows_is_noise():
    got = judge(rows("fr", share(30, 15)) + rows("de", share(30, 10)))
    assert (got.breached, got.reason) == (False, "WithinNoise")


def test_a_small_difference_is_within():
    got = judge(rows("fr", share(400, 120)) + rows("de", share(400, 110)))
    assert (got.breached, got.reason) == (False, "WithinDifference")


def test_slices_alike_breach_as_rarely_as_was_asked():
    random = np.random.default_rng(1)
    three = spec(slices=("fr", "de", "es"), difference=0.001)
    breaches = 0
    for _ in range(100):
        window = [
            row for name in SLICES for row in rows(name, (random.random(100) < 0.3).astype(int).tolist())
        ]
        breaches += bool(judge(window, three).breached)
    # Windows of 100 s within 30 days: about 0.5 % each may breach, over all three pairs.
    assert breaches <= 3


def test_the_pair_that_is_surely_apart_is_named_before_one_that_may_be():
    window = rows("fr", share(400, 200)) + rows("de", share(400, 100)) + rows("es", share(30, 5))
    got = judge(window, spec(slices=("fr", "de", "es")))
    assert got.breached
    assert got.statistic == pytest.approx(0.25)


def test_a_slice_too_small_is_named():
    window = rows("fr", share(400, 200)) + rows("de", share(29, 10))
    got = judge(window)
    assert (got.breached, got.reason) == (None, "SliceTooSmall")
    assert "de (29)" in got.message
    assert got.samples == 429


def test_a_breach_between_large_slices_is_not_hidden_by_a_small_one():
    window = rows("fr", share(400, 300)) + rows("de", share(400, 100)) + rows("es", [])
    assert judge(window, spec(slices=("fr", "de", "es"))).breached


@pytest.mark.parametrize(
    ("metric", "want"),
    [
        ("accuracy", (0.9, 0.5)),
        # Of 50 true ones FR finds 45 and DE 10; of 50 false ones FR takes 5 and DE 10 for true.
        ("true_positive_rate", (0.9, 0.2)),
        ("false_positive_rate", (0.1, 0.2)),
    ],
)
def test_rates_of_labels_are_known_values(metric, want):
    labels = [1] * 50 + [0] * 50
    fr = rows("fr", [1] * 45 + [0] * 5 + [1] * 5 + [0] * 45, labels)
    de = rows("de", [1] * 10 + [0] * 40 + [1] * 10 + [0] * 40, labels)
    got = judge(fr + de, spec(metric))
    assert dict(got.features) == pytest.approx({"fr": want[0], "de": want[1]})
    assert got.coverage == 1.0


def test_the_positive_class_is_the_last_in_order_also_where_the_window_holds_one():
    window = rows("fr", ["no"] * 100) + rows("de", ["no"] * 100)
    assert dict(judge(window, classes=("no", "yes")).features) == {"fr": 0.0, "de": 0.0}
    window = rows("fr", ["yes"] * 100) + rows("de", ["yes"] * 100)
    assert dict(judge(window, classes=("yes", "no")).features) == {"fr": 1.0, "de": 1.0}


@pytest.mark.parametrize(
    ("window", "metric", "classes", "reason"),
    [
        (rows("fr", share(20, 10)), "positive_rate", (0, 1), "TooFewSamples"),
        (rows("fr", share(100, 10)), "accuracy", (0, 1), "TooFewLabels"),
        (rows("fr", share(60, 5), [1] * 60) + rows("de", share(100, 9)), "accuracy", (), "LowLabelCoverage"),
        (rows("fr", ["a", "b"] * 50), "positive_rate", ("c",), "MetricNotDefined"),
        (rows("fr", [1] * 100), "positive_rate", (), "SingleClass"),
        (rows("fr", [None] * 100), "positive_rate", (0, 1), "OutputMissing"),
        (rows("fr", share(200, 10), [0] * 200), "true_positive_rate", (0, 1), "SliceTooSmall"),
    ],
)
def test_what_cannot_be_judged_is_insufficient_with_a_reason(window, metric, classes, reason):
    got = judge(window, spec(metric), classes)
    assert (got.breached, got.reason) == (None, reason)
