"""How far beyond a bound a window has to be before chance doesn't explain it. Pure.

A model that stands exactly at its bound is below it in every other window. So a window breaches only where its figure is
beyond the bound by more than chance at the rate that ``falseAlarmEvery`` allows: that model then raises a false alarm no
more often than asked, and a better one hardly ever. It holds where rows don't depend on each other.
"""

from collections.abc import Sequence

from perennial_api.modeldeployment.monitoring import MonitorSettings
from scipy.stats import norm

from perennial_observer.monitors.alarms import false_alarms
from perennial_observer.store.rows import LoggedRow

__all__ = ["chance_of_breach", "deviations"]


def chance_of_breach(rows: Sequence[LoggedRow], settings: MonitorSettings) -> float:
    """Per-window probability of a false breach, from how long such a window takes in event time."""
    return false_alarms.chance_of_breach(settings, rows[-1].event_time - rows[0].event_time)


def deviations(p: float) -> float:
    """How many standard errors a normal figure exceeds with probability `p`.

    Examples
    --------
    >>> round(deviations(0.025), 2)
    1.96
    """
    return float(norm.isf(p))
