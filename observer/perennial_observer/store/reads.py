"""Reading the log: windows for the monitors, labelled rows for training, totals."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import ColumnElement, Connection, Select, and_, select, tuple_

from perennial_observer.store import tables as t
from perennial_observer.store.rows import Counts, LoggedRow

__all__ = [
    "LabelledRow",
    "Position",
    "distinct_labels",
    "find_deployment_uid",
    "iterate_labelled",
    "read_all_counts",
    "read_closing",
    "read_counts",
    "read_positions",
    "read_window",
]

ROWS_PER_FETCH = 5_000


@dataclass(frozen=True, order=True)
class Position:
    """A place in a deployment's log: event time, then id, which rises with arrival."""

    event_time: float
    id: int


@dataclass(frozen=True)
class LabelledRow:
    """One row of the export; `label` is JSON."""

    prediction_id: str
    row: int
    event_time: float
    revision: str
    label: str
    inputs: str


def read_counts(connection: Connection, uid: str) -> Counts:
    """Totals of a deployment; zeros for one that never sent anything."""
    d = t.deployment.c
    found = connection.execute(
        select(d.predictions, d.labels, d.rejected, d.late, d.latest_event).where(d.uid == uid)
    ).one_or_none()
    return Counts(*found) if found is not None else Counts()


def read_all_counts(connection: Connection, uids: Collection[str]) -> dict[str, tuple[int, Counts]]:
    """Ids and totals of some deployments, by uid; those that never sent anything are left out."""
    d = t.deployment.c
    query = select(d.uid, d.id, d.predictions, d.labels, d.rejected, d.late, d.latest_event)
    return {
        uid: (deployment_id, Counts(*counts))
        for uid, deployment_id, *counts in connection.execute(query.where(d.uid.in_(uids)))
    }


def find_deployment_uid(connection: Connection, namespace: str, name: str) -> str | None:
    """Return the uid that most recently had this name."""
    d = t.deployment.c
    query = select(d.uid).where(d.namespace == namespace, d.name == name).order_by(d.id.desc()).limit(1)
    found: str | None = connection.execute(query).scalar()
    return found


def read_positions(
    connection: Connection,
    deployment_id: int,
    revision: str,
    *,
    after: Position | None,
    until: float,
    limit: int,
) -> list[Position]:
    """Places of the next `limit` rows after `after` whose event time is at most `until`."""
    p = t.prediction.c
    query = select(p.event_time, p.id).where(
        p.deployment_id == deployment_id, p.revision == revision, p.event_time <= until
    )
    if after is not None:
        query = query.where(tuple_(p.event_time, p.id) > (after.event_time, after.id))
    query = query.order_by(p.event_time, p.id).limit(limit)
    return [Position(row.event_time, row.id) for row in connection.execute(query)]


def read_closing(
    connection: Connection, deployment_id: int, revision: str, *, after: Position | None, size: int
) -> tuple[float | None, float | None]:
    """Event times of the first row after `after` and of the `size`-th, whatever the watermark; None for one that isn't."""
    p = t.prediction.c
    query = select(p.event_time).where(p.deployment_id == deployment_id, p.revision == revision)
    if after is not None:
        query = query.where(tuple_(p.event_time, p.id) > (after.event_time, after.id))
    query = query.order_by(p.event_time, p.id).limit(1)
    return connection.execute(query).scalar(), connection.execute(query.offset(size - 1)).scalar()


def read_window(
    connection: Connection, deployment_id: int, revision: str, *, first: Position, last: Position
) -> list[LoggedRow]:
    """Rows from `first` to `last`, both included, in order, with their labels."""
    p, f = t.prediction.c, t.feedback.c
    query = (
        select(p.id, p.event_time, p.inputs, p.outputs, f.label)
        .select_from(t.prediction.outerjoin(t.feedback, _labels()))
        .where(
            p.deployment_id == deployment_id,
            p.revision == revision,
            tuple_(p.event_time, p.id) >= (first.event_time, first.id),
            tuple_(p.event_time, p.id) <= (last.event_time, last.id),
        )
        .order_by(p.event_time, p.id)
    )
    return [
        LoggedRow(
            id=row.id,
            event_time=row.event_time,
            inputs=orjson.loads(row.inputs),
            outputs=orjson.loads(row.outputs),
            label=None if row.label is None else orjson.loads(row.label),
            has_label=row.label is not None,
        )
        for row in connection.execute(query)
    ]


def _labels() -> ColumnElement[bool]:
    p, f = t.prediction.c, t.feedback.c
    return and_(f.deployment_id == p.deployment_id, f.prediction_id == p.prediction_id, f.row == p.row)


def _labelled(
    deployment_id: int, since: float, until: float
) -> Select[tuple[str, int, float, str, str, str]]:
    p, f = t.prediction.c, t.feedback.c
    return (
        select(p.prediction_id, p.row, p.event_time, p.revision, f.label, p.inputs)
        .select_from(t.prediction.join(t.feedback, _labels()))
        .where(p.deployment_id == deployment_id, p.event_time >= since, p.event_time < until)
    )


def distinct_labels(
    connection: Connection, deployment_id: int, since: float, until: float, limit: int
) -> list[str]:
    """Up to `limit` different labels (JSON) of the rows to export, which tell the label column's type."""
    rows = _labelled(deployment_id, since, until).subquery()
    return list(connection.execute(select(rows.c.label).distinct().limit(limit)).scalars())


def iterate_labelled(
    connection: Connection, deployment_id: int, since: float, until: float
) -> Iterator[Sequence[LabelledRow]]:
    """Labelled rows with event time in [since, until), in order of event time, a few thousand at once."""
    p = t.prediction.c
    query = _labelled(deployment_id, since, until).order_by(p.event_time, p.id)
    result = connection.execution_options(yield_per=ROWS_PER_FETCH).execute(query)
    for part in result.partitions():
        yield [LabelledRow(**row._mapping) for row in part]  # noqa: SLF001  SQLAlchemy's public name
