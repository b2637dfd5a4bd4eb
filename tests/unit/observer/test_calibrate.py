import numpy as np
import pytest
from perennial_observer.monitors.alarms.false_alarms import per_window_probability
from perennial_observer.monitors.drift.calibrate import (
    block_bounds,
    bonferroni_distance,
    calibrate_threshold,
    choose_block_rows,
    find_restless,
)
from scipy.stats import ks_2samp


def threshold(blocks, p, *, same_size=True, fallback=0.05, highest=1.0):
    return calibrate_threshold(
        blocks, p, same_size=same_size, min_effect=0.1, fallback_distance=fallback, highest=highest
    )


def test_with_enough_blocks_the_threshold_is_their_quantile():
    got = threshold(np.linspace(0.2, 0.3, 101), 0.05)
    assert (got.calibrated, got.reason) == (True, "Calibrated")
    assert got.distance == pytest.approx(0.296)


@pytest.mark.parametrize(("blocks", "p"), [(20, 0.055), (100, 0.01), (40, 0.1)])
def test_no_more_windows_exceed_the_quantile_than_asked(blocks, p):
    random = np.random.default_rng(1)
    exceeded = [
        random.uniform(0.2, 1.0) > threshold(random.uniform(0.2, 1.0, blocks), p).distance
        for _ in range(4_000)
    ]
    assert np.mean(exceeded) < p + 3 * np.sqrt(p / 4_000)


@pytest.mark.parametrize("every", [10, 20, 40, 50, 100])
def test_one_block_for_each_window_between_two_false_breaches_is_enough(every):
    """What `falseAlarmEvery` becomes is a hair beside 1/every, which must ask for no further block."""
    p = per_window_probability(every, 1, 1)
    got = threshold(np.linspace(0.2, 0.3, every), p)
    assert (got.calibrated, got.reason) == (True, "Calibrated")
    assert got.false_breach_rate == pytest.approx(1 / (every + 1))


def test_the_rate_is_not_halved_where_it_falls_on_a_block():
    """39 blocks, p = 1/20: two of 40 windows exceed the 38th."""
    got = threshold(np.linspace(0.2, 0.3, 39), per_window_probability(20, 1, 1))
    assert got.false_breach_rate == pytest.approx(0.05)


def test_with_fewer_it_is_the_widest_and_says_so():
    blocks = [0.2, 0.21, 0.22] * 4
    got = threshold(blocks, 0.001)
    assert not got.calibrated
    assert got.reason == "TooFewReferenceBlocks"
    assert 0.22 < got.distance < 0.3
    assert "12 blocks" in got.message
    assert "1000" in got.message


def test_with_hardly_any_blocks_bonferroni_stands_in_but_never_below_what_the_reference_did_itself():
    assert threshold([], 0.01, fallback=0.2).distance == 0.2
    assert threshold([0.4, 0.1], 0.01, fallback=0.2).distance == 0.4


@pytest.mark.parametrize("blocks", [3, 5, 9])
def test_a_handful_of_blocks_keeps_the_rate_by_their_spread_though_it_promises_none(blocks):
    """Five blocks' largest alone would be exceeded by every sixth window."""
    random = np.random.default_rng(2)
    exceeded = []
    for _ in range(4_000):
        on_logit = random.normal(-1.0, 0.2, blocks + 1)
        *known, window = 1 / (1 + np.exp(-on_logit))
        exceeded.append(window > threshold(known, 0.05, fallback=0.0).distance)
    assert 0.5 * 0.05 < np.mean(exceeded) < 0.05 + 3 * np.sqrt(0.05 / 4_000)


def test_smaller_blocks_promise_no_rate():
    got = threshold(np.full(200, 0.2), 0.01, same_size=False)
    assert not got.calibrated
    assert got.false_breach_rate is None


def test_the_rate_that_was_reached_and_the_blocks_it_stands_on_are_told():
    """Pain 9: what a threshold means. 101 blocks, p = 0.05: the 97th of them, which 5 of 102 windows exceed."""
    got = threshold(np.linspace(0.2, 0.3, 101), 0.05)
    assert (got.blocks, got.false_breach_rate) == (101, pytest.approx(5 / 102))


def test_a_statistic_without_a_known_distribution_takes_the_widest_of_few_blocks_and_a_margin():
    got = threshold([0.2, 0.25, 0.3], 0.01, fallback=None)
    assert not got.calibrated
    assert 0.3 < got.distance < 0.5


@pytest.mark.parametrize("blocks", [[], [0.3]])
def test_without_blocks_it_can_not_be_judged_at_all(blocks):
    assert threshold(blocks, 0.01, fallback=None) is None


def test_a_statistic_without_an_upper_end_may_have_a_threshold_beyond_one():
    assert threshold([0.9, 1.4, 1.1] * 4, 0.001, highest=np.inf).distance > 1.4
    assert threshold([0.9, 0.8, 0.7] * 4, 0.001).distance < 1.0


def test_the_threshold_of_cvm_stays_below_its_own_end():
    assert threshold([0.25, 0.3] * 6, 0.001, highest=1 / 3).distance < 1 / 3


def test_the_effect_floor_holds_always():
    assert threshold(np.full(50, 0.01), 0.05).distance == 0.1


def test_the_threshold_stays_below_one_while_the_blocks_do():
    assert threshold([0.5, 0.9] * 6, 0.0001).distance < 1.0


def test_blocks_cover_the_end_and_one_block_is_none():
    assert block_bounds(10, 3) == [(1, 4), (4, 7), (7, 10)]
    assert block_bounds(10, 6) == []
    assert block_bounds(10, 0) == []
    assert choose_block_rows(5_000, 1_000) == 1_000


def test_a_calendar_column_is_restless_and_an_untested_one_is_not():
    distances = np.array([[0.1, 0.95, np.nan], [0.2, 0.5, np.nan]])
    assert find_restless(distances).tolist() == [False, True, False]
    assert find_restless(np.empty((0, 2))).tolist() == [False, False]


def test_bonferronis_distance_has_the_p_value_that_was_asked_for():
    random = np.random.default_rng(0)
    distance = bonferroni_distance(0.05, 1, 400, 400)
    exceeded = [ks_2samp(*random.normal(size=(2, 400))).statistic > distance for _ in range(500)]
    assert 0.02 < np.mean(exceeded) < 0.08
