"""From ``falseAlarmEvery`` to the probability that one window may breach by chance, and what it allows. Pure."""

from functools import lru_cache

import numpy as np
from perennial_api.modeldeployment.monitoring import MonitorSettings
from scipy.optimize import brentq
from scipy.stats import binom

__all__ = ["chance_of_breach", "largest_count", "mean_windows_to_alarm", "per_window_probability"]

# Where false alarms may come every few windows, they are still kept rarer than one breach in ten.
SMALLEST_P, LARGEST_P = 1e-6, 0.1


def mean_windows_to_alarm(p: float, breaches: int, of: int) -> float:
    """Mean number of independent windows until `breaches` of the latest `of` breach, each with probability `p`.

    The state is the pattern of the latest ``of - 1`` windows, of which the API allows 7; mean times m solve ``m = 1 + Q m`` where Q holds the
    transitions that raise no alarm.

    Examples
    --------
    >>> round(mean_windows_to_alarm(0.01, 1, 1)), round(mean_windows_to_alarm(0.01, 2, 3))
    (100, 5125)
    """
    bits = of - 1
    states = [s for s in range(2**bits) if s.bit_count() < breaches]
    index = {state: i for i, state in enumerate(states)}
    mask = 2**bits - 1
    stay = np.zeros((len(states), len(states)))
    for state, i in index.items():
        for outcome, probability in ((0, 1.0 - p), (1, p)):
            if state.bit_count() + outcome < breaches:
                stay[i, index[((state << 1) | outcome) & mask]] += probability
    times = np.linalg.solve(np.eye(len(states)) - stay, np.ones(len(states)))
    return float(times[index[0]])


@lru_cache(maxsize=1024)
def per_window_probability(windows_between_alarms: int, breaches: int, of: int) -> float:
    """Probability per window at which a false alarm comes every `windows_between_alarms` windows on average.

    Examples
    --------
    >>> round(per_window_probability(5151, 2, 3), 4)
    0.01
    """
    wanted = float(windows_between_alarms)
    if mean_windows_to_alarm(LARGEST_P, breaches, of) >= wanted:
        return LARGEST_P
    if mean_windows_to_alarm(SMALLEST_P, breaches, of) <= wanted:
        return SMALLEST_P
    return float(
        np.exp(
            brentq(
                lambda log_p: np.log(mean_windows_to_alarm(float(np.exp(log_p)), breaches, of) / wanted),
                np.log(SMALLEST_P),
                np.log(LARGEST_P),
                xtol=1e-4,
            )
        )
    )


def chance_of_breach(settings: MonitorSettings, span_s: float) -> float:
    """Per-window probability of a false breach, from how far such windows are apart in event time.

    Parameters
    ----------
    span_s
        From the window's first row to its last; stands in while it isn't known how far they are apart.
    """
    every_s = span_s if settings.window_every_s is None else settings.window_every_s
    windows = max(2, round(settings.false_alarm_every.seconds / max(every_s, 1.0)))
    return per_window_probability(windows, settings.alarm.breaches, settings.alarm.of)


def largest_count(n: int, share: float, p: float) -> int:
    """Largest count among `n` that is no breach: a larger one comes with at most probability `p` at this share.

    Counts are taken for binomial, which assumes that rows are independent.

    Examples
    --------
    >>> largest_count(200, 0.01, 0.001)
    8
    >>> largest_count(200, 0.0, 0.001)
    0
    """
    if share <= 0.0:
        return 0
    return n if share >= 1.0 else int(binom.isf(p, n, share))
