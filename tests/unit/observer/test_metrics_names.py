"""Names and labels are an API: dashboards and alerts of others stand on them."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from perennial_api.monitorreport import LogCounts as ReportedCounts
from perennial_api.monitorreport import MonitorReportStatus, MonitorVerdict
from perennial_observer.metrics import Metrics
from perennial_observer.monitors.alarms.verdicts import MAX_FEATURES, Assessment, Memory, Tally
from perennial_observer.monitors.looks.reports import DeploymentReport
from perennial_observer.settings import Settings
from perennial_observer.store.rows import Counts, DeploymentKey, FeedbackCounts, LogCounts
from perennial_observer.store.store import Store

KEY = DeploymentKey("uid", "shop", "wine")
OTHER = DeploymentKey("uid-2", "bank", "fraud")
TALLY = Tally(passed=5, breached=2, insufficient=1)
DEPLOYMENT = {"namespace", "deployment"}
MONITOR = DEPLOYMENT | {"monitor", "type", "severity"}
WANT = {
    "perennial_monitor_statistic": MONITOR | {"feature"},
    "perennial_monitor_threshold": MONITOR,
    "perennial_monitor_breach": MONITOR,
    "perennial_monitor_window_samples": MONITOR,
    "perennial_monitor_state": MONITOR | {"state"},
    "perennial_monitor_calibrated": MONITOR,
    "perennial_monitor_last_evaluation_timestamp_seconds": MONITOR,
    "perennial_monitor_evaluations": MONITOR | {"result"},
    "perennial_monitor_breaches": MONITOR,
    "perennial_model_performance": MONITOR | {"metric", "kind"},
    "perennial_model_performance_lower": MONITOR | {"metric", "kind"},
    "perennial_model_performance_upper": MONITOR | {"metric", "kind"},
    "perennial_label_coverage_ratio": MONITOR,
    "perennial_log_watermark_timestamp_seconds": DEPLOYMENT,
    "perennial_log_rows": DEPLOYMENT | {"result"},
    "perennial_log_rejected_rows": DEPLOYMENT | {"reason"},
    "perennial_labels": DEPLOYMENT | {"result"},
    "perennial_observer_refused_requests": {"reason"},
    "perennial_observer_webhooks": {"result"},
    "perennial_observer_looks": {"result"},
    "perennial_observer_comparisons": {"result"},
}


def report(**changes) -> DeploymentReport:
    latest = Assessment(
        breached=True,
        reason="BoundExceeded",
        message="free text",
        samples=300,
        statistic=0.6,
        threshold=0.8,
        lower=0.5,
        upper=0.7,
        metric="roc_auc",
        calibrated=False,
        coverage=0.9,
        features=(("sugar", 0.4),),
    ).model_copy(update=changes)
    memory = Memory(revision="wine-1", spec_digest="d", latest=latest, evaluated_at=5.0, tally=TALLY)
    verdicts = (
        MonitorVerdict.model_validate(
            {
                "name": "auc",
                "type": "Performance",
                "severity": "Page",
                "state": "Alarm",
                "message": "free text",
            }
        ),
        MonitorVerdict.model_validate({"name": "guess", "type": "EstimatedPerformance", "state": "Ok"}),
    )
    status = MonitorReportStatus(
        log=ReportedCounts(watermark=datetime.fromtimestamp(5, UTC)), monitors=verdicts
    )
    return DeploymentReport(KEY, Counts(), status, {"auc": memory, "guess": memory})


@pytest.fixture
def reports() -> dict[str, DeploymentReport]:
    return {KEY.uid: report()}


@pytest.fixture
def metrics(tmp_path: Path, reports):
    store = Store.open(Settings(data_dir=tmp_path))
    try:
        yield Metrics(store, lambda: reports)
    finally:
        store.close()


def labels_by_name(metrics: Metrics) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            found.setdefault(family.name, set()).update(sample.labels)
    return found


def fill(metrics: Metrics, key: DeploymentKey = KEY) -> None:
    metrics.count_log(key, LogCounts(1, 0, 1, reasons={"MissingColumn": 1}))
    metrics.count_feedback(key, FeedbackCounts(1, 0, 0, 0, 0))
    metrics.refused.labels("InvalidBody").inc()
    metrics.count_webhook("delivered")


def values(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sorted(sample.labels.values())): sample.value
        for family in metrics.registry.collect()
        if family.name == name
        for sample in family.samples
    }


def test_names_and_labels_are_those_that_are_promised(metrics):
    fill(metrics)
    got = {name: labels for name, labels in labels_by_name(metrics).items() if labels}
    assert got == WANT
    assert not any(":" in name for name in labels_by_name(metrics))


def test_series_are_there_before_anything_happens_so_that_a_rate_sees_the_first_event(metrics):
    metrics.keep_only({(KEY.namespace, KEY.name)})
    before = {name: values(metrics, name) for name in labels_by_name(metrics)}
    metrics.looks.labels("error").inc()
    metrics.comparisons.labels("error").inc()
    for result in ("delivered", "failed", "refused", "given_up"):
        metrics.count_webhook(result)
    metrics.count_log(KEY, LogCounts(1, 1, 1, 1, 1))
    metrics.count_feedback(KEY, FeedbackCounts(1, 1, 1, 1, 1))
    for name in (
        "perennial_observer_looks",
        "perennial_observer_comparisons",
        "perennial_observer_webhooks",
        "perennial_log_rows",
        "perennial_labels",
    ):
        assert set(values(metrics, name)) == set(before[name])


def test_counts_of_a_deployment_are_kept_while_it_exists(metrics):
    fill(metrics)
    metrics.keep_only({(KEY.namespace, KEY.name)})
    text = metrics.render()
    assert b'perennial_log_rows_total{deployment="wine",namespace="shop",result="accepted"} 1.0' in text
    assert b'perennial_log_rows_total{deployment="wine",namespace="shop",result="shadow"} 0.0' in text


def test_no_free_text_reaches_a_label(metrics):
    fill(metrics)
    assert b"free text" not in metrics.render()


def test_features_are_bounded(metrics, reports):
    reports[KEY.uid] = report(features=tuple((f"c{i:03}", 0.5) for i in range(200)))
    got = {labels for labels in values(metrics, "perennial_monitor_statistic") if "Page" in labels}
    assert len(got) == MAX_FEATURES + 1


def test_performance_is_realised_or_estimated_by_the_monitors_type(metrics):
    got = values(metrics, "perennial_model_performance")
    assert {labels for labels in got if "realised" in labels and "auc" in labels}
    assert {labels for labels in got if "estimated" in labels and "guess" in labels}
    assert set(got.values()) == {0.6}


def test_windows_are_counted_by_what_came_of_them(metrics):
    place = 'deployment="wine",monitor="auc",namespace="shop",'
    ends = 'severity="Page",type="Performance"} '
    text = metrics.render().decode()
    for result, windows in TALLY:
        assert f'perennial_monitor_evaluations_total{{{place}result="{result}",{ends}{windows}.0' in text
    assert f"perennial_monitor_breaches_total{{{place}{ends}2.0" in text


def test_a_monitor_that_has_judged_nothing_yet_counts_from_zero(metrics, reports):
    reports[KEY.uid] = replace(reports[KEY.uid], memories={})
    assert set(values(metrics, "perennial_monitor_evaluations").values()) == {0}


def test_one_state_is_1(metrics):
    got = values(metrics, "perennial_monitor_state")
    assert {labels: value for labels, value in got.items() if "auc" in labels and value} == {
        tuple(sorted(("shop", "wine", "auc", "Performance", "Page", "Alarm"))): 1.0
    }


def test_a_deleted_deployment_leaves_nothing_behind(metrics, reports):
    fill(metrics)
    fill(metrics, OTHER)
    reports.clear()
    metrics.keep_only({("bank", "fraud")})
    text = metrics.render()
    assert b"wine" not in text
    assert b'perennial_log_rows_total{deployment="fraud",namespace="bank",result="accepted"} 1.0' in text
    metrics.keep_only(set())
    assert b"fraud" not in metrics.render()
