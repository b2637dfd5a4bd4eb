"""Estimates against what the labels say, where nothing but the inputs has moved; and against values known by hand."""

import numpy as np
import pytest
from perennial_api.modeldeployment.monitoring import PerformanceMetric
from perennial_observer.monitors.estimators import CBPE, DLE, ESTIMATED_BY_CBPE
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
    assert got == pytest.approx(TRUE[metric](labels, score > 0.5, score), abs=0.02)


def test_a_metric_that_has_fallen_is_seen_without_labels():
    rng = np.random.default_rng(4)
    estimator = CBPE()
    estimator.fit(*draw(rng, 5000))
    before, after = draw(rng, 2000)[0], draw(rng, 2000, 0.7)[0]
    accuracy = PerformanceMetric.ACCURACY
    fall = estimator.estimate(accuracy, before, before > 0.5) - estimator.estimate(
        accuracy, after, after > 0.5
    )
    assert fall > 0.1


def test_calibrated_chances_make_the_expectation():
    estimator = CBPE()
    # Scores of 0.9 are right in 3 of 4 cases, those of 0.2 are positive in 1 of 4.
    estimator.fit(np.repeat([0.9, 0.2], 4), np.array([1, 1, 1, 0, 1, 0, 0, 0], bool))
    score = np.array([0.9, 0.9, 0.2])
    assert estimator.estimate(PerformanceMetric.ACCURACY, score, score > 0.5) == pytest.approx(0.75)
    # Expected true positives 1.5; two predicted, 1.75 expected: 2 · 1.5 / 3.75.
    assert estimator.estimate(PerformanceMetric.F1, score, score > 0.5) == pytest.approx(0.8)


@pytest.mark.parametrize("metric", [PerformanceMetric.MAE, PerformanceMetric.RMSE])
def test_errors_that_depend_on_the_inputs_are_estimated_where_those_move(metric):
    rng = np.random.default_rng(5)

    def draw_errors(n, mean):
        features = rng.normal(mean, 1.0, size=(n, 2))
        predicted = features.sum(axis=1)
        return features, predicted, predicted + rng.normal(size=n) * (1 + np.abs(features[:, 0]))

    estimator = DLE(metric)
    estimator.fit(*draw_errors(20_000, 0.0))
    features, predicted, labels = draw_errors(5000, 1.0)
    errors = labels - predicted
    want = np.sqrt(np.mean(errors**2)) if metric is PerformanceMetric.RMSE else np.mean(np.abs(errors))
    assert estimator.estimate(features, predicted) == pytest.approx(want, rel=0.06)
