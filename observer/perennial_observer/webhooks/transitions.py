"""Which change of a monitor is told, and the CloudEvent that tells it. Pure."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from perennial_api.modeldeployment.monitoring import Monitor
from perennial_api.monitorreport import MonitorState
from pydantic import BaseModel, ConfigDict

from perennial_observer.monitors.verdicts import Memory
from perennial_observer.store.rows import DeploymentKey

__all__ = ["Change", "Told", "Transition", "find_change", "tell"]

MAX_TEXT = 1024
MAX_FEATURES = 5


class Change(StrEnum):
    """What became of a monitor."""

    RAISED = "raised"
    CLEARED = "cleared"
    FAILED = "failed"


@dataclass(frozen=True)
class Told:
    """One event.

    Parameters
    ----------
    id
        The same for every attempt and every receiver: the breach (or the window that failed) and the change.
    """

    id: str
    body: dict[str, Any]


class Transition(BaseModel):
    """A monitor's memory before and after a change; `after` is None where the monitor was removed."""

    model_config = ConfigDict(frozen=True)

    monitor: str
    before: Memory
    after: Memory | None


def find_change(before: Memory, after: Memory | None) -> Change | None:
    """Tell what happened between two memories of a monitor; nothing if nobody would want to know."""
    episode = after.alarm.breach_id if after is not None else None
    if episode is not None and episode != before.alarm.breach_id:
        return Change.RAISED
    if before.alarm.breach_id is not None and episode is None:
        return Change.CLEARED
    if after is not None and after.state is MonitorState.ERROR and before.state is not MonitorState.ERROR:
        return Change.FAILED
    return None


def tell(key: DeploymentKey, spec: Monitor | None, transition: Transition) -> Told | None:
    """Write the CloudEvent of a change; None if there is none.

    Parameters
    ----------
    spec
        The monitor as it is now; None if it is gone.
    """
    name = transition.monitor
    before, after = transition.before, transition.after
    change = find_change(before, after)
    if change is None:
        return None
    episode = _name_episode(key, change, transition)
    memory = after if after is not None else before
    latest = memory.latest
    data = {
        "namespace": key.namespace,
        "deployment": key.name,
        "uid": key.uid,
        "revision": before.revision if change is Change.CLEARED else memory.revision,
        "monitor": name,
        "type": spec.type.value if spec is not None else None,
        "severity": spec.severity.value if spec is not None else None,
        "breachId": None if change is Change.FAILED else episode,
        "state": after.state.value if after is not None else None,
        "previousState": before.state.value,
        "reason": after.reason if after is not None else "MonitorRemoved",
        "message": after.message[:MAX_TEXT] if after is not None else "the monitor was removed",
        "explanation": memory.explanation[:MAX_TEXT],
        "statistic": latest.statistic if latest is not None else None,
        "threshold": latest.threshold if latest is not None else None,
        "windowStart": _time(memory.window_start),
        "windowEnd": _time(memory.window_end),
        "features": [
            {"name": feature, "statistic": value}
            for feature, value in (latest.features if latest is not None else ())[:MAX_FEATURES]
        ],
    }
    event = f"{episode}/{change.value}"
    body = {
        "specversion": "1.0",
        "type": f"dev.perennial.monitor.{change.value}.v1",
        "source": f"/{key.namespace}/{key.name}",
        "subject": name,
        "id": event,
        "time": _time(memory.evaluated_at or memory.last_transition or 0.0),
        "datacontenttype": "application/json",
        "data": data,
    }
    return Told(event, body)


def _name_episode(key: DeploymentKey, change: Change, transition: Transition) -> str:
    after = transition.after
    if change is Change.CLEARED or after is None:
        return transition.before.alarm.breach_id or ""
    if change is Change.RAISED:
        return after.alarm.breach_id or ""
    what = f"{key.uid}/{after.revision}/{after.window_end!r}/{after.last_transition!r}"
    return f"{transition.monitor}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
