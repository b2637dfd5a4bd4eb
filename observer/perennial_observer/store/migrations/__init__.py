"""Brings a database up to the tables of this program, one numbered revision after another, by alembic.

A change of ``tables.py`` needs a revision in ``versions/`` beside it. A revision must leave what the release before it
reads and writes in place, for its replicas go on while the first new one migrates; what they no longer need goes one
release later. A revision spells its tables itself and imports nothing of ``tables.py``, which goes on changing.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, select

from perennial_observer.errors import Unavailable
from perennial_observer.store.migrations.version_4 import VERSION, schema_version

__all__ = ["migrate", "newest_revision"]


def migrate(connection: Connection) -> None:
    """Take the revisions that the database lacks, in the transaction of `connection`, which must be alone.

    Raises
    ------
    Unavailable
        If its tables are of a later release than this program.
    """
    config = _configure(connection)
    script = ScriptDirectory.from_config(config)
    known = {revision.revision for revision in script.walk_revisions()}
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None:
        earlier = _read_early_version(connection)
        found = str(earlier) if earlier is not None and earlier > VERSION else None
    if found is not None and found not in known:
        raise Unavailable(
            f"the database is of version {found}, this observer needs {script.get_current_head()}: "
            "use the release that wrote it",
            "SchemaVersion",
        )
    if found != script.get_current_head():
        command.upgrade(config, "head")


def newest_revision() -> str | None:
    """Return the number of the revision that this program needs."""
    return ScriptDirectory.from_config(_configure(None)).get_current_head()


def _configure(connection: Connection | None) -> Config:
    config = Config()
    # Every character that ini files take for something else is doubled.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    return config


def _read_early_version(connection: Connection) -> int | None:
    """Return the version that releases before alembic wrote; None in a database of nobody's."""
    if not inspect(connection).has_table(schema_version.name):
        return None
    version: int | None = connection.execute(select(schema_version.c.version)).scalar()
    return version
