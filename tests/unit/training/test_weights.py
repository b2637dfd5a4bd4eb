import math

import numpy as np
import pytest
from perennial_training.weights import effective_sample_size, inverse_age_weights

DAY = 86_400.0


def test_worked_example_of_the_docstring_holds():
    got = inverse_age_weights(
        np.array([90.0, 60.0, 0.0]) * DAY, now_s=90 * DAY, tau_s=30 * DAY, min_effective_samples=1
    )
    assert got is not None
    np.testing.assert_allclose(got.weights, [12 / 7, 6 / 7, 3 / 7])
    assert got.effective_samples == pytest.approx(7 / 3)
    assert got.tau_s == 30 * DAY


def test_weights_have_mean_one_and_fall_with_age():
    times = np.linspace(0, 100 * DAY, 500)
    got = inverse_age_weights(times, now_s=100 * DAY, tau_s=5 * DAY, min_effective_samples=1)
    assert got is not None
    assert got.weights.mean() == pytest.approx(1)
    assert (np.diff(got.weights) > 0).all()


def test_equal_weights_are_worth_their_number():
    assert effective_sample_size(np.full(17, 3.0)) == pytest.approx(17)


def test_one_heavy_row_is_worth_one():
    assert effective_sample_size(np.array([1.0, 1e-12, 1e-12])) == pytest.approx(1)


def test_tau_is_enlarged_just_until_enough_effective_samples_remain():
    times = np.linspace(0, 365 * DAY, 2000)
    got = inverse_age_weights(times, now_s=365 * DAY, tau_s=60.0, min_effective_samples=1500)
    assert got is not None
    assert got.tau_s > 60.0
    assert 1500 <= got.effective_samples < 1501


def test_tau_that_leaves_enough_stays_as_asked():
    times = np.linspace(0, 365 * DAY, 2000)
    got = inverse_age_weights(times, now_s=365 * DAY, tau_s=365 * DAY, min_effective_samples=1000)
    assert got is not None
    assert got.tau_s == 365 * DAY


def test_a_floor_of_all_rows_gives_equal_weights():
    got = inverse_age_weights(np.arange(50) * DAY, now_s=50 * DAY, tau_s=1.0, min_effective_samples=50)
    assert got is not None
    assert got.tau_s == math.inf or got.effective_samples >= 50
    np.testing.assert_allclose(got.weights, 1, rtol=1e-3)


def test_a_floor_above_the_rows_cannot_be_reached():
    assert inverse_age_weights(np.arange(9.0), now_s=9, tau_s=1, min_effective_samples=10) is None


def test_no_rows_have_no_weights():
    assert inverse_age_weights(np.array([]), now_s=9, tau_s=1, min_effective_samples=0) is None


def test_rows_after_now_count_as_age_zero():
    got = inverse_age_weights(np.array([10.0, 20.0]), now_s=10, tau_s=1, min_effective_samples=1)
    assert got is not None
    np.testing.assert_allclose(got.weights, 1)


def test_tau_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        inverse_age_weights(np.array([1.0]), now_s=1, tau_s=0, min_effective_samples=1)
