"""The database as the rest of the process sees it: reads on their own connections, writes through the one writer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from perennial_observer.errors import Overloaded
from perennial_observer.settings import Settings
from perennial_observer.store.engine import begin_reading, database_bytes, is_shared, open_database
from perennial_observer.store.failures import translate
from perennial_observer.store.writer import Jobs, Writer

__all__ = ["Store"]


@dataclass
class _Measured:
    size_bytes: int = 0


@dataclass(frozen=True)
class Store:
    """An open database."""

    engine: Engine
    writer: Jobs
    max_database_bytes: int
    _measured: _Measured = field(default_factory=_Measured)

    @classmethod
    def open(cls, settings: Settings) -> "Store":
        """Open the database that `settings` name."""
        engine = open_database(settings.database_url, settings.data_dir)
        return cls(engine, Writer(engine, settings.write_queue_bytes), settings.max_database_bytes)

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
        """Ask a database elsewhere for its size, which takes it a while; to be called every few seconds."""
        if not self.is_shared:
            return
        try:
            self._measured.size_bytes = database_bytes(self.engine)
        except SQLAlchemyError as error:
            raise translate(error) from error

    def size_bytes(self) -> int:
        """Size of the embedded database now, of another one when it was last measured."""
        return self._measured.size_bytes if self.is_shared else database_bytes(self.engine)

    def require_room(self) -> None:
        """Raise Overloaded while the database is at its limit."""
        if self.size_bytes() > self.max_database_bytes:
            raise Overloaded(
                "the database is at PERENNIAL_MAX_DATABASE_BYTES: enlarge it or wait for retention",
                "DatabaseFull",
            )

    def close(self) -> None:
        """Write what is queued and close."""
        self.writer.close()
        self.engine.dispose()
