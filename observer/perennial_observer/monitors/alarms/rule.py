"""From single windows to an alarm: raise after `breaches` of `of`, clear after `consecutive` quiet ones. Pure."""

import hashlib
from dataclasses import dataclass, replace

__all__ = ["AlarmRule", "AlarmState", "name_breach", "name_monitor", "step_alarm"]


@dataclass(frozen=True)
class AlarmRule:
    """When an alarm is raised and cleared, in windows."""

    breaches: int
    of: int
    consecutive: int


@dataclass(frozen=True)
class AlarmState:
    """What must be remembered between windows.

    Parameters
    ----------
    recent
        The latest judged windows since the last transition, oldest first: (start of the window, breached).
    breach_id
        Name of the episode while in alarm.
    """

    recent: tuple[tuple[float, bool], ...] = ()
    breach_id: str | None = None


def step_alarm(
    state: AlarmState, rule: AlarmRule, *, window_start: float, breached: bool, name: str
) -> AlarmState:
    """Take one judged window into account. Windows that could not be judged are not given to it.

    Parameters
    ----------
    name
        What the episode's name is made of beside its first breach: see :func:`name_breach`.
    """
    keep = max(rule.of, rule.consecutive)
    recent = (*state.recent, (window_start, breached))[-keep:]
    if state.breach_id is not None:
        latest = recent[-rule.consecutive :]
        is_quiet = len(latest) == rule.consecutive and not any(breach for _, breach in latest)
        return AlarmState() if is_quiet else replace(state, recent=recent)
    breaches = [start for start, breach in recent[-rule.of :] if breach]
    if len(breaches) < rule.breaches:
        return replace(state, recent=recent)
    # Only what follows the alarm may clear it.
    return AlarmState(recent=(), breach_id=name_breach(name, breaches[0]))


def name_monitor(monitor: str, uid: str, revision: str) -> str:
    """Name a monitor among those of all deployments and revisions: what breach ids are made of."""
    return f"{monitor}/{uid}/{revision}"


def name_breach(name: str, first_breach: float) -> str:
    """Name an episode for good: the monitor's name and a hash of `name` with the first breaching window.

    Parameters
    ----------
    name
        As :func:`name_monitor` makes it.

    Examples
    --------
    >>> name_breach("drift/3b1f/wine-1a2b3c4d", 1_357_000_000.0)
    'drift-56c65680'
    """
    digest = hashlib.sha256(f"{name}/{first_breach!r}".encode()).hexdigest()[:8]
    return f"{name.partition('/')[0]}-{digest}"
