import asyncio
import traceback
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from perennial_api import ModelDeployment
from perennial_api.modeldeployment.monitoring import Monitor, Severity
from perennial_api.monitorreport import MonitorState
from perennial_observer.monitors.alarms.rule import AlarmState
from perennial_observer.monitors.alarms.silence import show_monitor
from perennial_observer.monitors.alarms.verdicts import Assessment, Hindrance, Memory
from perennial_observer.monitors.windows.records import forget_monitors, write_memory
from perennial_observer.registry import Registry
from perennial_observer.settings import Settings
from perennial_observer.store import tables as t
from perennial_observer.store.log import register_deployment
from perennial_observer.store.rows import DeploymentKey
from perennial_observer.store.store import Store
from perennial_observer.webhooks import outbox, sender
from perennial_observer.webhooks.outbox import address_notes, claim_due, has_due, note_transition, postpone
from perennial_observer.webhooks.sender import (
    LONGEST_PAUSE_S,
    MAX_ATTEMPTS,
    Outcome,
    Sender,
    judge_answer,
    pause_s,
)
from perennial_observer.webhooks.targets import WebhookTarget
from perennial_observer.webhooks.transitions import Change, Transition, find_changes, move, tell
from pydantic import ValidationError
from pydantic_settings import SettingsError
from sqlalchemy import func, insert, select

KEY = DeploymentKey("uid-1", "shop", "wine")
DRIFT = Monitor.model_validate({"name": "drift", "type": "Drift", "severity": "Page"})
EVERYBODY = WebhookTarget(url="https://a.example/hook", min_severity=Severity.LOG)
PAGER = WebhookTarget(url="https://b.example/hook", min_severity=Severity.PAGE)


def memory(state: MonitorState = MonitorState.OK, breach: str | None = None, **changes) -> Memory:
    latest = Assessment(
        breached=breach is not None,
        reason="ThresholdExceeded",
        message="sugar moved",
        samples=100,
        statistic=0.4,
        threshold=0.1,
        features=(("sugar", 0.4),),
    )
    return Memory(
        revision="wine-1",
        spec_digest="d",
        alarm=AlarmState(breach_id=breach),
        state=state,
        reason="ThresholdExceeded",
        message="sugar moved",
        latest=latest,
        window_start=0.0,
        window_end=60.0,
        evaluated_at=100.0,
    ).model_copy(update=changes)


OK, ALARM, NEXT = memory(), memory(MonitorState.ALARM, "drift-1"), memory(MonitorState.ALARM, "drift-2")
FAILED = memory(MonitorState.ERROR)
AWAY = Hindrance(reason="DetectorsUnavailable", message="the sidecar doesn't answer", since=2_000.0)
HINDERED, HINDERED_ALARM = (found.model_copy(update={"hindrance": AWAY}) for found in (OK, ALARM))
SILENT = memory(silent_since=300.0, last_transition=1_000.0)
SILENT_ALARM = ALARM.model_copy(update={"silent_since": 300.0})


def severe(found: Memory, severity: Severity) -> Memory:
    return found.model_copy(update={"severity": severity})


def deployment(severity: str = "Page", monitors: int = 1) -> ModelDeployment:
    spec = [{"name": "drift", "type": "Drift", "severity": severity}][:monitors]
    return ModelDeployment.model_validate(
        {
            "apiVersion": "perennial.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": KEY.name, "namespace": KEY.namespace, "uid": KEY.uid},
            "spec": {"model": {"uri": "perennial://sha256:" + "0" * 64}, "monitoring": {"monitors": spec}},
        }
    )


@pytest.fixture
def store(tmp_path: Path):
    opened = Store.open(Settings(data_dir=tmp_path))
    try:
        yield opened
    finally:
        opened.close()


def write(store: Store, work):
    return store.writer.submit(work, 0).result(60)


def count(store: Store) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(t.webhook_event)).scalar_one()


def due(store: Store, find, *targets: WebhookTarget, now: float = 1.0):
    def work(connection):
        address_notes(connection, find, targets, now=now)
        claims = (
            claim_due(connection, target.digest, now=now, until=now + 120.0, limit=50) for target in targets
        )
        return [item for claim in claims for item in claim]

    return write(store, work)


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


