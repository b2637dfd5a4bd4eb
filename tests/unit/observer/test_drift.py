"""The drift monitor with a detector in memory; the sidecar's own is tested by contract and integration."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from perennial_api.durations import Duration
from perennial_api.modeldeployment.monitoring import Alarm, Clear, MonitorSettings, Window
from perennial_bundle import Schema
from perennial_observer.detectors.base import Result
from perennial_observer.monitors.drift import DriftMonitor
from perennial_observer.monitors.encoding import build_encoder
from perennial_observer.store.rows import LoggedRow
from scipy.stats import ks_2samp

NAMES = [f"x{i}" for i in range(5)]
SCHEMA = Schema.model_validate(
    {
        "inputs": [{"name": name, "datatype": "FP64"} for name in NAMES],
        "outputs": [{"name": "predict", "datatype": "INT64"}],
    }
)


@dataclass
class ScipyKS:
    reference: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))

    def fit(self, reference):
        self.reference = reference

    def score(self, window):
        columns = []
        for known, values in zip(self.reference.T, window.T, strict=True):
            pair = known[~np.isnan(known)], values[~np.isnan(values)]
            columns.append(ks_2samp(*pair, method="asymp").statistic if len(pair[1]) > 1 else np.nan)
        return Result(float(np.nanmax(columns)), np.array(columns), len(window))


def autocorrelated(random, n: int, phi: float) -> np.ndarray:
    """AR(1) columns with unit variance."""
    values = np.empty((n, len(NAMES)))
    values[0] = random.normal(size=len(NAMES))
    for i in range(1, n):
        values[i] = phi * values[i - 1] + np.sqrt(1 - phi**2) * random.normal(size=len(NAMES))
    return values


def monitor(reference: np.ndarray) -> DriftMonitor:
    columns = {name: reference[:, i].tolist() for i, name in enumerate(NAMES)}
    encoder = build_encoder(SCHEMA, columns)
    return DriftMonitor(encoder, encoder.encode(columns), ScipyKS)


def logged(values: np.ndarray) -> list[LoggedRow]:
    return [
        LoggedRow(
            i, float(60 * i), {n: None if np.isnan(x) else x for n, x in zip(NAMES, row, strict=True)}, {}
        )
        for i, row in enumerate(values.tolist())
    ]


def settings(size: int = 250, min_samples: int = 100) -> MonitorSettings:
    window = Window(size=size, max_age=Duration("7d"), min_samples=min_samples)
    return MonitorSettings(window, Duration("30d"), Alarm(), Clear())


@pytest.mark.parametrize("phi", [0.0, 0.5])
def test_data_that_does_not_change_breaches_no_more_often_than_asked(phi):
    """173 such windows fit into 30 days, which the 2-of-3 rule turns into 5.5 % of them."""
    random = np.random.default_rng(11)
    breaches = []
    for _ in range(5):
        watching = monitor(autocorrelated(random, 5_000, phi))
        for _ in range(20):
            got = watching.assess(logged(autocorrelated(random, 250, phi)), settings())
            assert got.calibrated
            breaches.append(got.breached)
    assert np.mean(breaches) <= 0.055 + 3 * np.sqrt(0.055 / len(breaches))


def test_a_shift_in_one_feature_breaches_and_names_it():
    random = np.random.default_rng(12)
    watching = monitor(autocorrelated(random, 5_000, 0.3))
    window = autocorrelated(random, 250, 0.3)
    window[:, 3] += 1.0
    got = watching.assess(logged(window), settings())
    assert (got.breached, got.reason, got.features[0][0]) == (True, "ThresholdExceeded", "x3")
    assert got.message.startswith("x3 moved")


def test_too_small_a_window_is_insufficient():
    random = np.random.default_rng(13)
    got = monitor(autocorrelated(random, 1_000, 0.0)).assess(
        logged(autocorrelated(random, 50, 0.0)), settings()
    )
    assert (got.breached, got.reason) == (None, "TooFewSamples")


def test_a_feature_that_changes_all_the_time_is_left_out_and_named():
    random = np.random.default_rng(14)
    reference = autocorrelated(random, 5_000, 0.0)
    reference[:, 0] = np.arange(5_000)
    window = autocorrelated(random, 250, 0.0)
    window[:, 0] = 9_999
    got = monitor(reference).assess(logged(window), settings())
    assert got.breached is False
    assert "x0" in got.message
    assert "x0" not in dict(got.features)


def test_a_window_larger_than_the_reference_allows_is_judged_cautiously():
    random = np.random.default_rng(15)
    watching = monitor(autocorrelated(random, 1_000, 0.9))
    got = watching.assess(logged(autocorrelated(random, 900, 0.9)), settings(900))
    assert (got.breached, got.calibrated) == (False, False)
    assert "smaller than a window" in got.message


def test_a_nearly_silent_feature_is_judged_by_its_silence_only():
    random = np.random.default_rng(16)
    reference, window = autocorrelated(random, 5_000, 0.0), autocorrelated(random, 250, 0.0)
    window[20:, 2] = np.nan
    got = dict(monitor(reference).assess(logged(window), settings()).features)
    assert got["x2"] == pytest.approx(0.92)
