"""Values that are known by hand or by SciPy, and what each detector is for."""

import numpy as np
import pytest
from perennial_observer.detectors.native.dependence import DependenceDetector
from perennial_observer.detectors.native.distances import ColumnDetector, cvm_distance, ks_distance, psi
from perennial_observer.detectors.native.mmd import MMDDetector
from perennial_observer.detectors.native.oddness import Mahalanobis, Neighbours, OddRows
from perennial_observer.detectors.native.shares import ChiSquareDetector, cramers_v
from scipy.stats import cramervonmises_2samp


@pytest.fixture
def random():
    return np.random.default_rng(7)


def fit(detector, reference):
    detector.fit(reference)
    return detector


def test_the_cvm_distance_is_scipys_statistic_without_the_sample_sizes(random):
    x, y = random.normal(size=400), random.normal(0.4, size=150)
    want = cramervonmises_2samp(x, y).statistic * (400 + 150) / (400 * 150)
    assert cvm_distance(x, y) == pytest.approx(want)


@pytest.mark.parametrize("distance", [ks_distance, cvm_distance, psi])
def test_a_distance_is_nothing_between_the_same_and_large_between_others(distance, random):
    x = random.normal(size=500)
    assert distance(x, x) == pytest.approx(0, abs=1e-12)
    assert distance(x, x + 10) > 0.3


def test_the_index_of_a_share_that_doubled_is_known():
    # Deciles of 0..99: one value in each of 100 bins; all mass of the window in the upper half.
    reference, window = np.arange(100.0), np.arange(50.0, 100.0)
    empty = 0.5 / 50
    want = 5 * (0.2 - 0.1) * np.log(2) + 5 * (empty - 0.1) * np.log(empty / 0.1)
    assert psi(reference, window) == pytest.approx(want)


def test_missing_values_are_left_out_and_a_column_of_them_says_nothing(random):
    reference, window = random.normal(size=(200, 2)), random.normal(size=(100, 2))
    window[::2, 0] = np.nan
    window[:, 1] = np.nan
    got = fit(ColumnDetector(ks_distance), reference).score(window)
    assert got.per_column[0] == ks_distance(reference[:, 0], window[1::2, 0])
    assert np.isnan(got.per_column[1])
    assert got.statistic == got.per_column[0]


def test_cramers_v_is_known_and_does_not_grow_with_the_sample():
    # 60:40 against 40:60: phi = (60·60 - 40·40) / 100² = 0.2.
    assert cramers_v(np.array([60.0, 40.0]), np.array([40.0, 60.0])) == pytest.approx(0.2)
    assert cramers_v(np.array([6000.0, 4000.0]), np.array([4000.0, 6000.0])) == pytest.approx(0.2)
    assert np.isnan(cramers_v(np.array([50.0]), np.array([70.0])))
    assert np.isnan(cramers_v(np.array([50.0, 3.0]), np.zeros(2)))


def test_rare_categories_are_counted_together():
    many = np.array([1000.0, *[1.0] * 50])
    moved = np.array([1000.0, *([2.0, 0.0] * 25)])
    assert cramers_v(many, moved) == pytest.approx(0, abs=1e-9)


def test_chi_square_looks_at_the_columns_of_one_feature_together(random):
    reference = np.eye(3)[random.integers(0, 3, 900)]
    window = np.eye(3)[random.choice(3, 300, p=[0.8, 0.1, 0.1])]
    numbers = random.normal(size=(900, 1))
    detector = fit(ChiSquareDetector((0, 0, 0, None)), np.hstack([reference, numbers]))
    got = detector.score(np.hstack([window, numbers[:300]]))
    assert got.per_column[0] == got.per_column[2] == got.statistic > 0.3
    assert np.isnan(got.per_column[3])


def correlated(random, n, rho):
    x = random.normal(size=(n, 2))
    return np.column_stack([x[:, 0], rho * x[:, 0] + np.sqrt(1 - rho**2) * x[:, 1], random.normal(size=n)])


def test_what_changes_only_together_is_seen_by_the_forest_and_not_by_columns(random):
    reference, same = correlated(random, 1000, 0.0), correlated(random, 500, 0.0)
    moved = correlated(random, 500, 0.8)
    forest, columns = fit(DependenceDetector(), reference), fit(ColumnDetector(ks_distance), reference)
    assert forest.score(moved).statistic > forest.score(same).statistic + 0.2
    assert forest.score(moved).per_column.argmin() == 2
    assert columns.score(moved).statistic < 0.1


def test_the_discrepancy_sees_a_small_shift_of_few_columns(random):
    reference = random.normal(size=(2000, 20))
    detector = fit(MMDDetector(), reference)
    quiet = [detector.score(random.normal(size=(500, 20))).statistic for _ in range(20)]
    shift = np.where(np.arange(20) < 3, 0.5, 0.0)
    assert detector.score(random.normal(size=(500, 20)) + shift).statistic > max(quiet)


@pytest.mark.parametrize("scorer", [Mahalanobis, Neighbours])
def test_odd_rows_are_flagged_and_others_about_as_often_as_asked(scorer, random):
    detector = fit(OddRows(scorer, 0.02), random.normal(size=(2000, 4)))
    assert 0.005 < detector.score(random.normal(size=(2000, 4))).statistic < 0.045
    rows = random.normal(size=(10, 4))
    rows[3] = 9.0
    assert detector.flag(rows).tolist() == [i == 3 for i in range(10)]


def test_a_row_that_breaks_a_correlation_is_odd_to_mahalanobis(random):
    detector = fit(OddRows(Mahalanobis, 0.01), correlated(random, 2000, 0.95))
    assert detector.flag(np.array([[1.5, -1.5, 0.0], [1.5, 1.5, 0.0]])).tolist() == [True, False]
