"""Opens the database. The only module of the store, beside inserts.py, that knows SQLite from PostgreSQL.

On PostgreSQL several observers may write. Their transactions take turns at one advisory lock, so that each of them is
what it is on SQLite, the only writer: it may look first and insert then, and ids become visible in their order, which
everybody who follows the log by id depends on.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from perennial_observer.errors import Unavailable
from perennial_observer.store.failures import translate
from perennial_observer.store.migrations import migrate

__all__ = [
    "begin_reading",
    "begin_writing",
    "database_bytes",
    "free_bytes",
    "is_shared",
    "open_database",
    "reusable_bytes",
]

BUSY_TIMEOUT_S = 10
CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 60
# Longest turn of another writer; one that died in the middle of its turn is thrown out after half of that.
LOCK_TIMEOUT_S = 40
IDLE_IN_TURN_S = 20
POOL_SIZE = 8
# Any number, the same in all observers of a database.
_TURN = 7_062_617_015


def open_database(url: str, data_dir: Path) -> Engine:
    """Open (and on first use create) the database.

    Raises
    ------
    Unavailable
        If it doesn't answer, or its tables are of a later release than this program.
    """
    if not url:
        data_dir.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{data_dir / 'observer.db'}"
    address = _read_url(url)
    try:
        _migrate(address)
    except SQLAlchemyError as error:
        raise translate(error) from error
    return _connect(address)


def _read_url(url: str) -> URL:
    try:
        address = make_url(url)
        driver = address.get_dialect().driver
    except (ArgumentError, NoSuchModuleError) as error:
        raise _bad_url() from error
    if driver not in {"pysqlite", "psycopg"}:
        raise _bad_url()
    return address


def _bad_url() -> Unavailable:
    return Unavailable(
        "PERENNIAL_DATABASE_URL must be empty or read postgresql+psycopg://user:password@host:5432/database",
        "InvalidDatabaseUrl",
    )


def _connect(address: URL) -> Engine:
    if address.get_backend_name() == "sqlite":
        engine = create_engine(
            address, pool_size=POOL_SIZE, max_overflow=POOL_SIZE, pool_timeout=BUSY_TIMEOUT_S
        )
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    # A connection is tried before it is used: after the server went away each is made anew.
    return create_engine(
        address,
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_timeout=BUSY_TIMEOUT_S,
        pool_pre_ping=True,
        pool_recycle=3600,
        connect_args=_postgres_arguments(STATEMENT_TIMEOUT_S),
    )


def _postgres_arguments(statement_timeout_s: int) -> dict[str, Any]:
    timeouts_ms = {
        "statement_timeout": statement_timeout_s * 1000,
        "lock_timeout": LOCK_TIMEOUT_S * 1000,
        "idle_in_transaction_session_timeout": IDLE_IN_TURN_S * 1000,
    }
    return {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "perennial-observer",
        "options": " ".join(f"-c {name}={value}" for name, value in timeouts_ms.items()),
        # A server that vanished without a word is noticed within half a minute.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
    }


def _migrate(address: URL) -> None:
    """Bring the tables up to date in one transaction that nobody else writes beside."""
    if address.get_backend_name() == "sqlite":
        engine = create_engine(address, poolclass=NullPool)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "connect", _sort_in_files)
        event.listen(engine, "connect", _begin_by_hand)
        event.listen(engine, "begin", _begin_immediate)
        with _files_beside_database(address), begin_writing(engine) as connection:
            migrate(connection)
        return
    # Indexes of a large log take longer than a request may.
    engine = create_engine(address, poolclass=NullPool, connect_args=_postgres_arguments(0))
    with begin_writing(engine) as connection:
        migrate(connection)


def _sort_in_files(connection: Any, _: Any) -> None:
    # To make an index of a large log all of its keys are sorted, which is more than the observer's memory may hold.
    connection.execute("PRAGMA temp_store=FILE")


@contextmanager
def _files_beside_database(address: URL) -> Iterator[None]:
    """Let SQLite put its temporary files on the volume that has room for the log; /tmp is small.

    The pragma goes by the name of deprecated, and holds for the whole process. But SQLite has read its environment when
    Python's module was imported, and nobody else is at work while tables are migrated.
    """
    _put_temporary_files(str(Path(address.database or "").absolute().parent))
    try:
        yield
    finally:
        _put_temporary_files("")


def _put_temporary_files(folder: str) -> None:
    quoted = folder.replace("'", "''")
    # It can't be set within a transaction; any connection sets it for all.
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"PRAGMA temp_store_directory='{quoted}'")


def _begin_by_hand(connection: Any, _: Any) -> None:
    # Else Python's driver begins at the first INSERT, and what came before it can't be taken back.
    connection.isolation_level = None


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


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


def is_shared(engine: Engine) -> bool:
    """Whether other observers may be at the same database."""
    return engine.dialect.name == "postgresql"


@contextmanager
def begin_writing(engine: Engine) -> Iterator[Connection]:
    """Begin a transaction in which nobody else writes; committed at the end."""
    with engine.begin() as connection:
        if is_shared(engine):
            connection.execute(text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": _TURN})
        yield connection


@contextmanager
def begin_reading(engine: Engine) -> Iterator[Connection]:
    """Begin a transaction that sees the database as it is at its first look."""
    with engine.connect() as connection:
        if is_shared(engine):
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        yield connection


def database_bytes(engine: Engine) -> int:
    """Size of the database: of its files, or what the server says."""
    if is_shared(engine):
        with engine.connect() as connection:
            return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
    base = Path(engine.url.database or "")
    parts = (base, base.with_name(base.name + "-wal"))
    return sum(part.stat().st_size for part in parts if part.exists())


def reusable_bytes(engine: Engine) -> int:
    """Pages of an embedded database's file that hold nothing any more: the file never shrinks, it is filled again."""
    if is_shared(engine):
        return 0
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
        page_bytes = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    return int(pages * page_bytes)


def free_bytes(engine: Engine) -> int | None:
    """Space on the volume of an embedded database; None where it is elsewhere."""
    if is_shared(engine):
        return None
    return shutil.disk_usage(Path(engine.url.database or ".").parent).free
