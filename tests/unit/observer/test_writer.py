import threading
from pathlib import Path

import pytest
from perennial_observer.errors import NotFound, Overloaded, Unavailable
from perennial_observer.store import tables as t
from perennial_observer.store.engine import open_database
from perennial_observer.store.writer import Writer
from sqlalchemy import insert, select, text


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
