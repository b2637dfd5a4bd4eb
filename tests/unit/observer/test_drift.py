"""The drift monitor with our own detectors; those of the sidecar are tested by contract and integration."""

from dataclasses import replace

import numpy as np
import pytest
from perennial_api.modeldeployment.monitoring import Drift, DriftDetector, Engine
from perennial_observer.monitors.windows.slices import UnknownFeature

from tests.unit.observer.drift_streams import autocorrelated, logged, prepare, settings, stored, watch

FEATURE_DETECTORS = [DriftDetector.KS, DriftDetector.CVM, DriftDetector.CHI_SQUARE, DriftDetector.PSI]
QUICK_DETECTORS = [*FEATURE_DETECTORS, DriftDetector.MMD]
NATIVE_DETECTORS = [*QUICK_DETECTORS, DriftDetector.DEPENDENCE]


def native(detector, **fields):
    return Drift(detector=detector, engine=Engine.NATIVE, **fields)


@pytest.mark.parametrize("phi", [0.0, 0.5])
def test_pain_9_data_that_does_not_change_breaches_no_more_often_than_asked(phi):
    """173 such windows fit into 30 days, which the 2-of-3 rule turns into 5.5 % of them."""
    random = np.random.default_rng(11)
    breaches = []
    for _ in range(4):
        watching = watch(autocorrelated(random, 5_000, phi), Drift(engine=Engine.NATIVE, min_effect=0.0))
        for _ in range(20):
            got = watching.assess(logged(autocorrelated(random, 250, phi)), settings())
            assert got.calibrated
            breaches.append(got.breached)
    assert np.mean(breaches) <= 0.055 + 3 * np.sqrt(0.055 / len(breaches))


@pytest.mark.parametrize(("phi", "least"), [(0.0, 0.95), (0.5, 0.75)])
def test_a_shift_of_a_fifth_of_a_deviation_in_3_of_20_features_is_seen(phi, least):
    """By the default floor: the largest of the true KS distances is 0.08."""
    random = np.random.default_rng(21)
    watching = watch(autocorrelated(random, 10_000, phi, 20), Drift(engine=Engine.NATIVE))
    shift = np.where(np.arange(20) < 3, 0.2, 0.0)
    found = [
        watching.assess(logged(autocorrelated(random, 1_000, phi, 20) + shift), settings(1_000)).breached
        for _ in range(12)
    ]
    assert np.mean(found) >= least


@pytest.mark.parametrize("detector", FEATURE_DETECTORS)
def test_pain_8_a_shift_in_one_feature_is_told_with_its_name_statistic_threshold_and_unit(detector):
    """Pain 8: not a boolean alone. The statistic, its threshold, its unit, and which features moved how far."""
    random = np.random.default_rng(12)
    watching = watch(autocorrelated(random, 5_000, 0.3), native(detector))
    window = autocorrelated(random, 250, 0.3)
    window[:, 3] += 1.0
    got = watching.assess(logged(window), settings())
    assert (got.breached, got.reason, got.features[0][0]) == (True, "ThresholdExceeded", "x3")
    assert got.message.startswith("x3 moved")
    assert got.statistic == got.features[0][1] > got.threshold
    assert got.calibration == "Calibrated"
    assert (got.blocks, 0 < got.false_breach_rate < 0.06) == (20, True)


@pytest.mark.parametrize("detector", [DriftDetector.MMD, DriftDetector.DEPENDENCE])
def test_one_statistic_for_all_features_still_says_what_moved_most(detector):
    random = np.random.default_rng(12)
    watching = watch(autocorrelated(random, 600), native(detector))
    window = autocorrelated(random, 100)
    quiet = watching.assess(logged(window), settings(100))
    window[:, 3] += 1.5
    got = watching.assess(logged(window), settings(100))
    assert (quiet.breached, got.breached) == (False, True)
    assert got.features[0][0] == "x3"
    assert "moved most by KS distance: x3" in got.message
    assert got.statistic != got.features[0][1]


def test_what_changes_only_together_is_drift_by_dependence_and_not_by_ks():
    random = np.random.default_rng(3)
    reference, window = autocorrelated(random, 1_200, width=3), autocorrelated(random, 250, width=3)
    window[:, 1] = 0.95 * window[:, 0] + np.sqrt(1 - 0.95**2) * window[:, 1]
    together = watch(reference, native(DriftDetector.DEPENDENCE)).assess(logged(window), settings())
    alone = watch(reference).assess(logged(window), settings())
    assert (together.breached, alone.breached) == (True, False)


@pytest.mark.parametrize("detector", NATIVE_DETECTORS)
def test_pain_6_silent_constant_and_infinite_columns_break_nothing(detector):
    """Pain 6: missing values are tested apart, for every detector alike."""
    random = np.random.default_rng(9)
    reference, window = autocorrelated(random, 600), autocorrelated(random, 100)
    reference[:, 0] = window[:, 0] = 7.0
    reference[:, 1] = window[:, 1] = np.nan
    reference[::9, 2] = np.inf
    window[::9, 2] = -np.inf
    got = watch(reference, native(detector)).assess(logged(window), settings(100))
    assert got.breached is False
    assert np.isfinite([got.statistic, got.threshold]).all()


@pytest.mark.parametrize("detector", QUICK_DETECTORS)
def test_pain_6_values_that_go_missing_are_drift(detector):
    random = np.random.default_rng(10)
    reference, window = autocorrelated(random, 600), autocorrelated(random, 100)
    window[::2, 1] = np.nan
    got = watch(reference, native(detector)).assess(logged(window), settings(100))
    assert got.breached is True
    assert got.features[0][0] == "x1"


