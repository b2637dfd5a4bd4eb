"""Streams of errors with and without a planted change, window after window as the observer cuts them."""

import numpy as np
import pytest
from perennial_api.modeldeployment.monitoring import Concept, MonitorDefaults, MonitorSettings
from perennial_observer.monitors.labels.concept import Change, assess_concept, find_rise, history_rows
from perennial_observer.store.rows import LoggedRow

SIZE = 500
SPEC = Concept.model_validate({"labels": {"minLabels": 100, "minCoverage": 0.5}})
DEFAULTS = MonitorDefaults.model_validate({"window": {"size": SIZE, "minSamples": 100}})
SETTINGS = MonitorSettings(DEFAULTS.window, DEFAULTS.false_alarm_every, DEFAULTS.alarm, DEFAULTS.clear)


def classified(errors, at=0) -> list[LoggedRow]:
    return [
        LoggedRow(at + i, float(at + i) * 40, {}, {"predict": 1}, 0 if wrong else 1, True)
        for i, wrong in enumerate(errors)
    ]


def regressed(errors, at=0) -> list[LoggedRow]:
    return [
        LoggedRow(at + i, float(at + i) * 40, {}, {"predict": 10.0}, 10.0 + float(error), True)
        for i, error in enumerate(errors)
    ]


def judge(windows, *, is_regression=False):
    history, verdicts = [], []
    for rows in windows:
        kept = history[-history_rows(SIZE) :]
        verdicts.append(assess_concept(rows, kept, SPEC, SETTINGS, is_regression=is_regression))
        history += rows
    return verdicts


def stream(rates, seed=1):
    random = np.random.default_rng(seed)
    return [classified(random.random(SIZE) < rate, i * SIZE) for i, rate in enumerate(rates)]


@pytest.mark.parametrize("seed", range(2))
def test_a_steady_rate_of_errors_never_breaches(seed):
    assert not any(got.breached for got in judge(stream([0.15] * 12, seed)))


def test_a_rise_breaches_at_once_and_is_dated_and_measured():
    verdicts = judge(stream([0.1] * 6 + [0.3] * 2))
    assert [got.breached for got in verdicts] == [False] * 6 + [True] * 2
    got = verdicts[-1]
    assert got.reason == "ErrorRose"
    assert got.statistic == pytest.approx(0.3, abs=0.06)
    assert got.threshold == pytest.approx(0.1, abs=0.06)
    # The 3,000th row is at 120,000 s: 1970-01-02, half past nine.
    assert "about 1970-01-02T09:" in got.message
    assert "rose from 0.1" in got.message


def test_a_fall_is_no_breach():
    assert not any(got.breached for got in judge(stream([0.3] * 5 + [0.05] * 4)))


def test_errors_that_come_back_end_the_breach():
    got = [got.breached for got in judge(stream([0.1] * 5 + [0.4] * 2 + [0.1] * 3))]
    assert got == [False] * 5 + [True] * 2 + [False] * 3


def test_a_rise_becomes_the_usual_level_and_the_next_one_is_found():
    rates = [0.05] * 5 + [0.2] * 14 + [0.45] * 2
    got = [got.breached for got in judge(stream(rates))]
    assert got[5:10] == [True] * 5
    assert got[16:19] == [False] * 3
    assert got[19:] == [True] * 2


def test_a_window_judged_again_gets_the_same_verdict():
    windows = stream([0.1] * 4 + [0.3])
    history = [row for rows in windows[:4] for row in rows]
    one, other = (assess_concept(windows[4], history, SPEC, SETTINGS, is_regression=False) for _ in range(2))
    assert one == other


def test_larger_errors_of_a_regression_are_a_rise_in_its_own_unit():
    random = np.random.default_rng(3)
    windows = [regressed(random.normal(0, s, SIZE), i * SIZE) for i, s in enumerate([2] * 5 + [4] * 2)]
    verdicts = judge(windows, is_regression=True)
    assert [got.breached for got in verdicts] == [False] * 5 + [True] * 2
    # The mean of |N(0, 4)| is 4 √(2/π).
    assert verdicts[-1].statistic == pytest.approx(3.19, abs=0.25)


def test_a_few_wild_labels_of_a_regression_are_no_rise():
    random = np.random.default_rng(4)
    windows = [regressed(random.normal(0, 2, SIZE), i * SIZE) for i in range(6)]
    wild = [random.normal(0, 2, SIZE) for _ in range(2)]
    for errors in wild:
        errors[[7, 300]] = 1e6
    windows += [regressed(errors, (6 + i) * SIZE) for i, errors in enumerate(wild)]
    assert not any(got.breached for got in judge(windows, is_regression=True))


def test_a_model_that_was_never_wrong_is_judged_too():
    random = np.random.default_rng(5)
    windows = [regressed(np.zeros(SIZE), i * SIZE) for i in range(4)]
    windows.append(regressed(random.normal(0, 1, SIZE), 4 * SIZE))
    assert [got.breached for got in judge(windows, is_regression=True)] == [False] * 4 + [True]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (classified([0] * 50), "TooFewSamples"),
        ([LoggedRow(i, 0.0, {}, {"predict": 1}) for i in range(200)], "TooFewLabels"),
        (
            classified([0] * 120) + [LoggedRow(i, 5e6, {}, {"predict": 1}) for i in range(200, 400)],
            "LowLabelCoverage",
        ),
        ([LoggedRow(i, 0.0, {}, {}, 1, True) for i in range(200)], "OutputMissing"),
    ],
)
def test_what_cannot_be_judged_is_insufficient_with_a_reason(rows, reason):
    got = assess_concept(rows, [], SPEC, SETTINGS, is_regression=False)
    assert (got.breached, got.reason) == (None, reason)


def test_labels_that_are_no_numbers_stop_a_regressions_window_but_not_the_next():
    bad = [LoggedRow(i, float(i), {}, {"predict": 1.0}, "much", True) for i in range(200)]
    got = assess_concept(bad, [], SPEC, SETTINGS, is_regression=True)
    assert (got.breached, got.reason) == (None, "MetricNotDefined")
    after = assess_concept(regressed([1.0] * 200, 200), bad, SPEC, SETTINGS, is_regression=True)
    assert (after.breached, after.statistic) == (False, 1.0)


def test_two_rises_on_top_of_each_other_are_measured_from_the_first():
    errors = np.repeat([0.0, 0.5, 1.0], 600)
    errors[600:1200] = np.tile([0.0, 1.0], 300)
    got = find_rise(errors, 0.002)
    assert isinstance(got, Change)
    assert got.since == 0
    assert got.began == pytest.approx(600, abs=5)
