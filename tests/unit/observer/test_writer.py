import threading
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from perennial_observer.errors import NotFound, Overloaded, Unavailable
from perennial_observer.store import tables as t
from perennial_observer.store.engine import open_database
from perennial_observer.store.writer import (
    MAX_BYTES_PER_COMMIT,
    MAX_JOBS_PER_COMMIT,
    MAX_URGENT_JOBS,
    Writer,
)
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError


@pytest.fixture
def engine(tmp_path: Path):
    engine = open_database("", tmp_path)
    yield engine
    engine.dispose()


def add(name: str):
    return lambda connection: connection.execute(
        insert(t.deployment).values(uid=name, namespace="n", name=name)
    )


def names(engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.execute(select(t.deployment.c.uid)).scalars())


def hold(writer: Writer) -> threading.Event:
    """Keep the writer busy, so that what follows is one batch."""
    gate, entered = threading.Event(), threading.Event()
    writer.submit(lambda _: (entered.set(), gate.wait(30)), 0)
    assert entered.wait(30)
    return gate


def test_one_bad_job_fails_alone_and_the_rest_of_its_batch_is_written(engine):
    writer = Writer(engine, 1_000)
    gate = hold(writer)

    def fail(_):
        raise NotFound("no")

    good, bad, twice = writer.submit(add("a"), 1), writer.submit(fail, 1), writer.submit(add("a"), 1)
    other = writer.submit(add("b"), 1)
    gate.set()
    good.result(30)
    other.result(30)
    with pytest.raises(NotFound):
        bad.result(30)
    with pytest.raises(Unavailable):
        twice.result(30)
    writer.close()
    assert names(engine) == {"a", "b"}


def test_the_queue_is_bounded_in_bytes_but_one_large_job_always_fits(engine):
    writer = Writer(engine, 100)
    gate = hold(writer)
    large = writer.submit(add("large"), 5_000)
    with pytest.raises(Overloaded):
        writer.submit(add("refused"), 1)
    gate.set()
    large.result(30)
    writer.close()
    assert writer.waiting_bytes == 0
    assert names(engine) == {"large"}


def test_urgent_jobs_go_before_all_that_waits_and_both_keep_their_order(engine):
    writer = Writer(engine, 10**9)
    gate = hold(writer)
    ran: list[str] = []

    def note(name: str):
        return lambda _: ran.append(name)

    sent = [writer.submit(note(f"entry {i}"), 1) for i in range(2 * MAX_JOBS_PER_COMMIT)]
    sent += [writer.submit(note(f"lease {i}"), 0) for i in range(MAX_JOBS_PER_COMMIT)]
    gate.set()
    for future in sent:
        future.result(30)
    writer.close()
    half = MAX_JOBS_PER_COMMIT // 2
    assert ran[:half] == [f"lease {i}" for i in range(half)]
    # What is urgent keeps the rest from nothing but its half of a commit.
    assert ran[half : 2 * half] == [f"entry {i}" for i in range(half)]
    for kind, count in (("entry", 4 * half), ("lease", 2 * half)):
        assert [name for name in ran if name.startswith(kind)] == [f"{kind} {i}" for i in range(count)]


def test_an_urgent_job_waits_for_a_few_megabytes_at_most(engine):
    writer = Writer(engine, 10**9)
    gate, ran = hold(writer), list[int]()
    sizes = [MAX_BYTES_PER_COMMIT + 1, MAX_BYTES_PER_COMMIT // 2, MAX_BYTES_PER_COMMIT // 2, 1]

    def submit_urgent_at(index: int):
        def work(_):
            ran.append(index)
            if index == 0:
                urgent.append(writer.submit(lambda _: ran.append(-1), 0))

        return work

    urgent: list = []
    sent = [writer.submit(submit_urgent_at(i), size) for i, size in enumerate(sizes)]
    gate.set()
    for future in [*sent, *urgent]:
        future.result(30)
    writer.close()
    assert ran == [0, -1, 1, 2, 3]


def test_urgent_jobs_are_bounded_too_and_a_full_queue_of_entries_keeps_none_out(engine):
    writer = Writer(engine, 100)
    gate = hold(writer)
    writer.submit(add("entry"), 100)
    waiting = [writer.submit(add(f"lease-{i}"), 0) for i in range(MAX_URGENT_JOBS)]
    with pytest.raises(Overloaded):
        writer.submit(add("refused"), 0)
    gate.set()
    waiting[-1].result(60)
    writer.close()
    assert len(names(engine)) == MAX_URGENT_JOBS + 1


def test_a_cancelled_job_writes_nothing(engine):
    writer = Writer(engine, 100)
    gate = hold(writer)
    assert writer.submit(add("gone"), 1).cancel()
    gate.set()
    writer.close()
    assert names(engine) == set()


def test_closing_writes_what_is_queued_and_takes_no_more(engine):
    writer = Writer(engine, 100)
    gate = hold(writer)
    writer.submit(add("last"), 1)
    gate.set()
    writer.close()
    assert names(engine) == {"last"}
    with pytest.raises(Unavailable):
        writer.submit(add("late"), 1)


def test_a_database_of_another_version_is_refused(tmp_path):
    engine = open_database("", tmp_path)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9900'"))
    engine.dispose()
    with pytest.raises(Unavailable, match="version 9900"):
        open_database("", tmp_path)


def test_without_a_turn_the_whole_batch_is_refused_at_once_and_no_job_is_run(engine, monkeypatch):
    writer = Writer(engine, 100)
    gate = hold(writer)
    ran, attempts = list[int](), list[int]()

    @contextmanager
    def wait_in_vain(_):
        attempts.append(1)
        raise DBAPIError.instance("SELECT", None, psycopg.errors.LockNotAvailable("no"), psycopg.Error)
        yield

    monkeypatch.setattr("perennial_observer.store.writer.begin_writing", wait_in_vain)
    sent = [writer.submit(lambda _, i=i: ran.append(i), i % 2) for i in range(10)]
    gate.set()
    for future in sent:
        with pytest.raises(Unavailable) as refused:
            future.result(30)
        assert refused.value.reason == "DatabaseSlow"
    monkeypatch.undo()
    writer.submit(add("later"), 1).result(30)
    writer.close()
    assert (ran, attempts) == ([], [1])
    assert names(engine) == {"later"}


def test_a_job_that_waits_for_a_lock_too_long_fails_alone(engine):
    writer = Writer(engine, 100)
    gate = hold(writer)

    def wait_in_vain(_):
        raise DBAPIError.instance("UPDATE", None, psycopg.errors.LockNotAvailable("no"), psycopg.Error)

    slow, good = writer.submit(wait_in_vain, 1), writer.submit(add("a"), 1)
    gate.set()
    good.result(30)
    with pytest.raises(Unavailable):
        slow.result(30)
    writer.close()
    assert names(engine) == {"a"}
