"""What a monitor remembers before a look: all of it, or as good as nothing where another revision or spec is in force.

And in the midst of it, where a window couldn't be judged.
"""

from perennial_api.modeldeployment.monitoring import Monitor, MonitorSettings

from perennial_observer.monitors.alarms.verdicts import Memory
from perennial_observer.monitors.looks.spec_digest import digest_spec
from perennial_observer.monitors.looks.subjects import Subject
from perennial_observer.monitors.windows.records import read_last_position, read_memories
from perennial_observer.store.store import Store

__all__ = ["read_again", "refresh_memory"]


def refresh_memory(
    store: Store,
    subject: Subject,
    monitor: Monitor,
    settings: MonitorSettings,
    memory: Memory | None,
    *,
    now: float,
) -> Memory:
    """Return the memory itself, or a clean one on another revision or another spec that must be stored.

    It begins behind the last window judged on this revision, and what was counted isn't counted again. Another severity
    alone changes nothing but whom an alarm that stands concerns.
    """
    digest = digest_spec(monitor, settings, subject.exclude, subject.deployment.spec.monitoring)
    assert subject.revision is not None
    assert subject.deployment_id is not None
    if memory is not None and memory.revision == subject.revision and memory.spec_digest == digest:
        if memory.severity is monitor.severity:
            return memory
        return memory.model_copy(update={"severity": monitor.severity})
    with store.read() as connection:
        cursor = read_last_position(connection, subject.deployment_id, monitor.name, subject.revision)
    return Memory(
        revision=subject.revision,
        spec_digest=digest,
        cursor=cursor,
        last_transition=now,
        severity=monitor.severity,
        rejected_until=memory.rejected_until
        if memory is not None and memory.revision == subject.revision
        else None,
    )


def read_again(store: Store, subject: Subject, monitor: Monitor, memory: Memory) -> Memory:
    """Return what a monitor remembers by now: windows may have been judged before the one that couldn't be.

    Who went on from what was known before would judge them again, which their keys refuse for good.
    """
    assert subject.deployment_id is not None
    with store.read() as connection:
        return read_memories(connection, subject.deployment_id).get(monitor.name, memory)
