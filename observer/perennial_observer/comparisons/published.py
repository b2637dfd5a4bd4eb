"""The arms of comparisons as they stand in the database, for observers that another one counts for."""

from perennial_api.arms import Arm
from sqlalchemy import Connection, func, select

from perennial_observer.comparisons import records
from perennial_observer.comparisons.records import Cursor
from perennial_observer.store import tables as t
from perennial_observer.store.store import Store

__all__ = ["read_arms"]


def read_arms(store: Store, *, now: float) -> dict[str, tuple[Arm, ...]]:
    """Return the arms by the deployment's uid.

    They are counted until now, unless the log has a row of theirs that nobody has counted yet: then until its arrival.
    """
    with store.read() as connection:
        comparisons = records.read_comparisons(connection)
        uids = records.find_uids(connection, comparisons)
        cursor = records.read_cursor(connection) or Cursor(0, 0)
        until = {key: _counted_until(connection, key, cursor.prediction, now) for key in comparisons}
    return {
        uids[key]: tuple(
            tally.to_arm(revision, since=kept.since, until=until[key])
            for revision, tally in sorted(kept.arms.items())
        )
        for key, kept in comparisons.items()
    }


def _counted_until(connection: Connection, deployment_id: int, after: int, now: float) -> float:
    p = t.prediction.c
    query = select(func.min(p.arrival)).where(p.id > after, p.deployment_id == deployment_id)
    waiting: float | None = connection.execute(query).scalar()
    return now if waiting is None else min(now, waiting)
