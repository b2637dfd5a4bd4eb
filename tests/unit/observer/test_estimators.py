"""Estimates against what the labels say, where nothing but the inputs has moved; and against values known by hand."""

import numpy as np
import pytest
from perennial_api.modeldeployment.monitoring import PerformanceMetric
from perennial_observer.monitors.estimates.estimators import CBPE, DLE, ESTIMATED_BY_CBPE
from sklearn import metrics

TRUE = {
    PerformanceMetric.ACCURACY: lambda y, p, s: metrics.accuracy_score(y, p),
    PerformanceMetric.BALANCED_ACCURACY: lambda y, p, s: metrics.balanced_accuracy_score(y, p),
    PerformanceMetric.F1: lambda y, p, s: metrics.f1_score(y, p),
    PerformanceMetric.LOG_LOSS: lambda y, p, s: metrics.log_loss(y, s),
    PerformanceMetric.ROC_AUC: lambda y, p, s: metrics.roc_auc_score(y, s),
}


def draw(rng, n, shift=0.0):
    """Scores that are too sure of themselves, and labels; `shift` moves the inputs to where the model is less sure."""
    x = rng.normal(size=n) * (1 - shift)
    chance = 1 / (1 + np.exp(-2 * x))
    score = 1 / (1 + np.exp(-4 * x))
    return score, rng.random(n) < chance


@pytest.mark.parametrize("metric", sorted(ESTIMATED_BY_CBPE))
@pytest.mark.parametrize("shift", [0.0, 0.6])
def test_an_estimate_without_labels_is_near_what_they_say(metric, shift):
    rng = np.random.default_rng(3)
    estimator = CBPE()
    estimator.fit(*draw(rng, 20_000))
    score, labels = draw(rng, 20_000, shift)
    got = estimator.estimate(metric, score, score > 0.5)
    assert got.value == pytest.approx(TRUE[metric](labels, score > 0.5, score), abs=0.02)


@pytest.mark.parametrize("metric", sorted(ESTIMATED_BY_CBPE))
def test_the_interval_holds_the_realised_metric_in_most_windows(metric):
    rng = np.random.default_rng(6)
    inside = []
    for _ in range(4):
        estimator = CBPE()
        estimator.fit(*draw(rng, 1000))
        for shift in (0.0, 0.3, 0.5):
            score, labels = draw(rng, 300, shift)
            got = estimator.estimate(metric, score, score > 0.5)
            assert got.lower <= got.value <= got.upper
            inside.append(got.lower <= TRUE[metric](labels, score > 0.5, score) <= got.upper)
    assert np.mean(inside) >= 10 / 12


def test_few_labelled_rows_widen_the_interval():
    rng = np.random.default_rng(7)
    widths = {}
    score, _ = draw(rng, 2000)
    for n in (100, 5000):
        estimator = CBPE()
        estimator.fit(*draw(rng, n))
        got = estimator.estimate(PerformanceMetric.ACCURACY, score, score > 0.5)
        widths[n] = got.upper - got.lower
    assert widths[100] > 1.5 * widths[5000]


def test_without_labelled_rows_the_probabilities_are_taken_as_they_are():
    score = np.array([0.9, 0.9, 0.2])
    got = CBPE().estimate(PerformanceMetric.ACCURACY, score, score > 0.5)
    assert got.value == pytest.approx((0.9 + 0.9 + 0.8) / 3)


def test_a_metric_that_has_fallen_is_seen_without_labels():
    rng = np.random.default_rng(4)
    estimator = CBPE()
    estimator.fit(*draw(rng, 5000))
    before, after = draw(rng, 2000)[0], draw(rng, 2000, 0.7)[0]
    accuracy = PerformanceMetric.ACCURACY
    one, other = (estimator.estimate(accuracy, score, score > 0.5) for score in (before, after))
    assert one.value - other.value > 0.1
    assert other.upper < one.lower


def test_calibrated_chances_make_the_expectation():
    estimator = CBPE()
    # Scores of 0.9 are right in 3 of 4 cases, those of 0.2 are positive in 1 of 4.
    estimator.fit(np.repeat([0.9, 0.2], 4), np.array([1, 1, 1, 0, 1, 0, 0, 0], bool))
    score = np.array([0.9, 0.9, 0.2])
    assert estimator.estimate(PerformanceMetric.ACCURACY, score, score > 0.5).value == pytest.approx(0.75)
    # Expected true positives 1.5; two predicted, 1.75 expected: 2 · 1.5 / 3.75.
    assert estimator.estimate(PerformanceMetric.F1, score, score > 0.5).value == pytest.approx(0.8)


def draw_errors(rng, n, mean=0.0):
    """A regression whose errors grow with the first feature's distance from 0."""
    features = rng.normal(mean, 1.0, size=(n, 2))
    predicted = features.sum(axis=1)
    return features, predicted, predicted + rng.normal(size=n) * (1 + np.abs(features[:, 0]))


def realised(metric, predicted, labels):
    errors = labels - predicted
    return np.sqrt(np.mean(errors**2)) if metric is PerformanceMetric.RMSE else np.mean(np.abs(errors))


@pytest.mark.parametrize("metric", [PerformanceMetric.MAE, PerformanceMetric.RMSE])
def test_errors_that_depend_on_the_inputs_are_estimated_where_those_move(metric):
    rng = np.random.default_rng(5)
    estimator = DLE(metric)
    estimator.fit(*draw_errors(rng, 5000))
    features, predicted, labels = draw_errors(rng, 5000, 1.0)
    got = estimator.estimate(features, predicted)
    assert got.value == pytest.approx(realised(metric, predicted, labels), rel=0.06)


@pytest.mark.parametrize("metric", [PerformanceMetric.MAE, PerformanceMetric.RMSE])
def test_the_interval_of_a_loss_holds_the_realised_one(metric):
    rng = np.random.default_rng(8)
    estimator = DLE(metric)
    estimator.fit(*draw_errors(rng, 2000))
    inside = []
    for shift in [0.0, 0.7] * 10:
        features, predicted, labels = draw_errors(rng, 500, shift)
        got = estimator.estimate(features, predicted)
        inside.append(got.lower <= realised(metric, predicted, labels) <= got.upper)
    assert np.mean(inside) >= 0.85


def test_missing_and_huge_inputs_are_estimated_too():
    rng = np.random.default_rng(9)
    features, predicted, labels = draw_errors(rng, 300)
    features[::7, 0], features[::11, 1] = np.nan, 1e99
    estimator = DLE(PerformanceMetric.MAE)
    estimator.fit(features, predicted, labels)
    got = estimator.estimate(features, predicted * 1e60)
    assert np.isfinite([got.value, got.error, got.lower, got.upper]).all()


@pytest.mark.parametrize("metric", [PerformanceMetric.MAE, PerformanceMetric.RMSE])
def test_a_model_that_is_never_off_is_estimated_so(metric):
    features = np.random.default_rng(10).normal(size=(100, 2))
    estimator = DLE(metric)
    estimator.fit(features, features[:, 0], features[:, 0])
    got = estimator.estimate(features, features[:, 0])
    assert (got.value, got.error, got.lower, got.upper) == (0.0, 0.0, 0.0, 0.0)
