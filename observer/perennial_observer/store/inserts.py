"""Inserting what may be there already, as each database does it best.

PostgreSQL takes many rows by COPY into a table of the connection's own and from there, skipping what is there: about
three times as fast as INSERTs with values. SQLite is fastest when it is asked first.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Connection, Table, UniqueConstraint, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

__all__ = ["find_new", "insert_new", "insert_or_skip", "parts", "put"]

# SQLite allows 32,766 parameters in one statement, PostgreSQL's driver 65,535.
IDS_PER_QUERY = 500

_Row = TypeVar("_Row")
_Key = tuple[Any, ...]


def parts(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    """Cut ids into pieces that fit into one statement."""
    return (ids[i : i + IDS_PER_QUERY] for i in range(0, len(ids), IDS_PER_QUERY))


def insert_or_skip(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert one row unless its unique key is there; whether it was inserted."""
    statement = _dialect_insert(connection, table).values(**values).on_conflict_do_nothing()
    return connection.execute(statement.returning(*table.primary_key)).first() is not None


def put(connection: Connection, table: Table, place: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Insert one row, or change the one that has the unique key `place`."""
    statement = _dialect_insert(connection, table).values(**place, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=list(place), set_=dict(values)))


def _dialect_insert(connection: Connection, table: Table) -> "postgresql.Insert | sqlite.Insert":
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def find_new(connection: Connection, table: Table, deployment_id: int, rows: Sequence[_Row]) -> list[_Row]:
    """Return those of a deployment's `rows` that are not in `table`, each once."""
    unique = _unique_columns(table)
    stored = _stored_keys(connection, table, deployment_id, rows)
    fresh = _first_of_each(rows, unique)
    return [row for key, row in fresh.items() if key not in stored]


def insert_new(
    connection: Connection,
    table: Table,
    deployment_id: int,
    rows: Sequence[_Row],
    **same: Any,
) -> list[_Row]:
    """Insert those of a deployment's `rows` that are not in `table`; return them, in their order.

    Parameters
    ----------
    rows
        Dataclasses with the table's columns.
    same
        Columns that all rows have alike.
    """
    if not rows:
        return []
    if connection.dialect.name != "postgresql":
        fresh = find_new(connection, table, deployment_id, rows)
        if fresh:
            values = [{"deployment_id": deployment_id, **same, **vars(row)} for row in fresh]
            connection.execute(insert(table), values)
        return fresh
    unique = _unique_columns(table)
    first = _first_of_each(rows, unique)
    inserted = _copy(connection, table, list(first.values()), {"deployment_id": deployment_id, **same})
    return [row for key, row in first.items() if key in inserted]


def _unique_columns(table: Table) -> list[str]:
    """Names of the columns that tell one row of a deployment from another."""
    key = next(item for item in table.constraints if isinstance(item, UniqueConstraint))
    return [column.name for column in key.columns if column.name != "deployment_id"]


def _first_of_each(rows: Sequence[_Row], unique: Sequence[str]) -> dict[_Key, _Row]:
    first: dict[_Key, _Row] = {}
    for row in rows:
        first.setdefault(tuple(getattr(row, name) for name in unique), row)
    return first


def _stored_keys(connection: Connection, table: Table, deployment_id: int, rows: Sequence[Any]) -> set[_Key]:
    c = table.c
    found: set[_Key] = set()
    for part in parts(sorted({row.prediction_id for row in rows})):
        query = select(*(c[name] for name in _unique_columns(table))).where(
            c.deployment_id == deployment_id, c.prediction_id.in_(part)
        )
        found.update(tuple(row) for row in connection.execute(query))
    return found


def _copy(connection: Connection, table: Table, rows: Sequence[Any], same: Mapping[str, Any]) -> set[_Key]:
    """Insert by COPY; return the keys of what was not there."""
    names = [column.name for column in table.columns if column.name in vars(rows[0])]
    columns = _quote(names)
    incoming = f"incoming_{table.name}"
    # In the order in which they came, for ids rise with it.
    take_over = (
        f"INSERT INTO {table.name} ({columns}, {_quote(same)}) "  # noqa: S608  names of our own tables
        f"SELECT {columns}, {', '.join(['%s'] * len(same))} FROM {incoming} ORDER BY place "
        f"ON CONFLICT DO NOTHING RETURNING {_quote(_unique_columns(table))}"
    )
    make = (
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {incoming} "  # noqa: S608  names of our own tables
        f"AS SELECT 0 AS place, {columns} FROM {table.name} WITH NO DATA"
    )
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor:
            cursor.execute(make)
            cursor.execute(f"TRUNCATE {incoming}")
            with cursor.copy(f"COPY {incoming} (place, {columns}) FROM STDIN") as copy:
                for place, row in enumerate(rows):
                    copy.write_row((place, *(getattr(row, name) for name in names)))
            cursor.execute(take_over, list(same.values()))
            return set(cursor.fetchall())
    except psycopg.Error as error:
        # As SQLAlchemy does it for what goes through it.
        raise DBAPIError.instance(
            take_over, None, error, psycopg.Error, hide_parameters=True, dialect=connection.dialect
        ) from error


def _quote(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
