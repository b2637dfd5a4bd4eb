"""Brings a database that a release before alembic wrote (versions 1 to 3) to version 4.

Each step may be repeated: those releases could be killed between two statements and leave half of one.
"""

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, MetaData, insert, inspect, select, text, update

from perennial_observer.store.migrations.version_4 import deployment, feedback, metadata, schema_version

__all__ = ["take_over"]


def take_over(connection: Connection) -> None:
    """Take the steps that lead on to version 4."""
    found: int = connection.execute(select(schema_version.c.version)).scalar_one()
    while (step := _STEPS.get(found + 1)) is not None:
        step(connection)
        found += 1
        connection.execute(update(schema_version).values(version=found))


def _to_2(connection: Connection) -> None:
    """Clients beside predictions, and the tables of comparisons."""
    metadata.create_all(connection)
    _add_to_prediction(connection, "client", "VARCHAR(64)")


def _to_3(connection: Connection) -> None:
    """Ids of labels that SQLite never gives again; it takes another table for that.

    What changes the old table comes after the copying, in one transaction with it.
    """
    if connection.dialect.name != "sqlite":
        return
    made_by = text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = 'feedback'")
    if "AUTOINCREMENT" in connection.execute(made_by).scalar_one():
        return
    elsewhere = MetaData()
    deployment.to_metadata(elsewhere)
    fresh = feedback.to_metadata(elsewhere, name="feedback_3")
    fresh.indexes.clear()
    connection.execute(text("DROP TABLE IF EXISTS feedback_3"))
    fresh.create(connection)
    connection.execute(insert(fresh).from_select(feedback.columns.keys(), select(feedback)))
    connection.execute(text("DROP TABLE feedback"))
    connection.execute(text("ALTER TABLE feedback_3 RENAME TO feedback"))
    for index in feedback.indexes:
        index.create(connection)


def _to_4(connection: Connection) -> None:
    """What the schema let through, beside a prediction."""
    _add_to_prediction(connection, "flags", "TEXT")


def _add_to_prediction(connection: Connection, name: str, kind: str) -> None:
    if name not in {column["name"] for column in inspect(connection).get_columns("prediction")}:
        connection.execute(text(f"ALTER TABLE prediction ADD COLUMN {name} {kind}"))


_STEPS: Mapping[int, Callable[[Connection], None]] = {2: _to_2, 3: _to_3, 4: _to_4}
