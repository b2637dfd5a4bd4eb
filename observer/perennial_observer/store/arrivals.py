"""When rows came, by our clock: the latest one, and those that didn't fit."""

from sqlalchemy import Connection, func, select, tuple_

from perennial_observer.store import tables as t
from perennial_observer.store.reads import Position

__all__ = ["count_rejected", "read_latest_arrival"]


def read_latest_arrival(connection: Connection, deployment_id: int) -> float | None:
    """Arrival of the latest row that is still in the log, seconds since the epoch."""
    p = t.prediction.c
    query = select(func.max(p.arrival)).where(p.deployment_id == deployment_id)
    found: float | None = connection.execute(query).scalar()
    return found


def count_rejected(
    connection: Connection, deployment_id: int, revision: str, *, first: Position, last: Position
) -> dict[str, int]:
    """Rows of a revision that didn't fit and came with the window from `first` to `last`, by reason.

    Such rows have no event time, so they belong to the window during which they came: after the last row of the window
    before, not after the last of this one. So each is counted in one window.
    """
    p, r = t.prediction.c, t.rejected_row.c
    mine = (p.deployment_id == deployment_id, p.revision == revision)
    place = tuple_(p.event_time, p.id)
    end = connection.execute(
        select(p.arrival).where(*mine, place == (last.event_time, last.id))
    ).scalar_one_or_none()
    if end is None:
        return {}
    start = connection.execute(
        select(p.arrival)
        .where(*mine, place < (first.event_time, first.id))
        .order_by(p.event_time.desc(), p.id.desc())
        .limit(1)
    ).scalar_one_or_none()
    query = select(r.reason, func.count().label("rows")).where(
        r.deployment_id == deployment_id, r.revision == revision, r.arrival <= end
    )
    if start is not None:
        query = query.where(r.arrival > start)
    return {row.reason: row.rows for row in connection.execute(query.group_by(r.reason))}
