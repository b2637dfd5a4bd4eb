"""Which changes of a monitor are told, and the CloudEvent that tells one. Pure."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from perennial_api.modeldeployment.monitoring import Monitor, Severity
from perennial_api.monitorreport import MonitorState
from pydantic import BaseModel, ConfigDict

from perennial_observer.monitors.alarms.silence import name_silence, tell_silence
from perennial_observer.monitors.alarms.verdicts import Memory, utc_text
from perennial_observer.store.rows import DeploymentKey

__all__ = ["Change", "Told", "Transition", "find_changes", "move", "tell"]

MAX_TEXT = 1024
MAX_FEATURES = 5


class Change(StrEnum):
    """What became of a monitor."""

    RAISED = "raised"
    CLEARED = "cleared"
    FAILED = "failed"
    MOVED = "moved"
    """The severity of a standing alarm has changed: it begins for some receivers, and ends for others."""


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
    """A monitor's memory before and after a change; `after` is None where the monitor was removed.

    Parameters
    ----------
    change
        Which of the changes is meant; None in a note of an earlier release, which meant the first.
    """

    model_config = ConfigDict(frozen=True)

    monitor: str
    before: Memory
    after: Memory | None
    change: Change | None = None


def find_changes(before: Memory, after: Memory | None) -> tuple[Change, ...]:
    """Tell what happened between two memories of a monitor, in order; nothing if nobody would want to know.

    An alarm is what the status shows, see ``monitors/silence.py``: one that windows have raised, else silence. Where
    the one follows upon the other, the first ends and the second begins.
    """
    ended, begun = _find_episode(before), _find_episode(after)
    if ended != begun:
        # An alarm of windows that follows upon another one replaces it.
        is_replaced = ended is not None and begun is not None and ended.breach_id and begun.breach_id
        cleared = (Change.CLEARED,) if ended is not None and not is_replaced else ()
        return (*cleared, Change.RAISED) if begun is not None else cleared
    if after is None:
        return ()
    if begun is not None and before.severity and after.severity and before.severity is not after.severity:
        return (Change.MOVED,)
    is_hindered = after.hindrance is not None and (
        before.hindrance is None or before.hindrance.reason != after.hindrance.reason
    )
    has_failed = after.state is MonitorState.ERROR and before.state is not MonitorState.ERROR
    return (Change.FAILED,) if is_hindered or has_failed else ()


@dataclass(frozen=True)
class _Episode:
    breach_id: str | None
    silent_since: float | None
    revision: str


def _find_episode(memory: Memory | None) -> _Episode | None:
    if memory is None:
        return None
    if memory.alarm.breach_id is not None:
        return _Episode(memory.alarm.breach_id, None, "")
    if memory.silent_since is not None:
        return _Episode(None, memory.silent_since, memory.revision)
    return None


def move(transition: Transition, wants: Callable[[Severity], bool]) -> Transition | None:
    """Return what a change of severity is for a receiver, by what it wants: a beginning, an end, or nothing."""
    before, after = transition.before.severity, transition.after.severity if transition.after else None
    if before is None or after is None or wants(before) == wants(after):
        return None
    return transition.model_copy(update={"change": Change.RAISED if wants(after) else Change.CLEARED})


def tell(
    key: DeploymentKey,
    spec: Monitor | None,
    transition: Transition,
    *,
    is_deleted: bool = False,
    moved: int | None = None,
) -> Told | None:
    """Write the CloudEvent of a change; None if there is none.

    Parameters
    ----------
    spec
        The monitor as it is now; None if it is gone.
    is_deleted
        Whether all of its deployment is.
    moved
        Number of the change of severity by which the alarm begins or ends for the receiver; None if none is meant.
    """
    before, after = transition.before, transition.after
    change = transition.change or next(iter(find_changes(before, after)), None)
    if change is None:
        return None
    told = before if change is Change.CLEARED or after is None else after
    episode = _find_episode(told)
    is_silence = change is not Change.FAILED and episode is not None and episode.silent_since is not None
    name = _name_episode(key, change, transition.monitor, told)
    event = f"{name}/{change.value}"
    if is_silence:
        # The same silence is told of again after the monitor's settings changed: that is no second attempt.
        event += f"/{int(told.last_transition or 0.0)}"
    if moved is not None:
        event += f"/{moved}"
    memory = after if after is not None else before
    data = {
        "namespace": key.namespace,
        "deployment": key.name,
        "uid": key.uid,
        "revision": told.revision,
        "monitor": transition.monitor,
        "type": spec.type.value if spec is not None else None,
        "severity": spec.severity.value if spec is not None else None,
        "breachId": None if change is Change.FAILED else name,
        "state": _state(after).value if after is not None else None,
        "previousState": _state(before).value,
        **_describe_state(after, is_deleted=is_deleted),
        **_describe_window(None if is_silence else memory),
    }
    if is_silence and change is Change.RAISED and told.silent_since is not None:
        data |= {"reason": "Silent", "message": tell_silence(told.silent_since, spec)}
    if moved is not None and change is Change.CLEARED and spec is not None:
        message = f"the alarm stands, with severity {spec.severity.value}"
        data |= {"reason": "SeverityChanged", "message": message}
    at = memory.last_transition if is_silence else memory.evaluated_at
    if change is Change.FAILED and memory.hindrance is not None:
        state = _state(memory) if _state(memory) is MonitorState.ALARM else MonitorState.ERROR
        hindrance, at = memory.hindrance, memory.hindrance.since
        data |= {"state": state.value, "reason": hindrance.reason, "message": hindrance.message[:MAX_TEXT]}
    body = {
        "specversion": "1.0",
        "type": f"dev.perennial.monitor.{change.value}.v1",
        "source": f"/{key.namespace}/{key.name}",
        "subject": transition.monitor,
        "id": event,
        "time": _time(at or memory.last_transition or 0.0),
        "datacontenttype": "application/json",
        "data": data,
    }
    return Told(event, body)


def _describe_state(after: Memory | None, *, is_deleted: bool) -> dict[str, Any]:
    """Say why the monitor's state is what it is now."""
    if is_deleted:
        return {"reason": "DeploymentDeleted", "message": "the ModelDeployment was deleted"}
    if after is None:
        return {"reason": "MonitorRemoved", "message": "the monitor was removed"}
    return {"reason": after.reason, "message": after.message[:MAX_TEXT]}


def _describe_window(memory: Memory | None) -> dict[str, Any]:
    """Say what the latest window found; of silence none tells."""
    latest = memory.latest if memory is not None else None
    return {
        "explanation": memory.explanation[:MAX_TEXT] if memory is not None else "",
        "statistic": latest.statistic if latest is not None else None,
        "threshold": latest.threshold if latest is not None else None,
        "windowStart": _time(memory.window_start) if memory is not None else None,
        "windowEnd": _time(memory.window_end) if memory is not None else None,
        "features": [
            {"name": feature, "statistic": value}
            for feature, value in (latest.features if latest is not None else ())[:MAX_FEATURES]
        ],
    }


def _state(memory: Memory) -> MonitorState:
    return memory.state if memory.silent_since is None else MonitorState.ALARM


def _name_episode(key: DeploymentKey, change: Change, monitor: str, told: Memory) -> str:
    if change is Change.FAILED:
        since = told.last_transition if told.hindrance is None else told.hindrance.since
        what = f"{key.uid}/{told.revision}/{told.window_end!r}/{since!r}"
        return f"{monitor}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"
    return told.alarm.breach_id or name_silence(monitor, key.uid, told) or ""


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else utc_text(seconds)
