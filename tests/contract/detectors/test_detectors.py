"""What every detector keeps: one suite over all of them, against the real sidecar."""

from collections.abc import Callable

import numpy as np
import pytest
from perennial_bundle.oddness import Mahalanobis, Neighbours
from perennial_observer.detectors.alibi import AlibiClassifier, AlibiColumns, AlibiUncertainty
from perennial_observer.detectors.base import Detector
from perennial_observer.detectors.isolation_forest import IsolationForestDetector
from perennial_observer.detectors.native.bins import Binned
from perennial_observer.detectors.native.certainty import Probabilities
from perennial_observer.detectors.native.dependence import DependenceDetector
from perennial_observer.detectors.native.distances import ColumnDetector, cvm_distance, ks_distance
from perennial_observer.detectors.native.mmd import MMDDetector
from perennial_observer.detectors.native.oddness import OddRows
from perennial_observer.detectors.native.shares import chi_square_distance, psi
from perennial_observer.detectors.sidecar import Sidecar
from perennial_observer.errors import DetectorFailure, DetectorUnavailable
from scipy.stats import chi2_contingency, ks_2samp

Make = Callable[[], Detector]


SIDECAR: dict[str, Callable[[Sidecar], Detector]] = {
    "ks": lambda sidecar: AlibiColumns(sidecar, "ks"),
    "cvm": lambda sidecar: AlibiColumns(sidecar, "cvm"),
    "chi_square": lambda sidecar: Binned(AlibiColumns(sidecar, "chi_square")),
    "tabular": lambda sidecar: AlibiColumns(sidecar, "tabular"),
    "classifier": AlibiClassifier,
    "isolation_forest": lambda sidecar: IsolationForestDetector(sidecar, 0.01),
}
NATIVE: dict[str, Make] = {
    "native_ks": lambda: ColumnDetector(ks_distance),
    "native_cvm": lambda: ColumnDetector(cvm_distance),
    "native_chi_square": lambda: Binned(ColumnDetector(chi_square_distance)),
    "native_psi": lambda: Binned(ColumnDetector(psi)),
    "mmd": MMDDetector,
    "dependence": DependenceDetector,
    "mahalanobis": lambda: OddRows(Mahalanobis, 0.01),
    "neighbours": lambda: OddRows(Neighbours, 0.01),
}


@pytest.fixture(params=[*SIDECAR, *NATIVE])
def make(request) -> Make:
    if request.param in NATIVE:
        return NATIVE[request.param]
    sidecar = request.getfixturevalue("sidecar")
    return lambda: SIDECAR[request.param](sidecar)


@pytest.fixture
def random():
    return np.random.default_rng(42)


def fitted(make: Make, reference: np.ndarray) -> Detector:
    detector = make()
    detector.fit(reference)
    return detector


def test_the_same_window_gives_the_same_result_and_scoring_changes_nothing(make, random):
    reference, window = random.normal(size=(500, 3)), random.normal(size=(100, 3))
    detector = fitted(make, reference)
    results = [detector.score(window) for _ in range(3)] + [fitted(make, reference).score(window)]
    assert len({result.statistic for result in results}) == 1


def test_the_order_of_a_windows_rows_does_not_matter(make, random):
    detector = fitted(make, random.normal(size=(500, 3)))
    window = random.normal(size=(100, 3))
    assert detector.score(window).statistic == detector.score(window[::-1]).statistic


def test_a_moved_window_scores_higher_than_an_unmoved_one(make, random):
    detector = fitted(make, random.normal(size=(1_000, 3)))
    window = random.normal(size=(200, 3))
    assert detector.score(window + 6.0).statistic > detector.score(window).statistic + 0.3


def test_a_constant_column_is_harmless(make, random):
    reference, window = random.normal(size=(500, 3)), random.normal(size=(100, 3))
    reference[:, 1] = window[:, 1] = 7.0
    assert 0.0 <= fitted(make, reference).score(window).statistic < 0.3


def test_one_row_has_a_result(make, random):
    got = fitted(make, random.normal(size=(500, 3))).score(np.zeros((1, 3)))
    assert got.n == 1


@pytest.mark.parametrize("shape", [(0, 3), (100, 2), (100,)])
def test_a_window_of_another_shape_is_refused_with_a_reason(make, random, shape):
    detector = fitted(make, random.normal(size=(500, 3)))
    with pytest.raises(DetectorFailure) as caught:
        detector.score(np.zeros(shape))
    assert caught.value.reason == "ShapeMismatch"


def test_an_unknown_operation_is_refused(sidecar):
    with pytest.raises(DetectorFailure, match="no operation"):
        sidecar._call({"op": "mmd"}, {})


def test_an_unknown_test_is_refused(sidecar):
    with pytest.raises(DetectorFailure, match="no test"):
        sidecar.compare_columns("mmd", np.zeros((10, 1)), [np.zeros((10, 1))])


def test_ks_is_the_known_distance_and_leaves_missing_values_out(sidecar, random):
    reference, window = random.normal(size=(400, 2)), random.normal(0.5, size=(150, 2))
    window[::3, 1] = np.nan
    got = sidecar.compare_columns("ks", reference, [window])[0]
    want = [
        ks_2samp(reference[:, 0], window[:, 0]).statistic,
        ks_2samp(reference[:, 1], window[:, 1][~np.isnan(window[:, 1])]).statistic,
    ]
    np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize("test", ["ks", "cvm", "chi_square", "fet", "tabular"])
