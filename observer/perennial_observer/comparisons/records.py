"""What comparisons read from the log, in plain frozen rows. Writing is in ``changes.py``."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, and_, func, select

from perennial_observer.comparisons.tally import Tally
from perennial_observer.store import tables as t

__all__ = [
    "Comparison",
    "Cursor",
    "LabelledRow",
    "NewRow",
    "NewShadow",
    "Unit",
    "find_uids",
    "parts",
    "read_answers",
    "read_clients",
    "read_comparisons",
    "read_cursor",
    "read_inputs",
    "read_labelled",
    "read_labelled_ids",
    "read_new_rows",
    "read_new_shadows",
    "read_ripe_units",
    "read_units",
]

NEW, WAITING, DONE = 0, 1, 2
# SQLite allows 32,766 parameters in one statement.
IDS_PER_QUERY = 500


@dataclass(frozen=True)
class Cursor:
    """How far the log has been counted: the largest ids of predictions and of labels."""

    prediction: int
    feedback: int


@dataclass(frozen=True)
class Comparison:
    """One comparison that is on."""

    attempt: int
    since: float
    arms: dict[str, Tally]


@dataclass(frozen=True)
class NewRow:
    """One predicted row that hasn't been counted."""

    id: int
    deployment_id: int
    prediction_id: str
    row: int
    revision: str
    client: str | None
    event_time: float
    arrival: float


@dataclass(frozen=True)
class NewShadow:
    """One row of a mirrored answer that hasn't found its live one."""

    id: int
    deployment_id: int
    prediction_id: str
    row: int
    revision: str
    arrival: float
    outputs: str
    state: int


@dataclass(frozen=True)
class Unit:
    """One live request of a comparison, until its label has been counted."""

    prediction_id: str
    revision: str
    client: str | None
    event_time: float
    arrival: float
    rewarded: bool = False


@dataclass(frozen=True)
class LabelledRow:
    """The first labelled row of a request, with what was answered."""

    label: Any
    outputs: dict[str, Any]


def parts(ids: Iterable[Any]) -> Iterator[list[Any]]:
    """Cut ids into pieces that fit into one statement."""
    ordered = sorted(set(ids))
    return (ordered[i : i + IDS_PER_QUERY] for i in range(0, len(ordered), IDS_PER_QUERY))


def read_cursor(connection: Connection, *, newest: bool = False) -> Cursor | None:
    """Return how far the log has been counted, or where its end is now."""
    if newest:
        last = [
            connection.execute(select(func.max(table.c.id))).scalar() or 0
            for table in (t.prediction, t.feedback)
        ]
        return Cursor(*last)
    k = t.comparison_cursor.c
    found = connection.execute(select(k.prediction, k.feedback)).one_or_none()
    return None if found is None else Cursor(found.prediction, found.feedback)


def read_comparisons(connection: Connection) -> dict[int, Comparison]:
    """Return all comparisons that are on, by deployment row."""
    k, a = t.comparison.c, t.comparison_arm.c
    arms: dict[int, dict[str, Tally]] = {}
    for row in connection.execute(select(a.deployment_id, a.revision, a.tally)):
        arms.setdefault(row.deployment_id, {})[row.revision] = Tally.load(row.tally)
    found = connection.execute(select(k.deployment_id, k.attempt, k.since))
    return {
        row.deployment_id: Comparison(row.attempt, row.since, arms.get(row.deployment_id, {}))
        for row in found
    }


def find_uids(connection: Connection, deployment_ids: Iterable[int]) -> dict[int, str]:
    """Return the uids of deployment rows."""
    d = t.deployment.c
    return {
        row.id: row.uid
        for part in parts(deployment_ids)
        for row in connection.execute(select(d.id, d.uid).where(d.id.in_(part)))
    }


def read_new_rows(connection: Connection, after: int, limit: int) -> list[NewRow]:
    """Return the next rows of all deployments, never a part of the last request."""
    p = t.prediction.c
    columns = (
        p.id,
        p.deployment_id,
        p.prediction_id,
        p.row,
        p.revision,
        p.client,
        p.event_time,
        p.arrival,
    )
    query = select(*columns).where(p.id > after).order_by(p.id).limit(limit)
    rows = [NewRow(*row) for row in connection.execute(query)]
    if len(rows) == limit:
        last = rows[-1]
        rest = (
            select(*columns)
            .where(
                p.id > last.id,
                p.deployment_id == last.deployment_id,
                p.prediction_id == last.prediction_id,
            )
            .order_by(p.id)
        )
        # Rows of one request were inserted by one statement, so nothing lies between them.
        rows += [NewRow(*row) for row in connection.execute(rest)]
    return rows


