"""The database as the rest of the process sees it: reads on their own connections, writes through the one writer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from perennial_observer.errors import Overloaded
from perennial_observer.settings import Settings
from perennial_observer.store.engine import database_bytes, open_database
from perennial_observer.store.writer import Writer

__all__ = ["Store"]


@dataclass(frozen=True)
class Store:
    """An open database."""

    engine: Engine
    writer: Writer
    max_database_bytes: int

    @classmethod
    def open(cls, settings: Settings) -> "Store":
        """Open the database that `settings` name."""
        engine = open_database(settings.database_url, settings.data_dir)
        return cls(engine, Writer(engine, settings.write_queue_bytes), settings.max_database_bytes)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection for reading; one transaction, so that what is read fits together."""
        with self.engine.connect() as connection:
            yield connection

    def size_bytes(self) -> int:
        """Size of the embedded database; 0 where it is elsewhere."""
        return database_bytes(self.engine) or 0

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
