"""Seasons: which hours are compared with which, by the day and by the week."""

import numpy as np
import pytest
from perennial_api.modeldeployment.monitoring import Seasonality
from perennial_observer.monitors.drift.seasons import cut_seasons, find_phases, is_in_phase, span_seasons
from perennial_observer.monitors.drift.yardstick import choose_rows_in_season

from tests.unit.observer.drift_streams import NATIVE_KS, autocorrelated, logged, prepare, settings, stored

HOUR = 3600.0
DAY = 24 * HOUR


def daily(random, n: int, start: float = 0.0, step_s: float = 600.0) -> tuple[np.ndarray, list[float]]:
    """Rows every ten minutes whose mean swings over the day by more than their spread."""
    times = start + step_s * np.arange(n)
    swing = 2.0 * np.sin(2 * np.pi * times / DAY)
    return autocorrelated(random, n, width=2) + swing[:, None], times.tolist()


def test_an_hour_of_the_week_is_another_one_on_another_day():
    times = np.array([0.0, DAY, 7 * DAY + 1.0])
    assert find_phases(times, Seasonality.DAILY) == {0}
    assert find_phases(times, Seasonality.WEEKLY) == {0, 24}
    assert is_in_phase(times, {24}, Seasonality.WEEKLY).tolist() == [False, True, False]
    assert span_seasons(times, Seasonality.DAILY) == pytest.approx(7, abs=0.01)


def test_a_block_lies_within_one_season_also_across_midnight():
    # From 22 to 2 o'clock on three nights, a row every half hour.
    times = np.concatenate([day * DAY + 22 * HOUR + 1800.0 * np.arange(8) for day in range(3)])
    rows, bounds = cut_seasons(times, Seasonality.DAILY, start=22 * HOUR, most_rows=100)
    assert (rows, bounds) == (8, [(0, 8), (8, 16), (16, 24)])
    rows, bounds = cut_seasons(times, Seasonality.DAILY, start=22 * HOUR, most_rows=3)
    assert (rows, bounds) == (3, [(2, 5), (5, 8), (10, 13), (13, 16), (18, 21), (21, 24)])


def test_no_rows_have_no_blocks():
    assert cut_seasons(np.empty(0), Seasonality.DAILY, start=0.0, most_rows=5) == (0, [])


def test_a_window_is_compared_with_the_same_hours_and_not_with_the_night():
    random = np.random.default_rng(1)
    values, times = daily(random, 144 * 40)
    monitor = prepare(stored(values, times=times), Seasonality.DAILY).drift(NATIVE_KS, of_outputs=False)
    plain = prepare(stored(values, times=times)).drift(NATIVE_KS, of_outputs=False)
    start = 50 * DAY + 4 * HOUR
    usual, _ = daily(random, 60, start, 120.0)
    rows = logged(usual, start=start, step_s=120.0)
    moved = logged(usual - 3.0, start=start, step_s=120.0)
    few = settings(60, 50)
    quiet = monitor.assess(rows, few)
    assert (quiet.breached, monitor.assess(moved, few).breached) == (False, True)
    # By the whole day two hours of the morning look nothing like it.
    assert plain.assess(rows, few).statistic > 2 * quiet.statistic


def test_fewer_than_two_seasons_are_no_calibration():
    random = np.random.default_rng(2)
    values, times = daily(random, 5_000, step_s=30.0)
    monitor = prepare(stored(values, times=times), Seasonality.DAILY).drift(NATIVE_KS, of_outputs=False)
    got = monitor.assess(logged(values[:250], step_s=30.0), settings())
    assert (got.calibrated, got.calibration) == (False, "TooFewSeasons")
    assert "1.7 seasons" in got.message
    assert got.false_breach_rate is None


@pytest.mark.parametrize("times", [None, (10 * DAY * np.arange(40)).tolist()])
def test_a_reference_that_cannot_tell_the_hours_says_so(times):
    values = np.zeros((40, 1)) if times else np.zeros((400, 1))
    event_time = None if times is None else np.array(times)
    season = choose_rows_in_season(event_time, np.array([5 * HOUR]), Seasonality.DAILY)
    assert season.rows is None
    assert season.caveat.reason == "TooFewSeasons"
    monitor = prepare(stored(values, times=times), Seasonality.DAILY).drift(NATIVE_KS, of_outputs=False)
    assert monitor.assess(logged(np.zeros((250, 1))), settings()).calibrated is False
