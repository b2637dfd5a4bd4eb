"""What keeps a monitor from judging windows at all, and lies over its verdict: a wrong name in the spec, no detectors.

It is no window's verdict, and over as soon as a window can be judged again. It is remembered once it has lasted, and so it
is told: a sidecar that starts a little later than the observer is nobody's trouble.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from perennial_api.monitorreport import MonitorState, MonitorVerdict

from perennial_observer.errors import ObserverError
from perennial_observer.monitors.alarms.verdicts import MAX_MESSAGE, Hindrance

__all__ = ["PATIENCE_S", "Hindrances", "show_hindrance"]

# For what may pass by itself.
PATIENCE_S = 120.0
MAX_PLACES = 100_000


def show_hindrance(verdict: MonitorVerdict, state: MonitorState, reason: str, message: str) -> MonitorVerdict:
    """Lay a hindrance over the verdict of the windows. An alarm stands until it is cleared."""
    if verdict.state is MonitorState.ALARM:
        return verdict.model_copy(update={"message": f"{verdict.message}; {message}"[:MAX_MESSAGE]})
    return verdict.model_copy(update={"state": state, "reason": reason, "message": message[:MAX_MESSAGE]})


@dataclass
class Hindrances:
    """Since when what has kept monitors from judging.

    Parameters
    ----------
    clock
        Seconds since the epoch.
    """

    clock: Callable[[], float]
    _since: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)

    def settle(
        self,
        place: tuple[str, str],
        held: Hindrance | None,
        found: ObserverError | None,
        *,
        patience_s: float,
    ) -> Hindrance | None:
        """Return what is to be remembered: the very thing that is held while nothing changes.

        Parameters
        ----------
        place
            Of the monitor: the deployment's uid and its name.
        held
            What is remembered.
        found
            What hinders it now; None if nothing does.
        patience_s
            How long that may last untold.
        """
        if found is None:
            self._since.pop(place, None)
            return None
        if held is not None and held.reason == found.reason:
            return held
        now = self.clock()
        reason, since = self._since.get(place, ("", now))
        if reason != found.reason:
            if len(self._since) >= MAX_PLACES:
                self._since.clear()
            since = now
            self._since[place] = (found.reason, since)
        if now - since < patience_s:
            return held
        return Hindrance(reason=found.reason, message=found.message[:MAX_MESSAGE], since=since)
