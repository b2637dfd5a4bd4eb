"""Values that are known by hand or by SciPy, and what each detector is for."""

import numpy as np
import pytest
from perennial_bundle.oddness import Mahalanobis, Neighbours
from perennial_observer.detectors.native.bins import Binned, choose_edges, to_codes
from perennial_observer.detectors.native.certainty import Probabilities
from perennial_observer.detectors.native.dependence import DependenceDetector
from perennial_observer.detectors.native.distances import ColumnDetector, cvm_distance, ks_distance
from perennial_observer.detectors.native.mmd import MMDDetector
from perennial_observer.detectors.native.oddness import OddRows
from perennial_observer.detectors.native.shares import (
    chi_square_distance,
    cramers_v,
    psi,
    stability_index,
)
from scipy.stats import chi2_contingency, cramervonmises_2samp, ks_2samp
from sklearn.covariance import LedoitWolf
from sklearn.preprocessing import StandardScaler


@pytest.fixture
def random():
    return np.random.default_rng(7)


def fit(detector, reference):
    detector.fit(reference)
    return detector


def test_the_cvm_distance_is_scipys_statistic_without_the_sample_sizes(random):
    x, y = np.sort(random.normal(size=400)), random.normal(0.4, size=150)
    want = cramervonmises_2samp(x, y).statistic * (400 + 150) / (400 * 150)
    assert cvm_distance(x, y) == pytest.approx(want)


@pytest.mark.parametrize("values", [np.round(np.linspace(-3, 3, 60), 1), np.array([0.0, 1.0])])
def test_the_ks_distance_is_scipys_also_where_values_repeat(values, random):
    for m, n in ((500, 200), (40, 300), (7, 1)):
        x, y = np.sort(random.choice(values, m)), random.choice(values, n) + random.choice([0.0, 1.0])
        assert ks_distance(x, y) == pytest.approx(ks_2samp(x, y, method="asymp").statistic)


@pytest.mark.parametrize("distance", [ks_distance, cvm_distance])
def test_a_distance_is_nothing_between_the_same_and_large_between_others(distance, random):
    x = np.sort(random.normal(size=500))
    assert distance(x, x) == pytest.approx(0, abs=1e-12)
    assert distance(x, x + 10) > 0.3


def test_the_index_of_a_share_that_doubled_is_known():
    # Deciles of 0..99: one value in each of 100 bins; all mass of the window in the upper half.
    reference, window = np.arange(100.0)[:, None], np.arange(50.0, 100.0)[:, None]
    empty = 0.5 / 50
    want = 5 * (0.2 - 0.1) * np.log(2) + 5 * (empty - 0.1) * np.log(empty / 0.1)
    assert fit(Binned(ColumnDetector(psi)), reference).score(window).statistic == pytest.approx(want)


def test_the_index_of_two_shares_is_known():
    # 50:50 against 20:80: 0.3 ln(5/2) + 0.3 ln(8/5) = 0.3 ln 4.
    got = stability_index(np.array([50.0, 50.0]), np.array([200.0, 800.0]))
    assert got == pytest.approx(0.3 * np.log(4))


def test_a_rare_flag_has_a_bin_of_its_own_and_so_has_what_never_occurred():
    flags = np.repeat([0.0, 1.0], [97, 3])
    assert len(set(to_codes(flags, choose_edges(flags)))) == 2
    always = np.zeros(100)
    edges = choose_edges(always)
    assert to_codes(np.array([0.0]), edges) != to_codes(np.array([1.0]), edges)
    silent = fit(Binned(ColumnDetector(psi)), np.zeros((100, 1)))
    assert silent.score(np.ones((50, 1))).statistic > 1.0


def test_missing_values_are_left_out_and_a_column_of_them_says_nothing(random):
    reference, window = random.normal(size=(200, 2)), random.normal(size=(100, 2))
    window[::2, 0] = np.nan
    window[:, 1] = np.nan
    got = fit(ColumnDetector(ks_distance), reference).score(window)
    assert got.per_column[0] == ks_distance(np.sort(reference[:, 0]), window[1::2, 0])
    assert np.isnan(got.per_column[1])
    assert got.statistic == got.per_column[0]


def test_cramers_v_is_known_and_does_not_grow_with_the_sample():
    """Pain 4: more data is not more drift. 60:40 against 40:60: phi = (60·60 - 40·40) / 100² = 0.2."""
    for reference, window in (((60, 40), (40, 60)), ((6000, 4000), (4000, 6000)), ((6000, 4000), (40, 60))):
        got = cramers_v(np.array(reference, dtype=float), np.array(window, dtype=float))
        assert got == pytest.approx(0.2)
    table = np.array([[30.0, 50.0, 20.0], [50.0, 20.0, 30.0]])
    assert cramers_v(*table) == pytest.approx(np.sqrt(chi2_contingency(table).statistic / table.sum()))
    assert np.isnan(cramers_v(np.array([50.0]), np.array([70.0])))
    assert np.isnan(cramers_v(np.array([50.0, 3.0]), np.zeros(2)))


def test_rare_categories_are_counted_together():
    many = np.array([1000.0, *[1.0] * 50])
    moved = np.array([1000.0, *([2.0, 0.0] * 25)])
    assert cramers_v(many, moved) == pytest.approx(0, abs=1e-9)


def test_chi_square_compares_codes_as_they_are_and_cuts_numbers_at_the_references_deciles(random):
    reference = np.column_stack([random.integers(0, 3, 900), random.normal(size=900)])
    window = np.column_stack([random.choice(3, 300, p=[0.8, 0.1, 0.1]), random.normal(size=300)])
    got = fit(Binned(ColumnDetector(chi_square_distance), (True, False)), reference).score(window)
    assert got.per_column[0] == got.statistic > 0.3
    assert got.per_column[1] < 0.15


def test_the_certainty_of_two_classes_is_that_of_both_their_probabilities():
    class Keeps:
        def fit(self, reference):
            self.reference = reference

    inner = Keeps()
    # Probability, and whether it is missing; the second row was imputed beyond its range.
    Probabilities(inner).fit(np.array([[0.25, 0.0], [1.5, 1.0]]))
    np.testing.assert_allclose(inner.reference, [[0.75, 0.25], [0.0, 1.0]])
    Probabilities(inner).fit(np.array([[0.2, 0, 0.2, 0], [0.0, 0, 0.0, 0]]))
    np.testing.assert_allclose(inner.reference, [[0.5, 0.5], [0.5, 0.5]])


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


def test_mahalanobis_is_scikit_learns_on_standardized_columns(random):
    units = [1.0, 50.0, 0.01]
    reference, rows = correlated(random, 500, 0.8) * units, random.normal(size=(20, 3)) * units
    ours = fit(Mahalanobis(), reference).score_rows(rows)
    scaler = StandardScaler().fit(reference)
    theirs = LedoitWolf().fit(scaler.transform(reference)).mahalanobis(scaler.transform(rows))
    np.testing.assert_allclose(ours**2, theirs)


def test_a_row_that_breaks_a_correlation_is_odd_to_mahalanobis(random):
    detector = fit(OddRows(Mahalanobis, 0.01), correlated(random, 2000, 0.95))
    assert detector.flag(np.array([[1.5, -1.5, 0.0], [1.5, 1.5, 0.0]])).tolist() == [True, False]
