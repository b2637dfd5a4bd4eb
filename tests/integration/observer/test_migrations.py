"""A database of an earlier release goes on; one of a later release is left alone."""

import asyncio
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from perennial_observer.errors import Unavailable
from perennial_observer.settings import Settings
from perennial_observer.store import engine
from perennial_observer.store import tables as t
from perennial_observer.store.log import write_log
from perennial_observer.store.migrations import migrate, newest_revision, version_4
from perennial_observer.store.migrations.versions import r0011_score_sizes
from perennial_observer.store.rows import DeploymentKey, PredictionRow
from perennial_observer.store.scores import write_scores
from perennial_observer.store.store import Store
from sqlalchemy import create_engine, delete, insert, select, text, update

# As release 1 made it, with one prediction and one label in it.
VERSION_1 = """
CREATE TABLE schema_version (version INTEGER NOT NULL PRIMARY KEY);
INSERT INTO schema_version VALUES (1);
CREATE TABLE deployment (id INTEGER NOT NULL PRIMARY KEY, uid VARCHAR(64) NOT NULL UNIQUE,
    namespace VARCHAR(63) NOT NULL, name VARCHAR(63) NOT NULL, latest_event FLOAT, predictions BIGINT NOT NULL,
    labels BIGINT NOT NULL, rejected BIGINT NOT NULL);
INSERT INTO deployment VALUES (1, 'uid-1', 'shop', 'wine', 5.0, 1, 0, 0);
CREATE TABLE prediction (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, deployment_id INTEGER NOT NULL,
    prediction_id VARCHAR(128) NOT NULL, row INTEGER NOT NULL, revision VARCHAR(63) NOT NULL,
    event_time FLOAT NOT NULL, arrival FLOAT NOT NULL, inputs TEXT NOT NULL, outputs TEXT NOT NULL,
    UNIQUE (deployment_id, prediction_id, row));
INSERT INTO prediction VALUES (1, 1, 'p', 0, 'wine-1', 5.0, 5.0, '{}', '{"predict":1}');
CREATE TABLE feedback (id INTEGER NOT NULL PRIMARY KEY, deployment_id INTEGER NOT NULL,
    prediction_id VARCHAR(128) NOT NULL, row INTEGER NOT NULL, label TEXT NOT NULL, arrival FLOAT NOT NULL,
    known BOOLEAN NOT NULL, UNIQUE (deployment_id, prediction_id, row),
    FOREIGN KEY(deployment_id) REFERENCES deployment (id));
CREATE INDEX feedback_by_known ON feedback (known, arrival);
INSERT INTO feedback VALUES (7, 1, 'p', 0, '1', 6.0, 1);
"""


def make_database(settings: Settings, script: str) -> None:
    settings.data_dir.mkdir(parents=True)
    with sqlite3.connect(settings.data_dir / "observer.db") as connection:
        connection.executescript(script)


def check(settings: Settings) -> None:
    store = Store.open(settings)
    try:
        with store.read() as connection:
            p = t.prediction.c
            row = connection.execute(select(p.prediction_id, p.client, p.flags)).one()
            assert tuple(row) == ("p", None, None)
            label = connection.execute(select(t.feedback.c.id, t.feedback.c.prediction_id)).one()
            assert tuple(label) == (7, "p")
            assert connection.execute(select(t.comparison)).all() == []
            assert (
                connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
                == newest_revision()
            )
    finally:
        store.close()


def test_a_database_of_release_1_keeps_its_log(settings):
    make_database(settings, VERSION_1)
    check(settings)
    check(settings)


def test_what_migrating_a_large_log_sorts_lies_in_files_beside_it_and_not_in_memory(settings, monkeypatch):
    # A quote is allowed in a folder's name.
    settings = settings.model_copy(update={"data_dir": settings.data_dir / "o'brien"})
    make_database(settings, VERSION_1)
    found: set[Path] = set()

    def sort_much(connection):
        def look() -> int:
            for entry in Path("/proc/self/fd").iterdir():
                with suppress(OSError):
                    path = Path(str(entry.readlink()).removesuffix(" (deleted)"))
                    found.update({path.parent} if path.name.startswith("etilqs_") else ())
            return 0

        connection.execute(text("CREATE TABLE large (key TEXT)"))
        connection.execute(
            text(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
                "INSERT INTO large SELECT hex(randomblob(32)) FROM n"
            )
        )
        driver = connection.connection.driver_connection
        driver.set_progress_handler(look, 20_000)
        connection.execute(text("CREATE INDEX large_by_key ON large (key)"))
        driver.set_progress_handler(None, 0)
        connection.execute(text("DROP TABLE large"))
        migrate(connection)

    monkeypatch.setattr(engine, "migrate", sort_much)
    check(settings)
    assert found == {settings.data_dir}
    store = Store.open(settings)
    with store.read() as connection:
        assert connection.execute(text("PRAGMA temp_store")).scalar_one() == 2
        assert connection.execute(text("PRAGMA temp_store_directory")).scalar() is None
    store.close()


