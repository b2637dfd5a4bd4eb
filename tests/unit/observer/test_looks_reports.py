"""What is reported beside verdicts, and what makes a monitor start afresh."""

from typing import Any

import pytest
from perennial_api.modeldeployment.monitoring import Monitoring, Severity
from perennial_observer.monitors.looks.reports import report_waiting
from perennial_observer.monitors.looks.spec_digest import digest_spec


def digest(monitor: dict[str, Any] | None = None, **monitoring: Any) -> str:
    drift = {"name": "drift", "type": "Drift", **(monitor or {})}
    spec = Monitoring.model_validate({"monitors": [drift], **monitoring})
    return digest_spec(spec.monitors[0], spec.settings_for(spec.monitors[0]), (), spec)


def test_a_monitor_that_waits_shows_its_severity():
    spec = Monitoring.model_validate({"monitors": [{"name": "drift", "type": "Drift", "severity": "Page"}]})
    got = report_waiting(spec.monitors[0], "NoRevision", "no revision is stable yet")
    assert got.severity is Severity.PAGE


def test_another_severity_keeps_what_is_remembered():
    assert digest({"severity": "Page"}) == digest({"severity": "Log"}) == digest()


@pytest.mark.parametrize(
    "changed",
    [
        {"eventTime": "sold_at"},
        {"defaults": {"window": {"size": 500}}},
        {"defaults": {"falseAlarmEvery": "7d"}},
        {"reference": {"seasonality": "Daily"}},
    ],
)
def test_what_windows_or_thresholds_depend_on_starts_afresh(changed):
    assert digest(**changed) != digest()


def test_another_event_time_starts_afresh():
    assert digest(eventTime="sold_at") != digest(eventTime="billed_at")
