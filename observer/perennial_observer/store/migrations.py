"""Brings a database of an earlier release up to date, one version at a time.

Each step may be repeated: SQLite's driver commits before some statements, so a kill can leave half of one.
"""

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, inspect, text, update

from perennial_observer.store.tables import metadata, schema_version

__all__ = ["migrate"]


def _to_2(connection: Connection) -> None:
    """Clients beside predictions, and the tables of comparisons."""
    metadata.create_all(connection)
    if "client" not in {column["name"] for column in inspect(connection).get_columns("prediction")}:
        connection.execute(text("ALTER TABLE prediction ADD COLUMN client VARCHAR(64)"))


_STEPS: Mapping[int, Callable[[Connection], None]] = {2: _to_2}


def migrate(connection: Connection, found: int) -> int:
    """Take the steps that lead on from version `found`; return the version reached."""
    while (step := _STEPS.get(found + 1)) is not None:
        step(connection)
        found += 1
        connection.execute(update(schema_version).values(version=found))
    return found
