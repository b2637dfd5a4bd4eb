"""Which changes are told, to whom, and how."""

import traceback

import pytest
from perennial_api.modeldeployment.monitoring import Monitor, Severity
from perennial_api.monitorreport import MonitorState
from perennial_observer.monitors.alarms.silence import show_monitor
from perennial_observer.settings import Settings
from perennial_observer.webhooks.sender import (
    LONGEST_PAUSE_S,
    MAX_ATTEMPTS,
    Outcome,
    judge_answer,
    pause_s,
)
from perennial_observer.webhooks.targets import WebhookTarget
from perennial_observer.webhooks.transitions import Change, Transition, find_changes, tell
from pydantic import ValidationError
from pydantic_settings import SettingsError

from tests.unit.observer.webhook_notes import (
    ALARM,
    AWAY,
    DRIFT,
    FAILED,
    HINDERED,
    HINDERED_ALARM,
    KEY,
    NEXT,
    OK,
    SILENT,
    SILENT_ALARM,
    memory,
    severe,
)


@pytest.mark.parametrize(
    ("before", "after", "want"),
    [
        (OK, ALARM, [Change.RAISED]),
        (ALARM, ALARM, []),
        (ALARM, NEXT, [Change.RAISED]),
        (ALARM, OK, [Change.CLEARED]),
        (ALARM, None, [Change.CLEARED]),
        (OK, None, []),
        (OK, FAILED, [Change.FAILED]),
        (FAILED, FAILED, []),
        (FAILED, OK, []),
        (OK, HINDERED, [Change.FAILED]),
        (HINDERED, HINDERED, []),
        (HINDERED, OK, []),
        (ALARM, HINDERED_ALARM, [Change.FAILED]),
        (HINDERED_ALARM, OK, [Change.CLEARED]),
        (severe(ALARM, Severity.TICKET), severe(ALARM, Severity.PAGE), [Change.MOVED]),
        (ALARM, severe(ALARM, Severity.PAGE), []),
        (severe(OK, Severity.TICKET), severe(OK, Severity.PAGE), []),
        (severe(ALARM, Severity.TICKET), severe(OK, Severity.TICKET), [Change.CLEARED]),
        (OK, memory(MonitorState.WARNING), []),
        (OK, SILENT, [Change.RAISED]),
        (SILENT, SILENT, []),
        (SILENT, OK, [Change.CLEARED]),
        (SILENT, None, [Change.CLEARED]),
        # The alarm that stands keeps its name, so nobody is called a second time.
        (ALARM, SILENT_ALARM, []),
        (SILENT_ALARM, ALARM, []),
        # Whatever began also ends.
        (SILENT, SILENT_ALARM, [Change.CLEARED, Change.RAISED]),
        (SILENT_ALARM, SILENT, [Change.CLEARED, Change.RAISED]),
    ],
)
def test_alarms_their_ends_and_failures_are_told_and_nothing_else(before, after, want):
    assert list(find_changes(before, after)) == want


def test_silence_is_told_under_the_name_that_the_status_shows():
    spec = Monitor.model_validate(
        {"name": "quality", "type": "DataQuality", "dataQuality": {"maxSilence": "10m"}}
    )
    shown = show_monitor(spec, SILENT, KEY.uid)
    raised = tell(KEY, spec, Transition(monitor="quality", before=OK, after=SILENT))
    cleared = tell(KEY, spec, Transition(monitor="quality", before=SILENT, after=OK))
    data = raised.body["data"]
    assert raised.body["type"] == "dev.perennial.monitor.raised.v1"
    assert raised.body["time"] == "1970-01-01T00:16:40Z"
    assert (data["state"], data["reason"], data["message"]) == ("Alarm", "Silent", shown.message)
    assert (data["breachId"], data["statistic"], data["features"]) == (shown.breach_id, None, [])
    assert (cleared.body["data"]["breachId"], cleared.body["data"]["state"]) == (shown.breach_id, "Ok")
    assert cleared.body["data"]["previousState"] == "Alarm"
    # Told anew after an edit of the monitor, a silence isn't taken for a second attempt.
    later = SILENT.model_copy(update={"last_transition": 2_000.0})
    again = tell(KEY, spec, Transition(monitor="quality", before=OK, after=later))
    assert again.id != raised.id
    assert again.body["data"]["breachId"] == data["breachId"]


def test_an_event_is_a_cloudevent_with_everything_that_the_receiver_needs():
    after = ALARM.model_copy(update={"explanation": "moved most: sugar (0.40)"})
    got = tell(KEY, DRIFT, Transition(monitor="drift", before=OK, after=after))
    assert got.body == {
        "specversion": "1.0",
        "type": "dev.perennial.monitor.raised.v1",
        "source": "/shop/wine",
        "subject": "drift",
        "id": "drift-1/raised",
        "time": "1970-01-01T00:01:40Z",
        "datacontenttype": "application/json",
        "data": {
            "namespace": "shop",
            "deployment": "wine",
            "uid": "uid-1",
            "revision": "wine-1",
            "monitor": "drift",
            "type": "Drift",
            "severity": "Page",
            "breachId": "drift-1",
            "state": "Alarm",
            "previousState": "Ok",
            "reason": "ThresholdExceeded",
            "message": "sugar moved",
            "explanation": "moved most: sugar (0.40)",
            "statistic": 0.4,
            "threshold": 0.1,
            "windowStart": "1970-01-01T00:00:00Z",
            "windowEnd": "1970-01-01T00:01:00Z",
            "features": [{"name": "sugar", "statistic": 0.4}],
        },
    }


