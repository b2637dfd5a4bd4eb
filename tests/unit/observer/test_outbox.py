"""What is still to be told waits in the database until it has arrived."""

import asyncio
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from perennial_api.modeldeployment.monitoring import Severity
from perennial_api.monitorreport import MonitorState
from perennial_observer.monitors.windows.records import forget_monitors, write_memory
from perennial_observer.registry import Registry
from perennial_observer.settings import Settings
from perennial_observer.store import tables as t
from perennial_observer.store.log import register_deployment
from perennial_observer.store.store import Store
from perennial_observer.webhooks import outbox, sender
from perennial_observer.webhooks.outbox import address_notes, claim_due, has_due, note_transition, postpone
from perennial_observer.webhooks.sender import Sender
from perennial_observer.webhooks.targets import WebhookTarget
from perennial_observer.webhooks.transitions import Change, Transition, move, tell
from sqlalchemy import func, insert, select

from tests.unit.observer.webhook_notes import (
    ALARM,
    EVERYBODY,
    KEY,
    OK,
    PAGER,
    SILENT,
    SILENT_ALARM,
    deployment,
    memory,
    severe,
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
        address_notes(connection, find, targets, is_gone=lambda uid: find(uid) is None, now=now)
        claims = (
            claim_due(connection, target.digest, now=now, until=now + 120.0, limit=50) for target in targets
        )
        return [item for claim in claims for item in claim]

    return write(store, work)


def test_a_silence_that_follows_upon_an_alarm_is_told_after_its_end(store):
    id_ = write(store, lambda c: register_deployment(c, KEY))
    write(store, lambda c: note_transition(c, id_, "drift", SILENT_ALARM, SILENT))
    first, second = due(store, lambda _: deployment(), EVERYBODY)
    assert first.event_id == "drift-1/cleared"
    assert second.event_id.startswith("drift-")
    assert second.event_id.endswith("/raised/1000")


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


def test_what_is_to_be_told_of_a_deployment_waits_while_nobody_knows_whether_it_was_deleted(store):
    id_ = write(store, lambda c: register_deployment(c, KEY))
    write(store, lambda c: note_transition(c, id_, "drift", OK, ALARM))
    targets = (EVERYBODY,)
    write(store, lambda c: address_notes(c, lambda _: None, targets, is_gone=lambda _: False, now=1.0))
    assert [item.event_id for item in due(store, lambda _: deployment(), EVERYBODY)] == ["drift-1/raised"]


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
