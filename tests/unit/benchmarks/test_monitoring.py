"""The parts of the monitoring benchmark on which its figures rest, with our own monitor and ones that are no good."""

import numpy as np
import pytest

from benchmarks.monitoring.scoring import Said, score
from benchmarks.monitoring.streams import BEGIN, NULLS, SCENARIOS, WINDOW, WINDOWS
from tests.unit.observer.drift_streams import logged, settings, watch

SEEDS = 2


def say(scores: np.ndarray, alarms: np.ndarray) -> Said:
    return Said(scores, alarms, window_s=0.0)


def stay_silent(name: str) -> Said:
    return say(np.zeros((SEEDS, WINDOWS)), np.zeros((SEEDS, WINDOWS), dtype=np.bool_))


def always_fire(name: str) -> Said:
    return say(np.ones((SEEDS, WINDOWS)), np.ones((SEEDS, WINDOWS), dtype=np.bool_))


def know_the_truth(name: str) -> Said:
    changed = np.tile(SCENARIOS[name].draw(0).changed, (SEEDS, 1))
    return say(changed.astype(float), changed)


def judge_by_ours(name: str) -> Said:
    stream = SCENARIOS[name].draw(0)
    watching = watch(stream.reference[-10 * WINDOW :])
    said = [watching.assess(logged(window), settings(WINDOW, WINDOW)) for window in stream.windows]
    return say(np.array([[got.statistic for got in said]]), np.array([[got.breached for got in said]]))


# 12: river#1914, #1963, #1614


@pytest.mark.parametrize(
    ("contestant", "false_alarms", "power", "delay"),
    [(stay_silent, 0.0, 0.0, None), (always_fire, 1.0, 0.0, 0.0), (know_the_truth, 0.0, 1.0, 0.0)],
)
def test_pain_12_who_always_alarms_gains_nothing_by_it(contestant, false_alarms, power, delay):
    got = score({name: contestant(name) for name in ("iid", "mean")})
    assert got["iid"].alarm_rate == false_alarms
    assert (got["mean"].equal_rate_power, got["mean"].delay) == (power, delay)


def test_pain_12_our_monitor_is_told_from_one_that_always_alarms():
    got = score({name: judge_by_ours(name) for name in ("iid", "mean")})
    assert got["iid"].alarm_rate < 0.25
    assert got["mean"].equal_rate_power > 0.75
    assert got["mean"].delay == 0.0


@pytest.mark.parametrize("name", ["mean-ar5", "gradual", "recurring", "correlation"])
def test_pain_12_streams_change_when_they_say_and_not_before(name):
    changed = SCENARIOS[name].draw(1)
    quiet = SCENARIOS[NULLS[name]].draw(1)
    np.testing.assert_array_equal(changed.reference, quiet.reference)
    differs = (changed.windows != quiet.windows).any(axis=(1, 2))
    np.testing.assert_array_equal(differs, changed.changed)
    assert (differs.argmax(), changed.changed[:BEGIN].any()) == (BEGIN, False)