def test_nothing_but_constant_columns_is_no_drift():
    got = watch(np.full((1_000, 5), 3.0)).assess(logged(np.full((250, 5), 3.0)), settings())
    assert (got.breached, got.statistic) == (False, 0.0)


def test_pain_4_more_rows_are_not_more_drift():
    """Pain 4: a shift too small to matter stays below the floor, however many rows a window has."""
    random = np.random.default_rng(22)
    watching = watch(autocorrelated(random, 40_000, width=2))
    for size in (2_000, 8_000):
        window = autocorrelated(random, size, width=2) + 0.03
        assert watching.assess(logged(window), settings(size)).breached is False


def test_pain_5_too_few_samples_are_insufficient_and_never_ok():
    """Pain 5: too few samples are never taken for an Ok."""
    random = np.random.default_rng(13)
    got = watch(autocorrelated(random, 1_000)).assess(logged(autocorrelated(random, 50)), settings())
    assert (got.breached, got.reason) == (None, "TooFewSamples")


@pytest.mark.parametrize("detector", QUICK_DETECTORS)
def test_pain_5_a_reference_too_small_to_calibrate_says_so_and_never_promises(detector):
    """Pain 5, on the reference's side: 40 rows."""
    random = np.random.default_rng(23)
    got = watch(autocorrelated(random, 40), native(detector)).assess(
        logged(autocorrelated(random, 250)), settings()
    )
    assert not got.calibrated
    if detector in FEATURE_DETECTORS[1:]:
        assert (got.breached, got.reason) == (None, "TooFewReferenceBlocks")
        assert "larger reference" in got.message
    else:
        assert "not calibrated" in got.message


def test_pain_10_the_size_of_a_window_and_its_age_are_not_coupled():
    """Pain 10: a window that closed by age is judged by blocks of about its own size, not by those of a full one."""
    random = np.random.default_rng(24)
    watching = watch(autocorrelated(random, 10_000))
    full = watching.assess(logged(autocorrelated(random, 1_000)), settings(1_000))
    partial = watching.assess(logged(autocorrelated(random, 210)), settings(1_000))
    assert partial.threshold > full.threshold
    assert partial.blocks > full.blocks


def test_a_feature_that_changes_all_the_time_is_left_out_and_named():
    random = np.random.default_rng(14)
    for detector in (DriftDetector.KS, DriftDetector.PSI, DriftDetector.MMD):
        reference = autocorrelated(random, 2_500)
        reference[:, 0] = np.arange(2_500)
        window = autocorrelated(random, 250)
        window[:, 0] = 9_999
        got = watch(reference, native(detector)).assess(logged(window), settings())
        assert got.breached is False
        assert "x0" in got.message
        assert "x0" not in dict(got.features)


def test_a_window_larger_than_the_reference_allows_is_judged_cautiously():
    random = np.random.default_rng(15)
    watching = watch(autocorrelated(random, 1_000, 0.9))
    got = watching.assess(logged(autocorrelated(random, 900, 0.9)), settings(900))
    assert (got.breached, got.calibrated) == (False, False)
    assert "smaller than a window" in got.message


def test_a_nearly_silent_feature_is_judged_by_its_silence_only():
    random = np.random.default_rng(16)
    reference, window = autocorrelated(random, 5_000), autocorrelated(random, 250)
    window[20:, 2] = np.nan
    got = dict(watch(reference).assess(logged(window), settings()).features)
    assert got["x2"] == pytest.approx(0.92)


def test_only_the_named_features_are_compared():
    random = np.random.default_rng(17)
    reference, window = autocorrelated(random, 5_000), autocorrelated(random, 250)
    window[:, 3] += 2.0
    spec = Drift(engine=Engine.NATIVE, features=("x1", "x0"))
    got = watch(reference, spec).assess(logged(window), settings())
    assert got.breached is False
    assert set(dict(got.features)) == {"x0", "x1"}


def test_a_feature_that_there_is_not_is_refused_with_what_there_is():
    with pytest.raises(UnknownFeature, match=r"colour.*there are x0, x1, x2") as caught:
        watch(np.zeros((100, 3)), Drift(features=("colour", "x0")))
    assert caught.value.reason == "UnknownFeature"


def test_a_small_shift_is_drift_only_if_the_floor_allows():
    random = np.random.default_rng(18)
    reference = autocorrelated(random, 10_000, width=1)
    window = logged(autocorrelated(random, 1_000, width=1) + 0.2)
    for min_effect, want in ((0.05, True), (0.2, False)):
        spec = Drift(engine=Engine.NATIVE, min_effect=min_effect)
        assert watch(reference, spec).assess(window, settings(1_000)).breached is want


def test_a_category_that_was_never_seen_is_drift():
    random = np.random.default_rng(19)
    plain = stored(autocorrelated(random, 2_000, width=1))
    document = plain.schema.model_dump()
    document["inputs"][0]["datatype"] = "BYTES"
    colours = random.choice(["red", "white"], 2_000).tolist()
    reference = replace(plain, schema=type(plain.schema).model_validate(document), columns={"x0": colours})
    rows = [
        replace(row, inputs={"x0": "rosé" if row.id % 3 else "red"}) for row in logged(np.zeros((250, 1)))
    ]
    for detector in QUICK_DETECTORS:
        got = prepare(reference).drift(native(detector), of_outputs=False).assess(rows, settings())
        assert got.breached is True, detector
