import itertools
from dataclasses import replace

import numpy as np
import pytest
from perennial_api.modeldeployment.monitoring.windows import Alarm, MonitorDefaults, MonitorSettings
from perennial_observer.monitors.alarms.false_alarms import (
    chance_of_breach,
    mean_windows_to_alarm,
    per_window_probability,
)
from perennial_observer.monitors.alarms.pace import find_pace
from perennial_observer.monitors.alarms.rule import AlarmRule, AlarmState, step_alarm
from perennial_observer.store.reads import Position
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("p", "breaches", "of", "want"), [(0.01, 1, 1, 100.0), (0.1, 3, 3, 1110.0), (0.1, 2, 2, 110.0)]
)
def test_the_mean_run_length_matches_the_known_formula(p, breaches, of, want):
    assert mean_windows_to_alarm(p, breaches, of) == pytest.approx(want, rel=1e-6)


def test_the_mean_run_length_matches_the_alarm_rule_that_runs():
    random = np.random.default_rng(5)
    rule = AlarmRule(2, 3, 3)
    lengths = []
    for _ in range(400):
        state, n = AlarmState(), 0
        while state.breach_id is None:
            breached = bool(random.random() < 0.1)
            state = step_alarm(state, rule, window_start=float(n), breached=breached, name="m/u/r")
            n += 1
        lengths.append(n)
    got, error = np.mean(lengths), np.std(lengths) / 20
    assert abs(got - mean_windows_to_alarm(0.1, 2, 3)) < 4 * error


@pytest.mark.parametrize("windows", [500, 5_000, 1_000_000])
def test_pain_9_false_alarm_every_is_the_run_length_that_it_names(windows):
    p = per_window_probability(windows, 2, 3)
    assert mean_windows_to_alarm(p, 2, 3) == pytest.approx(windows, rel=0.01)


@pytest.mark.parametrize("breaches", [1, 2, 5, 8])
def test_inverting_gives_back_the_run_length_of_the_longest_memory_that_the_api_allows(breaches):
    rule = Alarm(breaches=breaches, of=8)
    p = per_window_probability(100_000, rule.breaches, rule.of)
    want = 100_000 if p < 0.1 else mean_windows_to_alarm(0.1, breaches, 8)
    assert mean_windows_to_alarm(p, breaches, 8) == pytest.approx(want, rel=0.01)
    with pytest.raises(ValidationError, match="less than or equal to 8"):
        Alarm(breaches=breaches, of=9)


def test_a_few_windows_between_alarms_never_ask_for_more_than_one_breach_in_ten():
    assert per_window_probability(2, 2, 3) == 0.1


def test_rows_that_come_in_bursts_make_no_more_windows_than_there_are():
    # A window of a second's rows every hour, a false alarm in 30 days by 2 of 3: 720 windows, not 2,592,000.
    defaults = MonitorDefaults()
    settings = MonitorSettings(defaults.window, defaults.false_alarm_every, defaults.alarm, defaults.clear)
    hourly = replace(settings, window_every_s=3_600.0)
    assert chance_of_breach(hourly, 1.0) == per_window_probability(720, 2, 3)
    assert chance_of_breach(settings, 1.0) == per_window_probability(2_592_000, 2, 3)


def test_the_pace_of_windows_is_their_number_in_time_whatever_the_bursts():
    # Four windows in a few seconds, then none for an hour.
    ends = [hour * 3_600.0 + second for hour in range(40) for second in range(4)]
    pace, found = None, []
    for before, end in itertools.pairwise(ends):
        pace = find_pace(pace, Position(before, 0), Position(end, 1), max_age_s=21_600.0)
        found.append(pace)
    assert np.mean(found[-40:]) == pytest.approx(900.0, rel=0.1)


def test_a_gap_counts_for_as_long_as_a_window_may_stay_open_and_the_first_window_tells_nothing():
    assert find_pace(None, None, Position(5.0, 1), max_age_s=600.0) is None
    assert find_pace(None, Position(5.0, 1), Position(9e6, 2), max_age_s=600.0) == 600.0