def test_a_column_without_values_is_told_as_untested(sidecar, random, test):
    reference = random.integers(0, 2, (100, 2)).astype(float)
    window = random.integers(0, 2, (50, 2)).astype(float)
    window[:, 0] = np.nan
    got = sidecar.compare_columns(test, reference, [window], (True, True))[0]
    assert np.isnan(got[0])
    assert np.isfinite(got[1])


@pytest.mark.parametrize("test", ["ks", "cvm"])
def test_both_engines_give_the_same_statistic(sidecar, random, test):
    reference, window = random.normal(size=(400, 2)), random.normal(0.5, size=(150, 2))
    native = ColumnDetector({"ks": ks_distance, "cvm": cvm_distance}[test])
    native.fit(reference)
    got = sidecar.compare_columns(test, reference, [window])[0]
    np.testing.assert_allclose(got, native.score(window).per_column, atol=1e-5)


def test_cvm_does_not_take_repeated_values_for_drift(sidecar, random):
    reference = random.integers(0, 3, (900, 1)).astype(float)
    got = sidecar.compare_columns("cvm", reference, [random.integers(0, 3, (300, 1)).astype(float)])
    assert got[0, 0] < 0.003


def test_chi_square_is_scipys_in_the_unit_of_cramers_v(sidecar):
    reference, window = np.repeat([0.0, 1.0, 2.0], [30, 50, 20]), np.repeat([0.0, 1.0, 2.0], [50, 20, 30])
    counts = np.array([[30, 50, 20], [50, 20, 30]])
    want = np.sqrt(chi2_contingency(counts).statistic / 200)
    got = sidecar.compare_columns("chi_square", reference[:, None], [window[:, None]])
    assert got[0, 0] == pytest.approx(want, abs=1e-6)


def test_fet_is_yules_q_of_flags_and_leaves_numbers_and_rare_flags_alone(sidecar, random):
    reference = np.column_stack(
        [np.repeat([0.0, 1.0], [500, 500]), random.normal(size=1000), np.repeat([0.0, 1.0], [999, 1])]
    )
    window = np.column_stack(
        [np.repeat([0.0, 1.0], [40, 60]), random.normal(size=100), np.repeat([0.0, 1.0], [99, 1])]
    )
    got = sidecar.compare_columns("fet", reference, [window])[0]
    # Odds 1.5 against 1: Q = 0.5 / 2.5.
    assert got[0] == pytest.approx(0.2)
    assert np.isnan(got[1:]).all()


def test_tabular_takes_each_column_by_its_kind(sidecar, random):
    reference = np.column_stack([random.normal(size=600), random.integers(0, 3, 600)])
    window = np.column_stack([random.normal(0.5, size=200), random.choice(3, 200, p=[0.7, 0.2, 0.1])])
    got = sidecar.compare_columns("tabular", reference, [window], (False, True))[0]
    assert got[0] == pytest.approx(sidecar.compare_columns("ks", reference, [window])[0, 0])
    assert got[1] == pytest.approx(sidecar.compare_columns("chi_square", reference, [window])[0, 1])


def test_an_unseen_category_is_drift(sidecar, random):
    reference = random.integers(0, 2, (600, 1)).astype(float)
    got = sidecar.compare_columns("tabular", reference, [np.full((200, 1), 7.0)], (True,))
    assert got[0, 0] > 0.9


def test_ks_of_many_windows_is_that_of_each(sidecar, random):
    reference = random.normal(size=(300, 4))
    windows = [random.normal(size=(n, 4)) for n in (50, 120, 80)]
    got = sidecar.compare_columns("ks", reference, windows)
    want = np.vstack([sidecar.compare_columns("ks", reference, [window]) for window in windows])
    np.testing.assert_array_equal(got, want)


def test_certainty_moves_when_the_model_gets_sure_of_itself(sidecar, random):
    detector = Probabilities(AlibiUncertainty(sidecar))

    def matrix(probabilities):
        return np.column_stack([probabilities, np.zeros(len(probabilities))])

    detector.fit(matrix(random.uniform(size=2_000)))
    assert detector.score(matrix(random.uniform(size=500))).statistic < 0.1
    assert detector.score(matrix(random.beta(0.2, 0.2, size=500))).statistic > 0.3


def test_what_is_no_probability_is_refused(sidecar, random):
    with pytest.raises(DetectorFailure) as caught:
        sidecar.compare_uncertainty(np.full((100, 2), 0.5), np.full((50, 2), 0.9))
    assert caught.value.reason == "NotProbabilities"


def test_an_isolation_forest_cuts_off_about_its_contamination(sidecar, random):
    detector = IsolationForestDetector(sidecar, 0.05)
    detector.fit(random.normal(size=(3_000, 4)))
    got = detector.score(random.normal(size=(3_000, 4))).statistic
    assert 0.03 < got < 0.07


def test_an_isolation_forest_refuses_missing_values(sidecar):
    detector = IsolationForestDetector(sidecar, 0.05)
    with pytest.raises(DetectorFailure) as caught:
        detector.fit(np.full((100, 2), np.nan))
    assert caught.value.reason == "MissingValues"


def test_a_forest_that_the_sidecar_forgot_is_fitted_again(sidecar, random):
    reference, window = random.normal(size=(300, 2)), random.normal(size=(50, 2))
    first = sidecar.isolation_forest("kept", reference, window, seed=3)
    for i in range(70):
        sidecar.isolation_forest(f"other-{i}", reference[:20], window, seed=3)
    np.testing.assert_array_equal(sidecar.isolation_forest("kept", reference, window, seed=3), first)


def test_a_sidecar_that_is_not_there_is_unavailable(tmp_path):
    with pytest.raises(DetectorUnavailable):
        Sidecar(tmp_path / "absent.sock", 1.0).version()