def read_labelled_ids(connection: Connection, after: int, limit: int) -> list[tuple[int, int, str]]:
    """Return the next labels of all deployments: id, deployment row and prediction id."""
    f = t.feedback.c
    query = select(f.id, f.deployment_id, f.prediction_id).where(f.id > after).order_by(f.id).limit(limit)
    return [(row.id, row.deployment_id, row.prediction_id) for row in connection.execute(query)]


def read_new_shadows(connection: Connection, limit: int) -> list[NewShadow]:
    """Return the oldest mirrored rows that have not found their live one, whole requests only."""
    s = t.shadow_row.c
    query = (
        select(s.id, s.deployment_id, s.prediction_id, s.row, s.revision, s.arrival, s.outputs, s.state)
        .where(s.state < DONE)
        .order_by(s.id)
        .limit(limit)
    )
    rows = [NewShadow(*row) for row in connection.execute(query)]
    if len(rows) < limit:
        return rows
    last = (rows[-1].deployment_id, rows[-1].prediction_id, rows[-1].revision)
    whole = [row for row in rows if (row.deployment_id, row.prediction_id, row.revision) != last]
    return whole or rows


def read_inputs(connection: Connection, ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Return the inputs of rows by id."""
    p = t.prediction.c
    return {
        row.id: orjson.loads(row.inputs)
        for part in parts(ids)
        for row in connection.execute(select(p.id, p.inputs).where(p.id.in_(part)))
    }


def read_answers(
    connection: Connection, deployment_id: int, ids: Iterable[str]
) -> dict[str, dict[int, dict[str, Any]]]:
    """Return the live answers to requests: outputs by row."""
    p = t.prediction.c
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for part in parts(ids):
        query = select(p.prediction_id, p.row, p.outputs).where(
            p.deployment_id == deployment_id, p.prediction_id.in_(part)
        )
        for row in connection.execute(query):
            found.setdefault(row.prediction_id, {})[row.row] = orjson.loads(row.outputs)
    return found


def read_labelled(connection: Connection, deployment_id: int, ids: Iterable[str]) -> dict[str, LabelledRow]:
    """Return the first labelled row of each request that has one."""
    p, f = t.prediction.c, t.feedback.c
    found: dict[str, LabelledRow] = {}
    for part in parts(ids):
        query = (
            select(f.prediction_id, f.label, p.outputs)
            .select_from(t.feedback.join(t.prediction, _same_row()))
            .where(f.deployment_id == deployment_id, f.prediction_id.in_(part))
            .order_by(f.prediction_id, f.row)
        )
        for row in connection.execute(query):
            if row.prediction_id not in found:
                found[row.prediction_id] = LabelledRow(orjson.loads(row.label), orjson.loads(row.outputs))
    return found


def _same_row() -> ColumnElement[bool]:
    p, f = t.prediction.c, t.feedback.c
    return and_(f.deployment_id == p.deployment_id, f.prediction_id == p.prediction_id, f.row == p.row)


def read_units(connection: Connection, deployment_id: int, ids: Iterable[str]) -> dict[str, Unit]:
    """Return the units of some requests."""
    u = t.comparison_unit.c
    return {
        row.prediction_id: Unit(*row)
        for part in parts(ids)
        for row in connection.execute(
            _units().where(u.deployment_id == deployment_id, u.prediction_id.in_(part))
        )
    }


def read_ripe_units(
    connection: Connection, deployment_id: int, *, until: float, limit: int
) -> Sequence[Unit]:
    """Return units whose event time is at most `until`, the oldest first."""
    u = t.comparison_unit.c
    query = (
        _units()
        .where(u.deployment_id == deployment_id, u.event_time <= until)
        .order_by(u.event_time)
        .limit(limit)
    )
    return [Unit(*row) for row in connection.execute(query)]


def _units() -> Any:
    u = t.comparison_unit.c
    return select(u.prediction_id, u.revision, u.client, u.event_time, u.arrival, u.rewarded)


def read_clients(
    connection: Connection, deployment_id: int, clients: Iterable[str]
) -> dict[tuple[str, str], bool]:
    """Return which of the clients have been seen: whether labelled, by revision and client."""
    k = t.comparison_client.c
    return {
        (row.revision, row.client): row.labelled
        for part in parts(clients)
        for row in connection.execute(
            select(k.revision, k.client, k.labelled).where(
                k.deployment_id == deployment_id, k.client.in_(part)
            )
        )
    }
