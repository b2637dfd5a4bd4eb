"""Opens the database. The only module that knows SQLite from any other."""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, insert, inspect, select

from perennial_observer.errors import Unavailable
from perennial_observer.store.migrations import migrate
from perennial_observer.store.tables import SCHEMA_VERSION, metadata, schema_version

__all__ = ["database_bytes", "open_database"]

BUSY_TIMEOUT_S = 10


def open_database(url: str, data_dir: Path) -> Engine:
    """Open (and on first use create) the database.

    Raises
    ------
    Unavailable
        If its tables are of a later version than this program's.
    """
    if not url:
        data_dir.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{data_dir / 'observer.db'}"
    engine = create_engine(url, pool_size=8, max_overflow=8, pool_timeout=BUSY_TIMEOUT_S)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    is_new = not inspect(engine).has_table(schema_version.name)
    with engine.begin() as connection:
        if is_new:
            metadata.create_all(connection)
            connection.execute(insert(schema_version).values(version=SCHEMA_VERSION))
        found = migrate(connection, connection.execute(select(schema_version.c.version)).scalar_one())
    if found != SCHEMA_VERSION:
        raise Unavailable(
            f"the database is of version {found}, this observer needs {SCHEMA_VERSION}: use the release that wrote it",
            "SchemaVersion",
        )
    return engine


def _prepare_sqlite(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    # WAL lets readers go on while the one writer commits. FULL makes an answered 202 survive a power cut.
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={BUSY_TIMEOUT_S * 1000}",
        "foreign_keys=ON",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def database_bytes(engine: Engine) -> int | None:
    """Size of the embedded database's files; None where the database is elsewhere."""
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return None
    base = Path(engine.url.database)
    parts = (base, base.with_name(base.name + "-wal"))
    return sum(part.stat().st_size for part in parts if part.exists())
