"""The database as the rest of the process sees it: reads on their own connections, writes through the one writer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from perennial_observer.errors import Overloaded
from perennial_observer.settings import Settings
from perennial_observer.store.engine import (
    begin_reading,
    database_bytes,
    free_bytes,
    is_shared,
    open_database,
    reusable_bytes,
)
from perennial_observer.store.failures import translate
from perennial_observer.store.sizes import read_log_bytes
from perennial_observer.store.writer import Jobs, Writer

__all__ = ["Store"]


@dataclass
class _Measured:
    size_bytes: int = 0
    reusable_bytes: int = 0
    log_bytes: int = 0


@dataclass(frozen=True)
class Store:
    """An open database."""

    engine: Engine
    writer: Jobs
    max_database_bytes: int
    min_free_bytes: int = 0
    _measured: _Measured = field(default_factory=_Measured)

    @classmethod
    def open(cls, settings: Settings) -> "Store":
        """Open the database that `settings` name."""
        engine = open_database(settings.database_url, settings.data_dir)
        writer = Writer(engine, settings.write_queue_bytes)
        return cls(engine, writer, settings.max_database_bytes, settings.min_free_bytes)

    @property
    def is_shared(self) -> bool:
        """Whether other observers may be at the same database."""
        return is_shared(self.engine)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection for reading; one transaction, so that what is read fits together.

        Raises
        ------
        Unavailable, Overloaded
            If the database doesn't answer.
        """
        try:
            with begin_reading(self.engine) as connection:
                yield connection
        except SQLAlchemyError as error:
            raise translate(error) from error

    def measure(self) -> None:
        """Ask the database what takes it a while to say; to be called every few seconds.

        That is the size of one elsewhere and of the log in it, and how much of an embedded one's file is free to be
        filled again.
        """
        try:
            self._measured.reusable_bytes = reusable_bytes(self.engine)
            if self.is_shared:
                self._measured.size_bytes = database_bytes(self.engine)
                with begin_reading(self.engine) as connection:
                    self._measured.log_bytes = read_log_bytes(connection)
        except SQLAlchemyError as error:
            raise translate(error) from error

    def size_bytes(self) -> int:
        """Size of the embedded database now, of another one when it was last measured."""
        return self._measured.size_bytes if self.is_shared else database_bytes(self.engine)

    def require_room(self) -> None:
        """Raise Overloaded while the database is at its limit, or its volume.

        What retention has emptied counts as room in both. PostgreSQL doesn't tell how much of its files that is, so there
        the log is held against the limit as it is reckoned, or what was full once would stay full for ever. What the volume is to keep free lets retention work: to delete
        takes room, too, in SQLite's log.
        """
        reusable = self._measured.reusable_bytes
        free = free_bytes(self.engine)
        if free is not None and free + reusable < self.min_free_bytes:
            raise Overloaded(
                "the observer's volume is full: enlarge it or wait for retention (PERENNIAL_MIN_FREE_BYTES stays free)",
                "VolumeFull",
            )
        used = self._measured.log_bytes if self.is_shared else database_bytes(self.engine) - reusable
        if used > self.max_database_bytes:
            raise Overloaded(
                "the database is at PERENNIAL_MAX_DATABASE_BYTES: enlarge it or wait for retention",
                "DatabaseFull",
            )

    def close(self) -> None:
        """Write what is queued and close."""
        self.writer.close()
        self.engine.dispose()