def test_an_end_has_the_episode_of_its_beginning():
    raised = tell(KEY, DRIFT, Transition(monitor="drift", before=OK, after=ALARM))
    cleared = tell(KEY, DRIFT, Transition(monitor="drift", before=ALARM, after=OK))
    assert (raised.id, cleared.id) == ("drift-1/raised", "drift-1/cleared")
    assert raised.body["data"]["breachId"] == cleared.body["data"]["breachId"]


def test_the_same_failure_has_the_same_id_and_another_one_another():
    first = Transition(monitor="drift", before=OK, after=FAILED)
    other = Transition(monitor="drift", before=OK, after=memory(MonitorState.ERROR, window_end=120.0))
    assert tell(KEY, DRIFT, first).id == tell(KEY, DRIFT, first).id
    assert tell(KEY, DRIFT, first).id != tell(KEY, DRIFT, other).id


def test_what_keeps_a_monitor_from_judging_is_told_as_it_is_shown():
    shown = show_monitor(DRIFT, HINDERED, KEY.uid)
    told = tell(KEY, DRIFT, Transition(monitor="drift", before=OK, after=HINDERED))
    data = told.body["data"]
    assert (shown.state, shown.reason) == (MonitorState.ERROR, "DetectorsUnavailable")
    assert (data["state"], data["reason"], data["message"]) == ("Error", shown.reason, shown.message)
    assert (told.body["time"], data["previousState"], data["breachId"]) == (
        "1970-01-01T00:33:20Z",
        "Ok",
        None,
    )
    later = OK.model_copy(update={"hindrance": AWAY.model_copy(update={"since": 3_000.0})})
    assert tell(KEY, DRIFT, Transition(monitor="drift", before=OK, after=later)).id != told.id


@pytest.mark.parametrize(
    ("least", "want"),
    [("Log", ["Log", "Ticket", "Page"]), ("Ticket", ["Ticket", "Page"]), ("Page", ["Page"])],
)
def test_a_receiver_gets_what_is_severe_enough(least, want):
    target = WebhookTarget.model_validate({"url": "http://a/", "minSeverity": least})
    assert {kind.value for kind in Severity if target.wants(kind)} == set(want)


@pytest.mark.parametrize(
    "bad",
    [
        {"url": "ftp://a/"},
        {"url": "/hook"},
        {"url": "http://"},
        {"minSeverity": "Page"},
        {"url": "http://a/", "minSeverity": "page"},
        {"url": "http://a/", "retries": 3},
    ],
)
def test_a_receiver_that_makes_no_sense_is_refused(bad):
    with pytest.raises(ValidationError):
        WebhookTarget.model_validate(bad)


@pytest.mark.parametrize(
    "bad",
    [
        '{"url": "ftp://a/s3cret"}',
        '{"url": "https://a/s3cret", "retries": 3}',
        '{"url": "https://a/s3cret", "minSeverity": "s3cret"}',
        '{"address": "https://a/s3cret"}',
        '"https://a/s3cret"',
        '{"url": "https://a/s3cret"',
    ],
)
def test_an_address_is_in_no_error(bad, monkeypatch):
    monkeypatch.setenv("PERENNIAL_WEBHOOKS", f"[{bad}]")
    with pytest.raises((ValidationError, SettingsError)) as caught:
        Settings()
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_an_address_is_not_in_what_settings_print(monkeypatch):
    monkeypatch.setenv("PERENNIAL_WEBHOOKS", '[{"url": "https://a/s3cret"}]')
    assert "s3cret" not in f"{Settings()!r}"


@pytest.mark.parametrize(
    ("status", "attempts", "want"),
    [
        (200, 1, Outcome.DELIVERED),
        (204, MAX_ATTEMPTS, Outcome.DELIVERED),
        (302, 1, Outcome.REFUSED),
        (404, 1, Outcome.REFUSED),
        (408, 1, Outcome.FAILED),
        (429, 1, Outcome.FAILED),
        (500, 1, Outcome.FAILED),
        (0, 1, Outcome.FAILED),
        (503, MAX_ATTEMPTS, Outcome.GIVEN_UP),
        (0, MAX_ATTEMPTS, Outcome.GIVEN_UP),
    ],
)
def test_what_may_pass_is_tried_again_a_limited_number_of_times(status, attempts, want):
    assert judge_answer(status, attempts) is want


def test_pauses_grow_to_a_bound():
    pauses = [pause_s(attempts, 0.0) for attempts in range(1, MAX_ATTEMPTS + 1)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S
    assert pause_s(3, 1.0) == pauses[2] / 2
