"""What a database's error means for the caller."""

from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from perennial_observer.errors import InvalidRequest, ObserverError, Overloaded, Unavailable

__all__ = ["is_outage", "translate"]

# SQLSTATE, by PostgreSQL's appendix A.
DISK_FULL, TOO_MANY_CONNECTIONS = "53100", "53300"
INSUFFICIENT_RESOURCES = "53"
CONNECTION_MESSAGES = ("too many clients", "too many connections", "connection slots")
TIMEOUTS = {"57014", "55P03", "25P03"}  # statement, lock, idle in transaction
RACES = {"40001", "40P01"}


def translate(error: SQLAlchemyError) -> ObserverError:
    """Say what the caller does about it: send something else, come back later, or wait until it is mended.

    In every case the transaction was not answered as written. Whether it was is unknown where the server went away in
    the middle of a commit; sent again, its rows count as duplicates then.
    """
    state = _state(error)
    text = str(getattr(error, "orig", error))
    if isinstance(error, DataError):
        return InvalidRequest("the database can't hold such a text: leave out NUL characters", "InvalidText")
    if full := _find_shortage(error, state, text):
        return full
    if state in TIMEOUTS | RACES or "database is locked" in text:
        return Unavailable("the database is too slow: send it again later", "DatabaseSlow")
    if is_outage(error):
        return Unavailable("the database does not answer: see to it that it runs", "DatabaseDown")
    return Unavailable(f"the database refused: {error.__class__.__name__}", "DatabaseError")


def _find_shortage(error: SQLAlchemyError, state: str, text: str) -> Overloaded | None:
    if state == DISK_FULL or "disk is full" in text:
        return Overloaded("the database's volume is full: enlarge it or wait for retention", "DatabaseFull")
    # Before a session has begun the driver knows the message only.
    if state == TOO_MANY_CONNECTIONS or any(part in text for part in CONNECTION_MESSAGES):
        return Overloaded("the database has too many connections: raise max_connections", "DatabaseBusy")
    if isinstance(error, PoolTimeout) or state.startswith(INSUFFICIENT_RESOURCES):
        return Overloaded("the database is busy: send it again later", "DatabaseBusy")
    return None


def is_outage(error: Exception) -> bool:
    """Whether the next transaction would fail the same way, so that trying each alone is in vain."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    state = _state(error)
    if error.connection_invalidated or state.startswith(("08", INSUFFICIENT_RESOURCES, "57P")):
        return True
    return isinstance(error, OperationalError | InterfaceError) and not state and _is_postgres(error)


def _state(error: SQLAlchemyError) -> str:
    return getattr(getattr(error, "orig", None), "sqlstate", None) or ""


def _is_postgres(error: DBAPIError) -> bool:
    return type(error.orig).__module__.startswith("psycopg")