def test_a_silence_that_follows_upon_an_alarm_is_told_after_its_end(store):
    id_ = write(store, lambda c: register_deployment(c, KEY))
    write(store, lambda c: note_transition(c, id_, "drift", SILENT_ALARM, SILENT))
    first, second = due(store, lambda _: deployment(), EVERYBODY)
    assert first.event_id == "drift-1/cleared"
    assert second.event_id.startswith("drift-")
    assert second.event_id.endswith("/raised/1000")


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


def test_a_change_of_memory_waits_in_the_database_for_each_receiver_that_wants_it(store):
    id_ = write(store, lambda c: register_deployment(c, KEY))
    write(store, lambda c: write_memory(c, id_, "drift", OK))
    assert count(store) == 0
    write(store, lambda c: write_memory(c, id_, "drift", ALARM))
    write(store, lambda c: write_memory(c, id_, "drift", ALARM))
    assert count(store) == 1
    got = due(store, lambda _: deployment("Ticket"), EVERYBODY, PAGER)
    assert [(item.event_id, item.target) for item in got] == [("drift-1/raised", EVERYBODY.digest)]
    write(store, lambda c: write_memory(c, id_, "drift", OK))
    got = due(store, lambda _: deployment("Page"), EVERYBODY, PAGER)
    assert {(item.event_id, item.target) for item in got} == {
        ("drift-1/cleared", EVERYBODY.digest),
        ("drift-1/cleared", PAGER.digest),
    }


def test_the_end_of_a_removed_monitors_alarm_goes_to_everybody(store):
    id_ = write(store, lambda c: register_deployment(c, KEY))
    write(store, lambda c: write_memory(c, id_, "drift", ALARM))
    write(store, lambda c: forget_monitors(c, id_, {"drift"}))
    got = due(store, lambda _: deployment(monitors=0), EVERYBODY, PAGER)
    assert [item.event_id for item in got] == ["drift-1/cleared"] * 2


def test_another_severity_begins_or_ends_an_alarm_for_those_whom_it_concerns_now(store):
    id_ = write(store, lambda c: register_deployment(c, KEY))

    def told(severity: Severity):
        write(store, lambda c: write_memory(c, id_, "drift", severe(ALARM, severity)))
        got = due(store, lambda _: deployment(severity.value), EVERYBODY, PAGER)
        return [(item.event_id.rsplit("/", 1)[0], item.target) for item in got]

    write(store, lambda c: write_memory(c, id_, "drift", severe(OK, Severity.TICKET)))
    assert told(Severity.TICKET) == [("drift-1", EVERYBODY.digest)]
    assert told(Severity.PAGE) == [("drift-1/raised", PAGER.digest)]
    assert told(Severity.PAGE) == []
    assert told(Severity.LOG) == [("drift-1/cleared", PAGER.digest)]
    write(store, lambda c: write_memory(c, id_, "drift", severe(OK, Severity.LOG)))
    got = due(store, lambda _: deployment("Log"), EVERYBODY, PAGER)
    assert [(item.event_id, item.target) for item in got] == [("drift-1/cleared", EVERYBODY.digest)]


def test_whom_an_alarm_doesn_t_concern_any_more_is_told_that_it_stands(store):
    before, after = severe(ALARM, Severity.PAGE), severe(ALARM, Severity.TICKET)
    meant = move(Transition(monitor="drift", before=before, after=after, change=Change.MOVED), PAGER.wants)
    told = tell(KEY, deployment("Ticket").spec.monitoring.monitors[0], meant, moved=7)
    data = told.body["data"]
    assert (told.id, data["breachId"], data["state"]) == ("drift-1/cleared/7", "drift-1", "Alarm")
    assert (data["reason"], data["message"]) == ("SeverityChanged", "the alarm stands, with severity Ticket")


def test_what_is_claimed_is_nobody_elses_until_the_claim_ends_and_counts_its_attempts(store):
    id_ = write(store, lambda c: register_deployment(c, KEY))
    write(store, lambda c: note_transition(c, id_, "drift", OK, ALARM))
    (first,) = due(store, lambda _: deployment(), EVERYBODY, now=1.0)
    assert due(store, lambda _: deployment(), EVERYBODY, now=100.0) == []
    (again,) = due(store, lambda _: deployment(), EVERYBODY, now=200.0)
    assert (again.event_id, again.body, again.attempts) == (first.event_id, first.body, 0)
    write(store, lambda c: postpone(c, {again.id: 300.0}))
    with store.read() as connection:
        assert not has_due(connection, EVERYBODY.digest, now=299.0)
    (third,) = due(store, lambda _: deployment(), EVERYBODY, now=300.0)
    assert third.attempts == 1


