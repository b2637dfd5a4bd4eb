from typing import Any

import pytest
from perennial.cluster.events import LONGEST_NOTE
from perennial.rollout.decision import EventReason
from perennial.rollout.status import monitor_notices
from perennial_api.monitorreport import MonitorReportStatus, MonitorVerdict


def verdict(state: str, **changes: Any) -> MonitorVerdict:
    return MonitorVerdict.model_validate({"name": "drift", "type": "Drift", "state": state, **changes})


def notices(before: MonitorVerdict | None, after: MonitorVerdict) -> list[tuple[EventReason, bool]]:
    report = MonitorReportStatus(monitors=(after,))
    found = monitor_notices(report, () if before is None else (before,))
    return [(notice.reason, notice.is_warning) for notice in found]


RAISED, CLEARED = (EventReason.ALARM_RAISED, True), (EventReason.ALARM_CLEARED, False)
FAILED = (EventReason.MONITOR_FAILED, True)


@pytest.mark.parametrize(
    ("before", "after", "want"),
    [
        (None, "Alarm", [RAISED]),
        ("Warning", "Alarm", [RAISED]),
        ("Error", "Alarm", [RAISED]),
        ("Alarm", "Alarm", []),
        ("Alarm", "Ok", [CLEARED]),
        ("Alarm", "Insufficient", [CLEARED]),
        ("Ok", "Warning", []),
        ("Ok", "Error", [FAILED]),
        (None, "Error", [FAILED]),
        ("Error", "Error", []),
        ("Error", "Ok", []),
        (None, "Ok", []),
    ],
)
def test_an_event_tells_of_an_alarm_raised_or_cleared_and_of_a_monitor_that_failed(
    before: str | None, after: str, want: list[tuple[EventReason, bool]]
) -> None:
    assert notices(None if before is None else verdict(before), verdict(after)) == want


def test_another_episode_is_told_even_if_its_clearing_was_missed() -> None:
    first, second = verdict("Alarm", breachId="drift-1"), verdict("Alarm", breachId="drift-2")
    assert notices(first, second) == [RAISED]
    assert notices(second, second) == []


@pytest.mark.parametrize(("severity", "want"), [("Page", [RAISED]), ("Ticket", [RAISED]), ("Log", [])])
def test_a_monitor_of_severity_log_makes_no_event(
    severity: str, want: list[tuple[EventReason, bool]]
) -> None:
    assert notices(verdict("Ok", severity=severity), verdict("Alarm", severity=severity)) == want
    assert not any(notices(verdict("Ok", severity="Log"), verdict("Error", severity="Log")))


def test_an_alarms_event_says_its_severity_and_what_moved() -> None:
    alarm = verdict(
        "Alarm", severity="Page", message="over the threshold", explanation="moved most: sugar (0.41)"
    )
    (notice,) = monitor_notices(MonitorReportStatus(monitors=(alarm,)), ())
    assert notice.message == "Page: drift: over the threshold (moved most: sugar (0.41))"
    assert len(notice.message) <= LONGEST_NOTE
