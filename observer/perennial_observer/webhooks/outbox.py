"""What is still to be told, in the database.

A change of a monitor is noted in the transaction that writes the monitor's memory. So an observer that is killed has
either written neither, or will tell of the change after its restart. Notes become one event for each receiver later:
what is judged needn't know who is told.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import orjson
from perennial_api import ModelDeployment
from pydantic import ValidationError
from sqlalchemy import Connection, delete, func, insert, select, update

from perennial_observer.monitors.alarms.verdicts import Memory
from perennial_observer.store import tables as t
from perennial_observer.store.rows import DeploymentKey
from perennial_observer.webhooks.targets import WebhookTarget
from perennial_observer.webhooks.transitions import Change, Told, Transition, find_changes, move, tell

__all__ = [
    "Due",
    "address_notes",
    "claim_due",
    "drop",
    "has_due",
    "has_unaddressed",
    "note_transition",
    "postpone",
]

_LOG = logging.getLogger(__name__)

# For each receiver, and of what isn't addressed yet: the oldest go. So a receiver that is away pushes out no other's,
# and with bodies of some 8 KiB what waits for it stays below 10 MiB.
MAX_WAITING = 1_000
# The target of what hasn't been addressed yet.
NOBODY = ""


@dataclass(frozen=True)
class Due:
    """One event that is to be sent to one receiver now.

    Parameters
    ----------
    attempts
        How many have been made, this one not counted.
    """

    id: int
    event_id: str
    target: str
    body: str
    attempts: int


def note_transition(
    connection: Connection, deployment_id: int, monitor: str, before: Memory, after: Memory | None
) -> None:
    """Note the changes that somebody may want to know of."""
    changes = find_changes(before, after)
    for change in changes:
        transition = Transition(monitor=monitor, before=before, after=after, change=change)
        values = {
            "deployment_id": deployment_id,
            "event_id": change.value,
            "target": NOBODY,
            "body": transition.model_dump_json(),
            "attempts": 0,
            "due": 0.0,
        }
        connection.execute(insert(t.webhook_event).values(**values))
    if changes and (dropped := _bound(connection, NOBODY)):
        _LOG.error("webhook notes dropped=%d: the sender has taken none for long", dropped)


def address_notes(
    connection: Connection,
    find: Callable[[str], ModelDeployment | None],
    targets: Sequence[WebhookTarget],
    *,
    is_gone: Callable[[str], bool],
    now: float,
) -> int:
    """Turn notes into events, one for each receiver that wants it, and forget receivers that aren't named any more.

    Of a deployment that was deleted only ends are told. A removed monitor's severity isn't known any more: the end of
    its alarm goes to every receiver. Return how many events went because too many wait for their receiver.

    Parameters
    ----------
    find
        Gives a deployment by uid.
    is_gone
        Whether one that isn't found was surely deleted; else its notes wait.
    """
    w, d = t.webhook_event.c, t.deployment.c
    connection.execute(
        delete(t.webhook_event).where(w.target.not_in([NOBODY, *(target.digest for target in targets)]))
    )
    query = (
        select(w.id, w.deployment_id, w.body, d.uid, d.namespace, d.name)
        .select_from(t.webhook_event.join(t.deployment))
        .where(w.target == NOBODY)
        .order_by(w.id)
    )
    for note in connection.execute(query).all():
        deployment = find(note.uid)
        if deployment is None and not is_gone(note.uid):
            continue
        connection.execute(delete(t.webhook_event).where(w.id == note.id))
        try:
            transition = Transition.model_validate_json(note.body)
        except ValidationError as error:
            # A note of another release; left there, it would hold up everything behind it for good.
            _LOG.error("webhook note dropped deployment=%s errors=%d", note.uid, error.error_count())
            continue
        if deployment is None and transition.change is not Change.CLEARED:
            continue
        monitors = () if deployment is None else deployment.spec.monitoring.monitors
        spec = next((m for m in monitors if m.name == transition.monitor), None)
        key = DeploymentKey(note.uid, note.namespace, note.name)
        is_moved = transition.change is Change.MOVED
        for target in targets:
            meant: Transition | None = transition
            if is_moved:
                meant = move(transition, target.wants)
            elif spec is not None and not target.wants(spec.severity):
                meant = None
            if meant is None:
                continue
            moved = note.id if is_moved else None
            told = tell(key, spec, meant, is_deleted=deployment is None, moved=moved)
            if told is not None:
                _put_event(connection, note.deployment_id, target, told, due=now)
    return sum(_bound(connection, target.digest) for target in targets)


def _put_event(
    connection: Connection, deployment_id: int, target: WebhookTarget, told: Told, *, due: float
) -> None:
    values = {
        "deployment_id": deployment_id,
        "event_id": told.id,
        "target": target.digest,
        "body": orjson.dumps(told.body).decode(),
        "attempts": 0,
        "due": due,
    }
    connection.execute(insert(t.webhook_event).values(**values))


def has_unaddressed(connection: Connection, targets: Sequence[WebhookTarget]) -> bool:
    """Whether :func:`address_notes` would find anything to do; asked before anything is written."""
    w = t.webhook_event.c
    query = select(w.id).where(w.target.not_in([target.digest for target in targets])).limit(1)
    return connection.execute(query).scalar() is not None


def has_due(connection: Connection, target: str, *, now: float) -> bool:
    """Whether anything is due for a receiver; asked before anything is written."""
    w = t.webhook_event.c
    query = select(w.id).where(w.target == target, w.due <= now).limit(1)
    return connection.execute(query).scalar() is not None


def claim_due(connection: Connection, target: str, *, now: float, until: float, limit: int) -> list[Due]:
    """Take what is due for a receiver, and put it off until `until`, so that no other replica sends it meanwhile."""
    w = t.webhook_event.c
    query = (
        select(w.id, w.event_id, w.target, w.body, w.attempts)
        .where(w.due <= now, w.target == target)
        .order_by(w.due, w.id)
        .limit(limit)
    )
    found = [Due(*row) for row in connection.execute(query)]
    if found:
        ids = [due.id for due in found]
        connection.execute(update(t.webhook_event).where(w.id.in_(ids)).values(due=until))
    return found


def drop(connection: Connection, ids: Sequence[int]) -> None:
    """Forget events that arrived or never will."""
    if ids:
        connection.execute(delete(t.webhook_event).where(t.webhook_event.c.id.in_(ids)))


def postpone(connection: Connection, until: Mapping[int, float]) -> None:
    """Note failed attempts, and when the next ones are due."""
    w = t.webhook_event.c
    for id_, due in until.items():
        connection.execute(
            update(t.webhook_event).where(w.id == id_).values(due=due, attempts=w.attempts + 1)
        )


def _bound(connection: Connection, target: str) -> int:
    """Let the oldest of what waits for a receiver go; return how many went."""
    w = t.webhook_event.c
    waiting = select(func.count()).select_from(t.webhook_event).where(w.target == target)
    surplus = connection.execute(waiting).scalar_one() - MAX_WAITING
    if surplus <= 0:
        return 0
    oldest = select(w.id).where(w.target == target).order_by(w.id).limit(surplus)
    drop(connection, list(connection.execute(oldest).scalars()))
    return surplus
