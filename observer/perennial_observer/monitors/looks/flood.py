"""Rows that don't fit, where there are so many that no window closes any more: they are judged as a window of their own.

It moves no cursor, so that rows which fit are judged as ever, and it isn't among the windows that are kept, which are known
by rows. The monitor's memory holds up to which arrival it has counted, so each row that didn't fit counts once.
"""

from perennial_api.modeldeployment.monitoring import DataQuality, Monitor, MonitorSettings

from perennial_observer.monitors.alarms.step import step
from perennial_observer.monitors.alarms.verdicts import Memory
from perennial_observer.monitors.quality.assess import assess_misfits
from perennial_observer.monitors.quality.rejections import counts_misfits, read_flood
from perennial_observer.store.reads import Position
from perennial_observer.store.store import Store

__all__ = ["judge_flood"]


def judge_flood(
    store: Store,
    deployment_id: int,
    monitor: Monitor,
    settings: MonitorSettings,
    memory: Memory,
    *,
    name: str,
    now: float,
) -> Memory | None:
    """Return the memory that follows, if there is something to judge.

    Parameters
    ----------
    name
        ``<monitor>/<uid>/<revision>``, which breach ids are made of.
    """
    if not counts_misfits(monitor):
        return None
    with store.read() as connection:
        found = read_flood(connection, deployment_id, memory, settings, now=now)
    if found is None:
        return None
    misfits, others = found
    assert misfits.first is not None
    assert misfits.last is not None
    assessment = assess_misfits(misfits.reasons, others, monitor.data_quality or DataQuality(), settings)
    first, last = Position(misfits.first, 0), Position(misfits.last, 0)
    after = step(memory, settings, assessment, first=first, last=last, name=name, now=now)
    return after.model_copy(update={"cursor": memory.cursor, "rejected_until": misfits.last})
