"""Silence: no row for longer than ``maxSilence``, by the clock.

No window closes without rows, so this is no window's verdict. It is an alarm of its own that lies over the monitor's:
what is remembered is only since when no row has come, from which the episode's name follows. So a restart finds the same
episode again, rows that come end it, and what windows have found before stands as it was.
"""

from datetime import UTC, datetime

from perennial_api.monitorreport import MonitorState, MonitorVerdict

from perennial_observer.monitors.alarm import name_breach
from perennial_observer.monitors.verdicts import MAX_MESSAGE, Memory, utc

__all__ = ["show_silence", "step_silence"]


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
    since = datetime.fromtimestamp(int(memory.silent_since), tz=UTC)
    message = f"no row has come since {since:%Y-%m-%dT%H:%M:%SZ}, maxSilence is {max_silence}"
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