@pytest.mark.parametrize(
    "half",
    [
        "ALTER TABLE prediction ADD COLUMN client VARCHAR(64);",
        "CREATE TABLE feedback_3 (id INTEGER);",
        "ALTER TABLE prediction ADD COLUMN flags TEXT;",
    ],
)
def test_a_step_that_was_cut_short_is_taken_again(settings, half):
    make_database(settings, VERSION_1 + half)
    check(settings)


def test_the_id_of_a_label_that_has_gone_is_given_to_no_other(settings):
    make_database(settings, VERSION_1)
    store = Store.open(settings)
    label = {"deployment_id": 1, "prediction_id": "q", "row": 0, "label": "1", "arrival": 7.0, "known": False}
    try:
        store.writer.submit(lambda connection: connection.execute(delete(t.feedback)).rowcount, 0).result(60)
        added = store.writer.submit(lambda c: c.execute(insert(t.feedback), [label]).rowcount, 0)
        assert added.result(60) == 1
        with store.read() as connection:
            assert connection.execute(select(t.feedback.c.id)).scalar_one() == 8
    finally:
        store.close()


def test_a_database_of_a_later_release_is_refused(settings):
    make_database(settings, VERSION_1 + "UPDATE schema_version SET version = 99;")
    with pytest.raises(Unavailable, match="version 99") as refused:
        Store.open(settings)
    assert refused.value.reason == "SchemaVersion"


def test_a_release_before_alembic_is_kept_away_by_the_number_it_looks_at(settings):
    Store.open(settings).close()
    with sqlite3.connect(settings.data_dir / "observer.db") as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchone()[0] > version_4.VERSION


@pytest.mark.parametrize("start", ["nothing", "version 4"])
def test_the_revisions_lead_to_the_tables_of_the_program(on_each, start):
    if start == "version 4":
        write_version_4(on_each)
    store = Store.open(on_each)
    try:
        with store.read() as connection:
            context = MigrationContext.configure(connection, opts={"include_object": is_ours})
            assert compare_metadata(context, t.metadata) == []
            if start == "version 4":
                assert connection.execute(select(t.prediction.c.prediction_id)).scalar_one() == "p"
    finally:
        store.close()


def write_version_4(settings: Settings) -> None:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    old_engine = create_engine(settings.database_url or f"sqlite:///{settings.data_dir / 'observer.db'}")
    old = version_4.metadata.tables
    key = {"deployment_id": 1, "prediction_id": "p", "row": 0, "revision": "wine-1"}
    row = {"event_time": 5.0, "arrival": 5.0, "inputs": "{}", "outputs": "{}"}
    with old_engine.begin() as connection:
        version_4.metadata.create_all(connection)
        connection.execute(insert(old["schema_version"]).values(version=4))
        connection.execute(insert(old["deployment"]).values(id=1, uid="uid-1", namespace="shop", name="wine"))
        connection.execute(insert(old["prediction"]).values(**key, **row))
    old_engine.dispose()


def test_scores_that_are_there_begin_to_count(settings):
    store = Store.open(settings)
    key, row = DeploymentKey("uid-1", "shop", "wine"), PredictionRow("p", 0, "wine-1", 5.0, "{}", "{}")

    def fill(connection):
        write_log(connection, key, [row], [], now=5.0, max_rejected=0)
        for monitor in ("near", "far"):
            write_scores(connection, monitor, [(1, 0.5)])
        connection.execute(update(t.deployment).values(log_bytes=7))
        with Operations.context(MigrationContext.configure(connection)):
            r0011_score_sizes.upgrade()
        return connection.execute(select(t.deployment.c.log_bytes)).scalar_one()

    try:
        assert store.writer.submit(fill, 0).result(60) == 7 + 2 * 90
    finally:
        store.close()


def is_ours(thing, name, kind, reflected, compared) -> bool:
    return name != "alembic_version"


async def test_two_observers_that_start_at_once_make_the_tables_once(on_postgres):
    stores = await asyncio.gather(*(asyncio.to_thread(Store.open, on_postgres) for _ in range(3)))
    for store in stores:
        with store.read() as connection:
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
        assert found == [newest_revision()]
        store.close()