def test_nothing_is_kept_for_deployments_and_receivers_that_are_gone(store):
    id_ = write(store, lambda c: register_deployment(c, KEY))
    write(store, lambda c: note_transition(c, id_, "drift", OK, ALARM))
    assert due(store, lambda _: None, EVERYBODY) == []
    assert count(store) == 0
    write(store, lambda c: note_transition(c, id_, "drift", OK, ALARM))
    assert len(due(store, lambda _: deployment(), EVERYBODY)) == 1
    assert due(store, lambda _: deployment(), PAGER, now=1_000.0) == []
    assert count(store) == 0


def test_a_note_that_makes_no_sense_any_more_holds_up_nothing(store, caplog):
    id_ = write(store, lambda c: register_deployment(c, KEY))
    broken = {"event_id": "raised", "target": "", "body": '{"monitor": "drift"}', "attempts": 0, "due": 0.0}
    write(store, lambda c: c.execute(insert(t.webhook_event).values(deployment_id=id_, **broken)))
    write(store, lambda c: note_transition(c, id_, "drift", OK, ALARM))
    (got,) = due(store, lambda _: deployment(), EVERYBODY)
    assert (got.event_id, count(store)) == ("drift-1/raised", 1)
    assert "webhook note dropped deployment=uid-1" in caplog.text


class StuckWriter:
    """Takes jobs and never runs them, or breaks."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.futures: list[Future] = []

    def submit(self, work, size_bytes: int) -> Future:
        if self.error is not None:
            raise self.error
        self.futures.append(Future())
        return self.futures[-1]


@pytest.mark.parametrize(
    ("error", "want"), [(None, "reason=DatabaseStuck"), (KeyError("odd"), "webhooks failed")]
)
async def test_a_database_that_is_stuck_or_an_error_does_not_end_the_sender(
    store, monkeypatch, caplog, error, want
):
    monkeypatch.setattr(sender, "WRITE_TIMEOUT_S", 0.01)
    monkeypatch.setattr(sender, "POLL_S", 0.01)
    id_ = write(store, lambda c: register_deployment(c, KEY))
    write(store, lambda c: note_transition(c, id_, "drift", OK, ALARM))
    writer = StuckWriter(error)
    registry = Registry()
    registry.replace([deployment()])
    stuck = replace(store, writer=writer)
    running = asyncio.ensure_future(Sender(stuck, registry, (EVERYBODY,), lambda: 1.0, lambda _: None).run())
    while caplog.text.count(want) < 2:
        await asyncio.sleep(0.01)
        assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    # A write that nobody waits for any more isn't done later.
    assert all(future.cancelled() for future in writer.futures[:1])


def test_what_waits_is_bounded_and_the_oldest_go(store, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_WAITING", 3)
    id_ = write(store, lambda c: register_deployment(c, KEY))
    for number in range(5):
        alarm = memory(MonitorState.ALARM, f"drift-{number}")
        write(store, lambda c, alarm=alarm: note_transition(c, id_, "drift", OK, alarm))
    got = due(store, lambda _: deployment(), EVERYBODY)
    assert [item.event_id for item in got] == [f"drift-{n}/raised" for n in (2, 3, 4)]


async def test_what_waits_for_one_receiver_pushes_out_no_others_and_what_goes_is_counted(store, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_WAITING", 3)
    id_ = write(store, lambda c: register_deployment(c, KEY))
    registry = Registry()
    registry.replace([deployment("Ticket")])
    counted = []
    sending = Sender(store, registry, (EVERYBODY, PAGER), lambda: 1.0, counted.append)
    write(store, lambda c: note_transition(c, id_, "gone", ALARM, None))
    await sending.address()
    for number in range(4):
        alarm = memory(MonitorState.ALARM, f"drift-{number}")
        write(store, lambda c, alarm=alarm: note_transition(c, id_, "drift", OK, alarm))
        await sending.address()
    assert counted == ["dropped", "dropped"]
    got = due(store, lambda _: deployment(), EVERYBODY, PAGER)
    assert [item.event_id for item in got if item.target == PAGER.digest] == ["drift-1/cleared"]
    assert len(got) == 4


def test_an_address_is_not_in_the_database(store):
    id_ = write(store, lambda c: register_deployment(c, KEY))
    write(store, lambda c: note_transition(c, id_, "drift", OK, ALARM))
    (got,) = due(store, lambda _: deployment(), EVERYBODY)
    assert "a.example" not in f"{got}"
