"""Silence: no row for longer than ``maxSilence``, by the clock.

No window closes without rows, so this is no window's verdict. It is an alarm of its own that lies over the monitor's:
what is remembered is only since when no row has come, from which the episode's name follows. So a restart finds the same
episode again, rows that come end it, and what windows have found before stands as it was.
"""

from datetime import UTC, datetime

from perennial_api.modeldeployment.monitoring import Monitor
from perennial_api.monitorreport import MonitorState, MonitorVerdict

from perennial_observer.monitors.alarms.hindrance import show_hindrance
from perennial_observer.monitors.alarms.rule import name_breach, name_monitor
from perennial_observer.monitors.alarms.verdicts import MAX_MESSAGE, Memory, build_verdict, utc

__all__ = ["name_silence", "show_monitor", "show_silence", "step_silence", "tell_silence"]


def step_silence(memory: Memory, *, latest_arrival: float, max_silence_s: float, now: float) -> Memory:
    """Return the memory itself while nothing changes, else one that must be stored.

    Parameters
    ----------
    latest_arrival
        When the deployment's latest row came, seconds since the epoch by the same clock as `now`.
    """
    since = latest_arrival if now - latest_arrival > max_silence_s else None
    if (since is None) == (memory.silent_since is None):
        return memory
    # While windows have raised an alarm, the state stays what it is.
    transition = memory.last_transition if memory.state is MonitorState.ALARM else now
    return memory.model_copy(update={"silent_since": since, "last_transition": transition})


def show_silence(verdict: MonitorVerdict, memory: Memory, name: str, max_silence: str) -> MonitorVerdict:
    """Lay the silence, if there is one, over the verdict of the windows; and when it began or ended.

    Parameters
    ----------
    name
        ``<monitor>/<uid of the deployment>/<revision>``, which breach ids are made of.
    """
    verdict = verdict.model_copy(update={"last_transition_time": utc(memory.last_transition)})
    if memory.silent_since is None:
        return verdict
    message = _write_message(memory.silent_since, max_silence)
    if verdict.state is MonitorState.ALARM:
        # The alarm that stands keeps its name: for whoever was called it is the same trouble.
        return verdict.model_copy(update={"message": f"{message}; {verdict.message}"[:MAX_MESSAGE]})
    return verdict.model_copy(
        update={
            "state": MonitorState.ALARM,
            "reason": "Silent",
            "message": message,
            "breach_id": name_breach(name, memory.silent_since),
        }
    )


def show_monitor(monitor: Monitor, memory: Memory, uid: str) -> MonitorVerdict:
    """Build what is reported of a monitor from its memory alone, with the hindrance and the silence that it remembers.

    Parameters
    ----------
    uid
        Of the deployment.
    """
    verdict = build_verdict(monitor, memory)
    if memory.hindrance is not None:
        hindrance = memory.hindrance
        verdict = show_hindrance(verdict, MonitorState.ERROR, hindrance.reason, hindrance.message)
    max_silence = _max_silence(monitor)
    if max_silence is None:
        return verdict
    return show_silence(verdict, memory, name_monitor(monitor.name, uid, memory.revision), max_silence)


def name_silence(monitor: str, uid: str, memory: Memory) -> str | None:
    """Name the episode of silence that a memory holds, as :func:`show_silence` does; None if there is none."""
    if memory.silent_since is None:
        return None
    return name_breach(name_monitor(monitor, uid, memory.revision), memory.silent_since)


def tell_silence(since: float, monitor: Monitor | None) -> str:
    """Say since when no row has come.

    Parameters
    ----------
    monitor
        As it is now; None if it is gone.
    """
    return _write_message(since, _max_silence(monitor))


def _max_silence(monitor: Monitor | None) -> str | None:
    spec = monitor.data_quality if monitor is not None else None
    return None if spec is None or spec.max_silence is None else str(spec.max_silence)


def _write_message(since: float, max_silence: str | None) -> str:
    came = f"no row that fits has come since {datetime.fromtimestamp(int(since), tz=UTC):%Y-%m-%dT%H:%M:%SZ}"
    return came if max_silence is None else f"{came}, maxSilence is {max_silence}"
