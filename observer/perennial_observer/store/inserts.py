"""Inserting what may be there already, as each database does it best.

PostgreSQL takes many rows by COPY. Nearly always all of them are new and go straight into their table; where one is there
already, all go into a table of the connection's own and from there, skipping what is there. SQLite skips by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from operator import attrgetter
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Connection, Table, UniqueConstraint, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

__all__ = ["find_new", "insert_new", "insert_or_skip", "parts", "put"]

# SQLite allows 32,766 parameters in one statement, PostgreSQL's driver 65,535.
IDS_PER_QUERY = 500

_Row = TypeVar("_Row")
_Key = tuple[Any, ...]


def parts(ids: Sequence[_Row]) -> Iterable[Sequence[_Row]]:
    """Cut ids, or what each goes with, into pieces that fit into one statement."""
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
        Named tuples, the names being columns of the table.
    same
        Columns that all rows have alike.
    """
    if not rows:
        return []
    first = _first_of_each(rows, _unique_columns(table))
    insert_all = _copy if connection.dialect.name == "postgresql" else _insert_or_skip_many
    inserted = insert_all(connection, table, first, {"deployment_id": deployment_id, **same})
    return [row for key, row in first.items() if key in inserted]


def _insert_or_skip_many(
    connection: Connection, table: Table, by_key: Mapping[_Key, Any], same: Mapping[str, Any]
) -> AbstractSet[_Key]:
    """Insert those rows that are not there; return their keys. Who is the only writer knows new rows by their ids."""
    rows = list(by_key.values())
    (row_id,) = table.primary_key
    last = connection.execute(select(func.max(row_id))).scalar() or 0
    names, alike = rows[0]._fields, tuple(same.values())
    places = ", ".join("?" * (len(same) + len(names)))
    # As text and tuples: SQLAlchemy's way to the driver costs as much as the insert itself.
    done = connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({_quote((*same, *names))}) VALUES ({places}) ON CONFLICT DO NOTHING",  # noqa: S608  names of our own tables
        [(*alike, *row) for row in rows],
    )
    if done.rowcount == len(rows):
        return by_key.keys()
    query = select(*(table.c[name] for name in _unique_columns(table))).where(row_id > last)
    return {tuple(row) for row in connection.execute(query)}


def _unique_columns(table: Table) -> list[str]:
    """Names of the columns that tell one row of a deployment from another."""
    key = next(item for item in table.constraints if isinstance(item, UniqueConstraint))
    return [column.name for column in key.columns if column.name != "deployment_id"]


def _first_of_each(rows: Sequence[_Row], unique: Sequence[str]) -> dict[_Key, _Row]:
    read, first = attrgetter(*unique), dict[_Key, _Row]()
    for row in rows:
        first.setdefault(read(row), row)
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


def _copy(
    connection: Connection, table: Table, by_key: Mapping[_Key, Any], same: Mapping[str, Any]
) -> AbstractSet[_Key]:
    """Insert by COPY; return the keys of what was not there."""
    rows = list(by_key.values())
    try:
        try:
            with connection.begin_nested():
                _copy_straight(connection, table, rows, same)
        except psycopg.errors.UniqueViolation:
            return _copy_what_is_new(connection, table, rows, same)
    except psycopg.Error as error:
        # As SQLAlchemy does it for what goes through it.
        raise DBAPIError.instance(
            f"COPY {table.name}", None, error, psycopg.Error, hide_parameters=True, dialect=connection.dialect
        ) from error
    return by_key.keys()


def _copy_straight(
    connection: Connection, table: Table, rows: Sequence[Any], same: Mapping[str, Any]
) -> None:
    """Insert rows that are all new; raises UniqueViolation, with nothing inserted, where one is not."""
    names, alike = rows[0]._fields, tuple(same.values())
    with (
        _cursor(connection) as cursor,
        cursor.copy(f"COPY {table.name} ({_quote((*same, *names))}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row((*alike, *row))


def _copy_what_is_new(
    connection: Connection, table: Table, rows: Sequence[Any], same: Mapping[str, Any]
) -> set[_Key]:
    """Insert those rows that are not there, by way of a table of the connection's own; return their keys."""
    columns = _quote(rows[0]._fields)
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
    with _cursor(connection) as cursor:
        cursor.execute(make)
        cursor.execute(f"TRUNCATE {incoming}")
        with cursor.copy(f"COPY {incoming} (place, {columns}) FROM STDIN") as copy:
            for place, row in enumerate(rows):
                copy.write_row((place, *row))
        cursor.execute(take_over, list(same.values()))
        return set(cursor.fetchall())


def _cursor(connection: Connection) -> Any:
    driver: Any = connection.connection.driver_connection
    return driver.cursor()


def _quote(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
