"""What leaves the database, in steps small enough that log entries get their turn. Jobs of the writer.

Each step deletes by keys it has read and counts what the delete itself returns, so that two of them at once (of two
observers) never count a row twice.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, ScalarSelect, Table, delete, exists, select

from perennial_observer.store import tables as t
from perennial_observer.store.inserts import parts
from perennial_observer.store.scores import delete_scores, score_bytes
from perennial_observer.store.sizes import LOG_TABLES, raise_log_bytes, row_bytes

__all__ = [
    "ROWS_PER_STEP",
    "Deleted",
    "LogSize",
    "delete_idle_references",
    "delete_old_windows",
    "delete_oldest",
    "delete_oldest_rejected",
    "read_log_sizes",
    "settle_labels",
]

ROWS_PER_STEP = 2_000


@dataclass(frozen=True)
class LogSize:
    """What one deployment has in the log.

    Parameters
    ----------
    size_bytes
        As `perennial_observer.store.sizes` reckons.
    oldest
        Earliest arrival of any row or label, seconds since the epoch; None where there is none.
    """

    deployment_id: int
    uid: str
    size_bytes: int
    oldest: float | None


@dataclass(frozen=True)
class Deleted:
    """What a step deleted."""

    rows: int
    size_bytes: int


@dataclass(frozen=True, order=True)
class _Candidate:
    arrival: float
    id: int
    table: int
    size_bytes: int


def read_log_sizes(connection: Connection) -> list[LogSize]:
    """Read how much each deployment has that has anything, those that are gone from the cluster included."""
    d = t.deployment.c
    firsts = [_first_arrival(table) for table in LOG_TABLES]
    # Not only what is positive: what another release wrote meanwhile was counted in its deletion only.
    query = select(d.id, d.uid, d.log_bytes, *firsts).where(d.log_bytes != 0)
    found = []
    for key, uid, size_bytes, *arrivals in connection.execute(query):
        known = [arrival for arrival in arrivals if arrival is not None]
        found.append(LogSize(key, uid, size_bytes, min(known, default=None)))
    return found


def _first_arrival(table: Table) -> ScalarSelect[Any]:
    """Earliest arrival of a deployment's, one look into the index."""
    query = select(table.c.arrival).where(table.c.deployment_id == t.deployment.c.id)
    return query.order_by(table.c.arrival).limit(1).scalar_subquery()


def delete_oldest(connection: Connection, deployment_id: int, *, before: float, excess_bytes: int) -> Deleted:
    """Delete up to a few thousand of a deployment's oldest rows and labels.

    Parameters
    ----------
    before
        All that arrived earlier go.
    excess_bytes
        Of the rest, the oldest go until so much has gone.
    """
    freed, chosen = 0, list[_Candidate]()
    for candidate in sorted(_read_candidates(connection, deployment_id))[:ROWS_PER_STEP]:
        if candidate.arrival >= before and freed >= excess_bytes:
            break
        freed += candidate.size_bytes
        chosen.append(candidate)
    deleted, scores_bytes = list[int](), 0
    for number, table in enumerate(LOG_TABLES):
        ids = [each.id for each in chosen if each.table == number]
        if table is t.prediction:
            scores_bytes = sum(delete_scores(connection, part) for part in parts(ids))
        deleted += _delete(connection, table, ids)
    size_bytes = sum(deleted) + scores_bytes
    raise_log_bytes(connection, deployment_id, -size_bytes)
    return Deleted(len(deleted), size_bytes)


def delete_oldest_rejected(connection: Connection, deployment_id: int, *, keep: int) -> None:
    """Delete a deployment's oldest rows that didn't fit, but for the latest `keep`."""
    r = t.rejected_row.c
    mine = select(r.id).where(r.deployment_id == deployment_id).order_by(r.arrival.desc(), r.id.desc())
    surplus = list(connection.execute(mine.offset(keep)).scalars())
    raise_log_bytes(connection, deployment_id, -sum(_delete(connection, t.rejected_row, surplus)))


def _read_candidates(connection: Connection, deployment_id: int) -> list[_Candidate]:
    found = []
    for number, table in enumerate(LOG_TABLES):
        size_bytes = row_bytes(table) + score_bytes() if table is t.prediction else row_bytes(table)
        query = (
            select(table.c.arrival, table.c.id, size_bytes)
            .where(table.c.deployment_id == deployment_id)
            .order_by(table.c.arrival, table.c.id)
            .limit(ROWS_PER_STEP)
        )
        found += [_Candidate(arrival, key, number, size) for arrival, key, size in connection.execute(query)]
    return found


def _delete(connection: Connection, table: Table, ids: Sequence[int]) -> list[int]:
    """Delete rows by their ids; return the sizes of those that were still there."""
    sizes: list[int] = []
    for part in parts(ids):
        statement = delete(table).where(table.c.id.in_(part)).returning(row_bytes(table))
        sizes += connection.execute(statement).scalars()
    return sizes


def settle_labels(connection: Connection, *, before: float) -> int:
    """Drop some of the labels that have waited for their prediction since before `before`; return how many."""
    f = t.feedback.c
    query = select(f.deployment_id, f.id).where(f.known.is_(False), f.arrival < before).limit(ROWS_PER_STEP)
    waiting: dict[int, list[int]] = {}
    for row in connection.execute(query):
        waiting.setdefault(row.deployment_id, []).append(row.id)
    dropped = 0
    for deployment_id, ids in waiting.items():
        sizes = _delete(connection, t.feedback, ids)
        raise_log_bytes(connection, deployment_id, -sum(sizes))
        dropped += len(sizes)
    return dropped


def delete_old_windows(connection: Connection, *, before: float) -> int:
    """Drop some of the windows judged before `before`, found by their ids, which rise with time; return how many."""
    w = t.window.c
    first = connection.execute(select(w.id, w.evaluated_at).order_by(w.id).limit(ROWS_PER_STEP))
    old = [row.id for row in first if row.evaluated_at < before]
    return sum(connection.execute(delete(t.window).where(w.id.in_(part))).rowcount for part in parts(old))


def delete_idle_references(
    connection: Connection, *, living: Collection[str], keep: int, before: float
) -> int:
    """Drop reference samples that came before `before` and that nothing can be compared with any more.

    A reference stays while the log has a row of its revision, and so do the latest `keep` of a deployment that exists:
    its server sends it at its start only.

    Parameters
    ----------
    living
        Uids of the deployments that exist.
    """
    r, p = t.reference.c, t.prediction.c
    in_log = exists().where(p.deployment_id == r.deployment_id, p.revision == r.revision)
    query = (
        select(r.id, t.deployment.c.uid, r.arrival, in_log.label("in_log"))
        .select_from(t.reference.join(t.deployment))
        .order_by(r.arrival.desc(), r.id.desc())
    )
    seen: dict[str, int] = {}
    idle: list[int] = []
    for row in connection.execute(query):
        seen[row.uid] = seen.get(row.uid, 0) + 1
        is_kept = row.uid in living and seen[row.uid] <= keep
        if not (is_kept or row.in_log) and row.arrival < before:
            idle.append(row.id)
    return sum(
        connection.execute(delete(t.reference).where(r.id.in_(part))).rowcount
        for part in parts(idle[:ROWS_PER_STEP])
    )
