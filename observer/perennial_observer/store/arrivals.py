"""When rows came, by our clock: the latest one, and those that didn't fit."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, tuple_

from perennial_observer.store import tables as t
from perennial_observer.store.reads import Position

__all__ = [
    "Misfits",
    "count_arrived",
    "find_arrival",
    "find_last_arrival",
    "read_latest_arrival",
    "read_misfits",
]


@dataclass(frozen=True)
class Misfits:
    """Rows that didn't fit, of one stretch of arrivals.

    Parameters
    ----------
    reasons
        How many for what.
    first, last
        When they came, seconds since the epoch; None if there are none.
    """

    reasons: Mapping[str, int]
    first: float | None
    last: float | None

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(self.reasons.values())


def read_latest_arrival(connection: Connection, deployment_id: int) -> float | None:
    """Arrival of the latest row that is still in the log, seconds since the epoch."""
    p = t.prediction.c
    query = select(func.max(p.arrival)).where(p.deployment_id == deployment_id)
    found: float | None = connection.execute(query).scalar()
    return found


def find_arrival(
    connection: Connection, deployment_id: int, revision: str, until: Position, *, included: bool
) -> float | None:
    """When the latest row of a revision up to a place came, or the latest before it; None if none is in the log."""
    p = t.prediction.c
    place, at = tuple_(p.event_time, p.id), (until.event_time, until.id)
    query = (
        select(p.arrival)
        .where(p.deployment_id == deployment_id, p.revision == revision)
        .where(place <= at if included else place < at)
        .order_by(p.event_time.desc(), p.id.desc())
        .limit(1)
    )
    found: float | None = connection.execute(query).scalar()
    return found


def find_last_arrival(
    connection: Connection, deployment_id: int, revision: str, *, first: Position, last: Position
) -> float | None:
    """When the last of a window's rows came: not always that of the latest event time."""
    p = t.prediction.c
    place = tuple_(p.event_time, p.id)
    query = select(func.max(p.arrival)).where(
        p.deployment_id == deployment_id,
        p.revision == revision,
        place >= (first.event_time, first.id),
        place <= (last.event_time, last.id),
    )
    found: float | None = connection.execute(query).scalar()
    return found


def read_misfits(
    connection: Connection,
    deployment_id: int,
    revision: str,
    *,
    after: float | None,
    until: float | None = None,
) -> Misfits:
    """Count a revision's rows that didn't fit and came after one time, until another; both are open where left out."""
    r = t.rejected_row.c
    query = select(r.reason, func.count().label("rows"), func.min(r.arrival), func.max(r.arrival)).where(
        r.deployment_id == deployment_id, r.revision == revision
    )
    if after is not None:
        query = query.where(r.arrival > after)
    if until is not None:
        query = query.where(r.arrival <= until)
    found = connection.execute(query.group_by(r.reason)).all()
    return Misfits(
        reasons={reason: rows for reason, rows, _, _ in found},
        first=min((first for _, _, first, _ in found), default=None),
        last=max((last for _, _, _, last in found), default=None),
    )


def count_arrived(
    connection: Connection, deployment_id: int, revision: str, *, after: float | None, limit: int
) -> int:
    """Count a revision's rows in the log that came after a time; at most `limit`."""
    p = t.prediction.c
    query = select(p.id).where(p.deployment_id == deployment_id, p.revision == revision)
    if after is not None:
        query = query.where(p.arrival > after)
    counted = select(func.count()).select_from(query.limit(limit).subquery())
    return int(connection.execute(counted).scalar_one())
