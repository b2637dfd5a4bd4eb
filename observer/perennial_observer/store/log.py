"""Writing the log: predictions, rows that don't fit, labels. Functions here are jobs of the one writer.

They look first and insert then, which is right only because nobody else writes; the unique keys stand guard.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, func, insert, select, update

from perennial_observer.store import tables as t
from perennial_observer.store.rows import (
    DeploymentKey,
    FeedbackCounts,
    LabelRow,
    LogCounts,
    PredictionRow,
    RejectedRow,
    ShadowRow,
)

__all__ = [
    "delete_expired",
    "find_deployment_id",
    "register_deployment",
    "settle_labels",
    "write_feedback",
    "write_log",
]

# SQLite allows 32,766 parameters in one statement, PostgreSQL's driver 65,535.
IDS_PER_QUERY = 500
ROWS_PER_DELETE = 5_000

_Key = tuple[str, int]


def find_deployment_id(connection: Connection, uid: str) -> int | None:
    """Look up the row of a ModelDeployment."""
    found: int | None = connection.execute(
        select(t.deployment.c.id).where(t.deployment.c.uid == uid)
    ).scalar()
    return found


def register_deployment(connection: Connection, key: DeploymentKey) -> int:
    """Return the row of a ModelDeployment, making it on first sight."""
    found = find_deployment_id(connection, key.uid)
    if found is not None:
        return found
    result = connection.execute(
        insert(t.deployment).values(uid=key.uid, namespace=key.namespace, name=key.name)
    )
    assert result.inserted_primary_key is not None, "an INSERT of one row always has a key"
    return int(result.inserted_primary_key[0])


def write_log(
    connection: Connection,
    key: DeploymentKey,
    rows: Sequence[PredictionRow],
    rejected: Sequence[RejectedRow],
    shadow: Sequence[ShadowRow] = (),
    *,
    now: float,
    max_rejected: int,
) -> LogCounts:
    """Insert rows that are not there yet.

    A row is known by deployment, prediction id and row; sent again, in one batch or in two, it is a duplicate.
    """
    deployment_id = register_deployment(connection, key)
    fresh = _not_stored(connection, t.prediction, deployment_id, rows)
    if fresh:
        connection.execute(
            insert(t.prediction),
            [{"deployment_id": deployment_id, "arrival": now, **vars(row)} for row in fresh],
        )
        _raise_totals(
            connection, deployment_id, predictions=len(fresh), latest=max(r.event_time for r in fresh)
        )
        _match_waiting_labels(connection, deployment_id, {row.prediction_id for row in fresh})
    misfits = _not_stored(connection, t.rejected_row, deployment_id, rejected)
    if misfits:
        held = connection.execute(
            select(func.count())
            .select_from(t.rejected_row)
            .where(t.rejected_row.c.deployment_id == deployment_id)
        ).scalar_one()
        kept = misfits[: max(0, max_rejected - held)]
        if kept:
            values = [{"deployment_id": deployment_id, "arrival": now, **vars(row)} for row in kept]
            connection.execute(insert(t.rejected_row), values)
        _raise_totals(connection, deployment_id, rejected=len(misfits))
    mirrored = _write_shadow(connection, deployment_id, shadow, now=now)
    duplicates = len(rows) - len(fresh) + len(rejected) - len(misfits) + len(shadow) - mirrored
    return LogCounts(accepted=len(fresh), duplicates=duplicates, rejected=len(misfits), shadow=mirrored)


def _write_shadow(
    connection: Connection, deployment_id: int, rows: Sequence[ShadowRow], *, now: float
) -> int:
    """Insert mirrored answers that are not there yet; one of each revision. Returns how many."""
    fresh: list[ShadowRow] = []
    for revision in sorted({row.revision for row in rows}):
        mine = [row for row in rows if row.revision == revision]
        of_revision = t.shadow_row.c.revision == revision
        fresh += _not_stored(connection, t.shadow_row, deployment_id, mine, of_revision)
    if fresh:
        values = [{"deployment_id": deployment_id, "arrival": now, "state": 0, **vars(row)} for row in fresh]
        connection.execute(insert(t.shadow_row), values)
    return len(fresh)


def _not_stored(
    connection: Connection,
    table: Table,
    deployment_id: int,
    rows: Sequence[Any],
    *where: ColumnElement[bool],
) -> list[Any]:
    stored = _stored_keys(connection, table, deployment_id, {row.prediction_id for row in rows}, *where)
    fresh: dict[_Key, Any] = {}
    for row in rows:
        place = (row.prediction_id, row.row)
        if place not in stored:
            fresh.setdefault(place, row)
    return list(fresh.values())


def _stored_keys(
    connection: Connection, table: Table, deployment_id: int, ids: Iterable[str], *where: ColumnElement[bool]
) -> set[_Key]:
    found: set[_Key] = set()
    for part in _parts(sorted(ids)):
        query = select(table.c.prediction_id, table.c.row).where(
            table.c.deployment_id == deployment_id, table.c.prediction_id.in_(part), *where
        )
        found.update((row.prediction_id, row.row) for row in connection.execute(query))
    return found


def _parts(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[i : i + IDS_PER_QUERY] for i in range(0, len(ids), IDS_PER_QUERY))


def _raise_totals(
    connection: Connection,
    deployment_id: int,
    *,
    predictions: int = 0,
    labels: int = 0,
    rejected: int = 0,
    latest: float | None = None,
) -> None:
    d = t.deployment.c
    values: dict[Any, Any] = {
        d.predictions: d.predictions + predictions,
        d.labels: d.labels + labels,
        d.rejected: d.rejected + rejected,
    }
    connection.execute(update(t.deployment).where(d.id == deployment_id).values(values))
    if latest is not None:
        later = (d.latest_event.is_(None)) | (d.latest_event < latest)
        connection.execute(
            update(t.deployment).where(d.id == deployment_id, later).values(latest_event=latest)
        )


def _match_waiting_labels(connection: Connection, deployment_id: int, ids: set[str]) -> None:
    """Turn labels that came before their prediction into known ones."""
    f = t.feedback.c
    matched = 0
    for part in _parts(sorted(ids)):
        is_logged = exists().where(
            and_(
                t.prediction.c.deployment_id == f.deployment_id,
                t.prediction.c.prediction_id == f.prediction_id,
                t.prediction.c.row == f.row,
            )
        )
        matched += connection.execute(
            update(t.feedback)
            .where(f.deployment_id == deployment_id, f.known.is_(False), f.prediction_id.in_(part), is_logged)
            .values(known=True)
        ).rowcount
    if matched:
        _raise_totals(connection, deployment_id, labels=matched)


def write_feedback(
    connection: Connection,
    deployment_id: int,
    labels: Sequence[LabelRow],
    *,
    now: float,
    max_pending: int,
    may_come: Callable[[str], bool],
) -> FeedbackCounts:
    """Insert labels; the first one for a row stands, a different later one is a conflict.

    A label whose prediction isn't logged (yet) is kept while fewer than `max_pending` such wait, if the prediction
    `may_come` at all.
    """
    ids = {label.prediction_id for label in labels}
    held = _held_labels(connection, deployment_id, ids)
    logged = _stored_keys(connection, t.prediction, deployment_id, ids)
    waiting = _count_waiting(connection, deployment_id) if any(_place(x) not in logged for x in labels) else 0
    fresh: dict[_Key, dict[str, Any]] = {}
    duplicates = conflicts = unknown = unsampled = kept = 0
    for label in labels:
        place = _place(label)
        earlier = held.get(place)
        if earlier is not None:
            duplicates += earlier == label.label
            conflicts += earlier != label.label
            continue
        known = place in logged
        if not known:
            if not may_come(label.prediction_id):
                unsampled += 1
                continue
            unknown += 1
            if waiting + kept >= max_pending:
                continue
            kept += 1
        held[place] = label.label
        fresh[place] = {"deployment_id": deployment_id, "arrival": now, "known": known, **vars(label)}
    if fresh:
        connection.execute(insert(t.feedback), list(fresh.values()))
        _raise_totals(connection, deployment_id, labels=len(fresh) - kept)
    return FeedbackCounts(len(fresh) - kept, duplicates, conflicts, unknown, kept, unsampled)


def _place(label: LabelRow) -> _Key:
    return label.prediction_id, label.row


def _held_labels(connection: Connection, deployment_id: int, ids: set[str]) -> dict[_Key, str]:
    f = t.feedback.c
    held: dict[_Key, str] = {}
    for part in _parts(sorted(ids)):
        query = select(f.prediction_id, f.row, f.label).where(
            f.deployment_id == deployment_id, f.prediction_id.in_(part)
        )
        held.update({(row.prediction_id, row.row): row.label for row in connection.execute(query)})
    return held


def _count_waiting(connection: Connection, deployment_id: int) -> int:
    f = t.feedback.c
    return connection.execute(
        select(func.count())
        .select_from(t.feedback)
        .where(f.known.is_(False), f.deployment_id == deployment_id)
    ).scalar_one()


def settle_labels(connection: Connection, *, before: float) -> int:
    """Drop labels that waited for their prediction since before `before`; return how many."""
    f = t.feedback.c
    return connection.execute(delete(t.feedback).where(f.known.is_(False), f.arrival < before)).rowcount


def delete_expired(connection: Connection, *, before: float) -> int:
    """Drop up to a few thousand of the predictions and labels that arrived before `before`; return how many."""
    dropped = 0
    for table in (t.prediction, t.feedback, t.rejected_row, t.shadow_row):
        old = (
            select(table.c.id)
            .where(table.c.arrival < before)
            .order_by(table.c.arrival)
            .limit(ROWS_PER_DELETE)
        )
        dropped += connection.execute(delete(table).where(table.c.id.in_(old))).rowcount
    return dropped
