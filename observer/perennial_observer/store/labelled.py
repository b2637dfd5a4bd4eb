"""Reading a revision's rows with their labels, before or after a place, always within a bound of rows."""

import orjson
from sqlalchemy import ColumnElement, Connection, Select, and_, select, tuple_

from perennial_observer.store import tables as t
from perennial_observer.store.log import find_deployment_id
from perennial_observer.store.reads import Position
from perennial_observer.store.rows import LoggedRow

__all__ = ["read_before", "read_first"]


def read_first(
    connection: Connection, uid: str, revision: str, *, until: float, limit: int
) -> list[LoggedRow]:
    """Read a revision's first `limit` rows with event time before `until`, in order."""
    p = t.prediction.c
    return _read(connection, uid, revision, p.event_time < until, limit, latest=False)


def read_before(
    connection: Connection, uid: str, revision: str, *, before: Position, limit: int
) -> list[LoggedRow]:
    """Read a revision's last `limit` rows before a place, in order."""
    p = t.prediction.c
    place = tuple_(p.event_time, p.id) < (before.event_time, before.id)
    return _read(connection, uid, revision, place, limit, latest=True)[::-1]


def _read(
    connection: Connection, uid: str, revision: str, place: ColumnElement[bool], limit: int, *, latest: bool
) -> list[LoggedRow]:
    deployment_id = find_deployment_id(connection, uid)
    if deployment_id is None:
        return []
    return [
        LoggedRow(
            id=row.id,
            event_time=row.event_time,
            inputs=orjson.loads(row.inputs),
            outputs=orjson.loads(row.outputs),
            label=None if row.label is None else orjson.loads(row.label),
            has_label=row.label is not None,
        )
        for row in connection.execute(_join(deployment_id, revision, place, limit, latest=latest))
    ]


def _join(
    deployment_id: int, revision: str, place: ColumnElement[bool], limit: int, *, latest: bool
) -> Select[tuple[int, float, str, str, str]]:
    """Bound the rows first, then look for their labels: the other way a log without labels is read to its end."""
    p, f = t.prediction.c, t.feedback.c
    order = (p.event_time.desc(), p.id.desc()) if latest else (p.event_time, p.id)
    chosen = (
        select(t.prediction)
        .where(p.deployment_id == deployment_id, p.revision == revision, place)
        .order_by(*order)
        .limit(limit)
        .subquery()
    )
    c = chosen.c
    labels = and_(f.deployment_id == c.deployment_id, f.prediction_id == c.prediction_id, f.row == c.row)
    outer = (c.event_time.desc(), c.id.desc()) if latest else (c.event_time, c.id)
    return (
        select(c.id, c.event_time, c.inputs, c.outputs, f.label)
        .select_from(chosen.outerjoin(t.feedback, labels))
        .order_by(*outer)
    )
