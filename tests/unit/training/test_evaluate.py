import numpy as np
import pytest
from perennial_training.evaluate import METRICS, compare, time_blocks
from sklearn.metrics import f1_score, roc_auc_score

DAY = 86_400.0


def stream(n=2000, days=20, seed=0):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, days * DAY, n))
    truth = rng.integers(0, 2, n)
    good = truth + rng.normal(0, 0.8, n)
    bad = truth + rng.normal(0, 3.0, n)
    return times, truth, good, bad


def compare_with(name, truth, champion, challenger, times):
    return compare(
        METRICS[name],
        truth,
        champion_output=champion,
        challenger_output=challenger,
        event_time=times,
        rng=np.random.default_rng(0),
    )


def test_better_challenger_is_accepted_with_a_positive_lower_bound():
    times, truth, good, bad = stream()
    got = compare_with("roc_auc", truth, bad, good, times)
    assert got.accepted
    assert got.challenger_score == pytest.approx(roc_auc_score(truth, good))
    assert 0 < got.difference_lower < got.difference


def test_worse_challenger_is_not_accepted():
    times, truth, good, bad = stream()
    got = compare_with("roc_auc", truth, good, bad, times)
    assert not got.accepted
    assert got.difference_lower < 0


def test_equal_challenger_is_accepted_with_no_difference():
    times, truth, good, _ = stream()
    got = compare_with("roc_auc", truth, good, good, times)
    assert (got.accepted, got.difference, got.difference_lower) == (True, 0.0, 0.0)


def test_a_smaller_loss_counts_as_better():
    times, truth, good, _ = stream()
    sharp = 1 / (1 + np.exp(-1.5 * (good - 0.5)))
    got = compare_with("log_loss", truth, np.full(truth.size, 0.5), sharp, times)
    assert got.challenger_score < got.champion_score
    assert got.difference > 0


def test_regression_loss_is_oriented_too():
    times, _, _, _ = stream()
    truth = np.sin(times / DAY)
    got = compare_with("rmse", truth, truth + 0.5, truth + 0.1, times)
    assert got.difference == pytest.approx(0.4)
    assert got.difference_lower == pytest.approx(0.4)


def test_the_same_seed_gives_the_same_bound():
    times, truth, good, bad = stream()
    assert compare_with("roc_auc", truth, bad, good, times) == compare_with(
        "roc_auc", truth, bad, good, times
    )


def test_days_that_move_together_widen_the_interval():
    times, truth, good, bad = stream()
    day = np.floor(times / DAY).astype(int)
    lucky = np.random.default_rng(1).integers(0, 2, 21)[day].astype(bool)
    by_day = np.where(lucky, good, bad)
    shuffled = np.where(np.random.default_rng(2).permutation(lucky), good, bad)
    together = compare_with("roc_auc", truth, bad, by_day, times)
    alone = compare_with("roc_auc", truth, bad, shuffled, times)
    assert together.difference - together.difference_lower > alone.difference - alone.difference_lower


def test_binary_f1_is_that_of_the_positive_class():
    times, truth, good, bad = stream()
    got = compare_with("f1", truth, (bad > 0.5).astype(int), (good > 0.5).astype(int), times)
    assert got.challenger_score == pytest.approx(f1_score(truth, good > 0.5))


def test_several_classes_are_scored_by_their_probabilities():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 900)
    times = np.sort(rng.uniform(0, 30 * DAY, 900))
    sharp = np.full((900, 3), 0.1) + 0.7 * np.eye(3)[truth]
    sharp /= sharp.sum(axis=1, keepdims=True)
    got = compare_with("roc_auc", truth, np.full((900, 3), 1 / 3), sharp, times)
    assert (got.champion_score, got.challenger_score) == (pytest.approx(0.5), pytest.approx(1.0))


def test_blocks_are_days_in_a_long_slice():
    times = np.array([0.1, 0.9, 1.2, 5.0, 20.0]) * DAY
    assert time_blocks(times).tolist() == [0, 0, 1, 2, 3]


def test_blocks_are_tenths_of_a_short_slice():
    assert np.unique(time_blocks(np.arange(1000.0))).size >= 10


def test_rows_of_one_moment_are_one_block():
    assert time_blocks(np.full(5, 7.0)).tolist() == [0] * 5
