"""Writing the log: predictions, rows that don't fit, labels. Functions here are jobs of the one writer.

Some look first and insert then, which is right only because nobody else writes; the unique keys stand guard.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Float, and_, bindparam, case, exists, func, insert, or_, select, update

from perennial_observer.store import tables as t
from perennial_observer.store.inserts import find_new, insert_new, insert_or_skip, parts
from perennial_observer.store.retention import delete_oldest_rejected
from perennial_observer.store.rows import (
    DeploymentKey,
    FeedbackCounts,
    LabelRow,
    LogCounts,
    Placed,
    PredictionRow,
    RejectedRow,
    ShadowRow,
)
from perennial_observer.store.sizes import LABEL_BYTES, measure_rows

__all__ = [
    "find_deployment_id",
    "register_deployment",
    "write_feedback",
    "write_log",
]

_Key = tuple[str, int]
_D, _F = t.deployment.c, t.feedback.c

# Statements of every message, made once: making one costs SQLAlchemy ten times what running it does.
_FIND = select(
    _D.id,
    _D.latest_event,
    exists().where(_F.deployment_id == _D.id, _F.known.is_(False)).label("has_waiting"),
).where(_D.uid == bindparam("uid"))
_LATEST = bindparam("latest", type_=Float)
_RAISE_TOTALS = (
    update(t.deployment)
    .where(_D.id == bindparam("deployment"))
    .values(
        {
            column: column + bindparam(f"more_{column.name}")
            for column in (_D.predictions, _D.labels, _D.rejected, _D.late, _D.log_bytes)
        }
        | {
            _D.latest_event: case(
                (or_(_D.latest_event.is_(None), _D.latest_event < _LATEST), _LATEST), else_=_D.latest_event
            )
        }
    )
)


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
    insert_or_skip(connection, t.deployment, {"uid": key.uid, "namespace": key.namespace, "name": key.name})
    made = find_deployment_id(connection, key.uid)
    assert made is not None, "a row that can't be inserted is there"
    return made


def write_log(
    connection: Connection,
    key: DeploymentKey,
    rows: Sequence[PredictionRow],
    rejected: Sequence[RejectedRow],
    shadow: Sequence[ShadowRow] = (),
    *,
    now: float,
    max_rejected: int,
    place: Callable[[Sequence[PredictionRow], float | None], Placed] | None = None,
) -> LogCounts:
    """Insert rows that are not there yet.

    A row is known by deployment, prediction id and row; sent again, in one batch or in two, it is a duplicate.

    Parameters
    ----------
    place
        Settles where rows stand in the stream, given the latest event time so far: here, since until now the rows may
        have waited for long. Without it they stand where they say.
    """
    found = connection.execute(_FIND, {"uid": key.uid}).first()
    deployment_id = register_deployment(connection, key) if found is None else found.id
    late_before = None
    if place is not None and rows:
        placed = place(rows, None if found is None else found.latest_event)
        rows, late_before = placed.rows, placed.late_before
    fresh = insert_new(connection, t.prediction, deployment_id, rows, arrival=now)
    late = 0 if late_before is None else sum(row.event_time < late_before for row in fresh)
    labels = 0
    if fresh and found is not None and found.has_waiting:
        labels = _match_waiting_labels(connection, deployment_id, {row.prediction_id for row in fresh})
    misfits = find_new(connection, t.rejected_row, deployment_id, rejected)
    # The latest are kept: monitors count them, and would see an end of the trouble if no more were taken.
    kept = misfits[max(0, len(misfits) - max_rejected) :]
    if kept:
        delete_oldest_rejected(connection, deployment_id, keep=max_rejected - len(kept))
        values = [{"deployment_id": deployment_id, "arrival": now, **vars(row)} for row in kept]
        connection.execute(insert(t.rejected_row), values)
    mirrored = insert_new(connection, t.shadow_row, deployment_id, shadow, arrival=now, state=0)
    if fresh or misfits or mirrored:
        _raise_totals(
            connection,
            deployment_id,
            predictions=len(fresh),
            labels=labels,
            rejected=len(misfits),
            late=late,
            log_bytes=measure_rows(fresh, kept, mirrored),
            latest=max((row.event_time for row in fresh), default=None),
        )
    duplicates = len(rows) - len(fresh) + len(rejected) - len(misfits) + len(shadow) - len(mirrored)
    return LogCounts(
        accepted=len(fresh),
        duplicates=duplicates,
        rejected=len(misfits),
        shadow=len(mirrored),
        late=late,
        reasons=Counter(row.reason for row in misfits),
    )


def _logged(connection: Connection, deployment_id: int, ids: Iterable[str]) -> set[_Key]:
    """Rows of these predictions that are in the log."""
    p = t.prediction.c
    found: set[_Key] = set()
    for part in parts(sorted(ids)):
        query = select(p.prediction_id, p.row).where(
            p.deployment_id == deployment_id, p.prediction_id.in_(part)
        )
        found.update((row.prediction_id, row.row) for row in connection.execute(query))
    return found


def _raise_totals(
    connection: Connection,
    deployment_id: int,
    *,
    predictions: int = 0,
    labels: int = 0,
    rejected: int = 0,
    late: int = 0,
    log_bytes: int = 0,
    latest: float | None = None,
) -> None:
    connection.execute(
        _RAISE_TOTALS,
        {
            "deployment": deployment_id,
            "more_predictions": predictions,
            "more_labels": labels,
            "more_rejected": rejected,
            "more_late": late,
            "more_log_bytes": log_bytes,
            "latest": latest,
        },
    )


def _match_waiting_labels(connection: Connection, deployment_id: int, ids: set[str]) -> int:
    """Turn labels that came before their prediction into known ones; return how many."""
    f = t.feedback.c
    matched = 0
    for part in parts(sorted(ids)):
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
    return matched


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
    logged = _logged(connection, deployment_id, ids)
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
        _raise_totals(connection, deployment_id, labels=len(fresh) - kept, log_bytes=LABEL_BYTES * len(fresh))
    return FeedbackCounts(len(fresh) - kept, duplicates, conflicts, unknown, kept, unsampled)


def _place(label: LabelRow) -> _Key:
    return label.prediction_id, label.row


def _held_labels(connection: Connection, deployment_id: int, ids: set[str]) -> dict[_Key, str]:
    f = t.feedback.c
    held: dict[_Key, str] = {}
    for part in parts(sorted(ids)):
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
