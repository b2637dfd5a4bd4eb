"""Windows that were judged and what each monitor remembers, written together or not at all."""

from collections.abc import Collection

import orjson
from sqlalchemy import Connection, delete, select

from perennial_observer.errors import LeaseLost
from perennial_observer.explaining.findings import Explanation
from perennial_observer.monitors.alarms.verdicts import Assessment, Hindrance, Memory
from perennial_observer.store import tables as t
from perennial_observer.store.inserts import insert_or_skip, put
from perennial_observer.store.reads import Position
from perennial_observer.webhooks.outbox import note_transition

__all__ = [
    "forget_deployment",
    "forget_monitors",
    "read_judged",
    "read_last_position",
    "read_memories",
    "write_hindrance",
    "write_memory",
    "write_window",
]


def read_memories(connection: Connection, deployment_id: int) -> dict[str, Memory]:
    """Read what the monitors of a deployment remember, by name."""
    m = t.monitor_state.c
    rows = connection.execute(select(m.monitor, m.state).where(m.deployment_id == deployment_id))
    return {row.monitor: Memory.model_validate_json(row.state) for row in rows}


def read_memory_texts(connection: Connection, deployment_ids: Collection[int]) -> dict[int, dict[str, str]]:
    """Read what the monitors of some deployments remember, as it is stored, by id and name."""
    m = t.monitor_state.c
    query = select(m.deployment_id, m.monitor, m.state).where(m.deployment_id.in_(deployment_ids))
    found: dict[int, dict[str, str]] = {}
    for row in connection.execute(query):
        found.setdefault(row.deployment_id, {})[row.monitor] = row.state
    return found


def read_last_position(
    connection: Connection, deployment_id: int, monitor: str, revision: str
) -> Position | None:
    """Where this monitor's latest window on this revision ended."""
    w = t.window.c
    query = (
        select(w.end_event, w.end_id)
        .where(w.deployment_id == deployment_id, w.monitor == monitor, w.revision == revision)
        .order_by(w.end_event.desc(), w.end_id.desc())
        .limit(1)
    )
    found = connection.execute(query).one_or_none()
    return None if found is None else Position(found.end_event, found.end_id)


def read_judged(connection: Connection) -> dict[int, str]:
    """Return the deployments of whose monitors or requests anything is remembered: uids by their ids."""
    d = t.deployment.c
    held = select(t.monitor_state.c.deployment_id).union(select(t.service_level.c.deployment_id))
    return {row.id: row.uid for row in connection.execute(select(d.id, d.uid).where(d.id.in_(held)))}


def write_memory(connection: Connection, deployment_id: int, monitor: str, memory: Memory) -> None:
    """Store what a monitor remembers, and note a change that somebody is to be told of."""
    m = t.monitor_state.c
    held = connection.execute(
        select(m.state).where(m.deployment_id == deployment_id, m.monitor == monitor)
    ).scalar()
    if held is not None:
        note_transition(connection, deployment_id, monitor, Memory.model_validate_json(held), memory)
    values = {
        "revision": memory.revision,
        "spec_digest": memory.spec_digest,
        "state": memory.model_dump_json(),
    }
    put(connection, t.monitor_state, {"deployment_id": deployment_id, "monitor": monitor}, values)


def write_hindrance(
    connection: Connection, deployment_id: int, monitor: str, hindrance: Hindrance | None
) -> None:
    """Note in what a monitor remembers what hinders it; the rest of it stands, for windows may have been judged since."""
    memory = read_memories(connection, deployment_id).get(monitor)
    if memory is not None:
        changed = memory.model_copy(update={"hindrance": hindrance})
        write_memory(connection, deployment_id, monitor, changed)


def write_window(
    connection: Connection,
    deployment_id: int,
    monitor: str,
    memory: Memory,
    assessment: Assessment,
    *,
    now: float,
    explanation: Explanation | None = None,
) -> None:
    """Record one judged window with the memory that follows from it; the unique key refuses it a second time.

    The verdict is the assessment with the state that followed, the episode, and the explanation of a breach.

    Raises
    ------
    LeaseLost
        If the window has been judged; nothing is written.
    """
    assert memory.cursor is not None, "a window that was judged has an end"
    verdict = {
        **assessment.model_dump(mode="json"),
        "state": memory.state.value,
        "breach_id": memory.alarm.breach_id,
        "explanation": None if explanation is None else explanation.model_dump(mode="json"),
    }
    values = {
        "deployment_id": deployment_id,
        "monitor": monitor,
        "revision": memory.revision,
        "start_event": memory.window_start,
        "end_event": memory.cursor.event_time,
        "end_id": memory.cursor.id,
        "samples": assessment.samples,
        "breached": assessment.breached,
        "verdict": orjson.dumps(verdict).decode(),
        "evaluated_at": now,
    }
    if not insert_or_skip(connection, t.window, values):
        raise LeaseLost("another observer has judged this window: nothing is to be done")
    write_memory(connection, deployment_id, monitor, memory)


def forget_monitors(connection: Connection, deployment_id: int, names: set[str]) -> None:
    """Drop what monitors that are gone from the spec remember; their windows stay."""
    m = t.monitor_state.c
    for name, memory in read_memories(connection, deployment_id).items():
        if name in names:
            note_transition(connection, deployment_id, name, memory, None)
    connection.execute(delete(t.monitor_state).where(m.deployment_id == deployment_id, m.monitor.in_(names)))


def forget_deployment(connection: Connection, deployment_id: int) -> None:
    """Drop what is remembered of a deployment that was deleted, which ends its alarms; windows and rows stay."""
    forget_monitors(connection, deployment_id, set(read_memories(connection, deployment_id)))
    for table in (t.service_level, t.service_level_bucket):
        connection.execute(delete(table).where(table.c.deployment_id == deployment_id))
