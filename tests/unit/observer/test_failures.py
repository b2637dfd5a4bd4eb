import sqlite3

import psycopg
import pytest
from perennial_observer.errors import InvalidRequest, Overloaded, Unavailable
from perennial_observer.store.failures import is_outage, translate
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout


def wrap(error: Exception, base: type[Exception]) -> Exception:
    return DBAPIError.instance("INSERT", None, error, base)


def postgres(state: str) -> Exception:
    return wrap(psycopg.errors.lookup(state)("no"), psycopg.Error)


@pytest.mark.parametrize(
    ("error", "kind", "reason", "outage"),
    [
        (postgres("53100"), Overloaded, "DatabaseFull", True),
        (postgres("53300"), Overloaded, "DatabaseBusy", True),
        (postgres("53200"), Overloaded, "DatabaseBusy", True),
        (PoolTimeout("no connection"), Overloaded, "DatabaseBusy", True),
        (postgres("57P01"), Unavailable, "DatabaseDown", True),
        (postgres("57P03"), Unavailable, "DatabaseDown", True),
        (postgres("08006"), Unavailable, "DatabaseDown", True),
        (
            wrap(psycopg.OperationalError("connection refused"), psycopg.Error),
            Unavailable,
            "DatabaseDown",
            True,
        ),
        (postgres("57014"), Unavailable, "DatabaseSlow", False),
        (postgres("55P03"), Unavailable, "DatabaseSlow", False),
        (postgres("40P01"), Unavailable, "DatabaseSlow", False),
        (postgres("23505"), Unavailable, "DatabaseError", False),
        (wrap(psycopg.DataError("NUL"), psycopg.Error), InvalidRequest, "InvalidText", False),
        (
            wrap(sqlite3.OperationalError("database or disk is full"), sqlite3.Error),
            Overloaded,
            "DatabaseFull",
            False,
        ),
        (
            wrap(sqlite3.OperationalError("database is locked"), sqlite3.Error),
            Unavailable,
            "DatabaseSlow",
            False,
        ),
    ],
)
def test_what_the_database_refuses_is_told_apart(error, kind, reason, outage):
    got = translate(error)
    assert (type(got), got.reason, is_outage(error)) == (kind, reason, outage)
