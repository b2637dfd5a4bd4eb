"""The outlier monitor with our own detectors; the sidecar's forest is tested by contract and integration."""

import numpy as np
import pytest
from perennial_api.modeldeployment.monitoring import Outlier, OutlierDetector
from perennial_observer.errors import DetectorFailure
from perennial_observer.monitors.alarms.verdicts import Assessment

from tests.unit.observer.drift_streams import autocorrelated, logged, prepare, settings, stored

NATIVE = [OutlierDetector.MAHALANOBIS, OutlierDetector.KNN]


@pytest.mark.parametrize("detector", NATIVE)
def test_a_window_with_too_many_odd_rows_breaches_and_a_usual_one_does_not(detector):
    random = np.random.default_rng(5)
    spec = Outlier(detector=detector, contamination=0.01, max_rate=0.05)
    monitor = prepare(stored(autocorrelated(random, 2_000))).outliers(spec)
    window = autocorrelated(random, 250)
    quiet = monitor.assess(logged(window), settings(), spec)
    window[::5] += 8.0
    got = monitor.assess(logged(window), settings(), spec)
    assert (quiet.breached, got.breached) == (False, True)
    assert got.statistic == pytest.approx(0.2, abs=0.05)
    assert detector.value in got.message


class Marked:
    """Stands for a detector: rows are odd whose first value is 1."""

    def fit(self, reference: np.ndarray) -> None:
        pass

    def rate_rows(self, rows: np.ndarray) -> np.ndarray:
        return rows[:, 0] - 0.5


def mark(odd: np.ndarray, every: str) -> Assessment:
    prepared = prepare(stored(np.zeros((100, 1))))
    spec = Outlier(detector=OutlierDetector.KNN, max_rate=0.05)
    monitor = prepared.outliers(spec)
    monitor.detector = Marked()
    return monitor.assess(logged(odd.reshape(-1, 1).astype(float)), settings(every=every), spec)


def test_how_many_odd_rows_are_too_many_follows_from_how_often_a_false_alarm_is_acceptable():
    odd = np.arange(250) < 21
    often, seldom = mark(odd, "1d"), mark(odd, "3650d")
    assert (often.breached, seldom.breached) == (True, False)
    assert often.threshold < often.statistic == 21 / 250 <= seldom.threshold


def test_false_breaches_of_a_rate_at_its_bound_are_as_rare_as_asked():
    random = np.random.default_rng(12)
    breaches = sum(bool(mark(random.random(250) < 0.05, "30d").breached) for _ in range(200))
    # A window of 250 minutes, a false alarm in 30 days by 2 of 3: 0.055, the next whole count below.
    assert 1 <= breaches <= 0.055 * 200 * 1.5


@pytest.mark.parametrize("detector", NATIVE)
def test_each_row_has_a_score_which_is_above_0_where_it_is_odd(detector):
    random = np.random.default_rng(5)
    spec = Outlier(detector=detector)
    monitor = prepare(stored(autocorrelated(random, 2_000))).outliers(spec)
    window = autocorrelated(random, 250)
    window[7] += 8.0
    window[9] += 80.0
    got = monitor.assess(logged(window), settings(), spec)
    assert len(got.scores) == 250
    assert sum(score > 0 for score in got.scores) == got.statistic * 250
    assert np.argsort(got.scores)[-2:].tolist() == [7, 9]
    # They belong to the rows: neither the window nor what the monitor remembers holds them.
    assert "scores" not in got.model_dump()


@pytest.mark.parametrize("detector", NATIVE)
def test_missing_and_constant_columns_break_nothing(detector):
    random = np.random.default_rng(6)
    reference, window = autocorrelated(random, 500), autocorrelated(random, 250)
    reference[:, 0] = window[:, 0] = 1.0
    reference[:, 1] = window[:, 1] = np.nan
    spec = Outlier(detector=detector)
    got = prepare(stored(reference)).outliers(spec).assess(logged(window), settings(), spec)
    assert got.breached is False


@pytest.mark.parametrize("detector", NATIVE)
def test_a_reference_too_small_to_say_what_is_odd_is_told(detector):
    spec = Outlier(detector=detector)
    with pytest.raises(DetectorFailure) as caught:
        prepare(stored(np.zeros((20, 2)))).outliers(spec).flag([{"x0": 1.0, "x1": 2.0}])
    assert caught.value.reason == "ReferenceTooSmall"


def test_too_small_a_window_is_insufficient():
    """Pain 5, for single rows."""
    spec = Outlier(detector=OutlierDetector.KNN)
    monitor = prepare(stored(np.zeros((500, 2)))).outliers(spec)
    got = monitor.assess(logged(np.zeros((50, 2))), settings(), spec)
    assert (got.breached, got.reason) == (None, "TooFewSamples")


def test_the_bound_may_change_without_another_fit():
    prepared = prepare(stored(np.zeros((500, 2))))
    one, other = (
        prepared.outliers(Outlier(detector=OutlierDetector.KNN, max_rate=rate)) for rate in (0.1, 0.2)
    )
    assert one is other
