"""How many rows a stretch of event time holds, of all revisions that answered in it."""

from sqlalchemy import Connection, func, select, tuple_

from perennial_observer.store import tables as t
from perennial_observer.store.reads import Position

__all__ = ["count_events", "find_event_before"]


def find_event_before(
    connection: Connection, deployment_id: int, revision: str, before: Position
) -> float | None:
    """Event time of a revision's latest row before a place; None if none is in the log."""
    p = t.prediction.c
    query = select(p.event_time).where(
        p.deployment_id == deployment_id,
        p.revision == revision,
        tuple_(p.event_time, p.id) < (before.event_time, before.id),
    )
    found: float | None = connection.execute(
        query.order_by(p.event_time.desc(), p.id.desc()).limit(1)
    ).scalar()
    return found


def count_events(connection: Connection, deployment_id: int, *, after: float, until: float) -> int:
    """Count a deployment's rows with event time in (after, until].

    Revision by revision, since the index that knows event times begins with revisions; there are few.
    """
    p = t.prediction.c
    mine = p.deployment_id == deployment_id
    revisions = select(func.min(p.revision)).where(mine)
    rows = 0
    revision = connection.execute(revisions).scalar()
    while revision is not None:
        query = select(func.count()).where(
            mine, p.revision == revision, p.event_time > after, p.event_time <= until
        )
        rows += connection.execute(query.select_from(t.prediction)).scalar_one()
        revision = connection.execute(revisions.where(p.revision > revision)).scalar()
    return rows
