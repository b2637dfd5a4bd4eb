"""What one judgement changes: held together until it is stored, and said in the log."""

import logging
from dataclasses import dataclass

from perennial_observer.explaining.findings import Explanation
from perennial_observer.monitors.alarms.verdicts import Assessment, Memory
from perennial_observer.store.rows import DeploymentKey

__all__ = ["Judged", "log_transition"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """One window that was judged, with what the monitor remembers after it."""

    after: Memory
    assessment: Assessment
    now: float
    explanation: Explanation | None = None


def log_transition(key: DeploymentKey, monitor: str, memory: Memory) -> None:
    """Write a line about a monitor whose state has changed."""
    _LOG.info(
        "monitor %s deployment=%s/%s revision=%s state=%s reason=%s breach=%s message=%s",
        monitor,
        key.namespace,
        key.name,
        memory.revision,
        memory.state.value,
        memory.reason,
        memory.alarm.breach_id,
        memory.message,
    )
