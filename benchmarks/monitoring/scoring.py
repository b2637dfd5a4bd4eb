"""From what a contestant said to figures: false alarms, detection, delay, and power at a rate that is the same for all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.monitoring.streams import BEGIN, NULLS, SCENARIOS

EQUAL_RATE = 0.05


@dataclass(frozen=True)
class Said:
    """What one contestant said about one scenario: float64 and bool (seeds, WINDOWS)."""

    scores: npt.NDArray[np.float64]
    alarms: npt.NDArray[np.bool_]
    window_s: float


@dataclass(frozen=True)
class Figures:
    """One contestant on one scenario.

    Parameters
    ----------
    alarm_rate
        Share of windows with an alarm: false ones where nothing changes, else of the changed ones.
    equal_rate_power
        Share of changed windows whose score is beyond what 5 % of unchanged ones exceed; None where nothing changes.
    delay
        Median windows from the change to the first alarm, 0 for the first changed one; None where half saw none.
    """

    alarm_rate: float
    windows: int
    equal_rate_power: float | None = None
    delay: float | None = None


def read(document: Mapping[str, Any]) -> dict[str, Said]:
    """Read a contestant's file."""
    return {
        name: Said(
            np.array(said["scores"], dtype=np.float64),
            np.array(said["alarms"], dtype=np.bool_),
            said["window_s"],
        )
        for name, said in document["scenarios"].items()
    }


def score(said: Mapping[str, Said]) -> dict[str, Figures]:
    """Turn what was said into figures, by scenario."""
    return {name: _score(name, said) for name in said}


def _score(name: str, said: Mapping[str, Said]) -> Figures:
    mine, scenario = said[name], SCENARIOS[name]
    if scenario.change is None:
        return Figures(float(mine.alarms.mean()), mine.alarms.size)
    changed = scenario.draw(0).changed
    null = said.get(NULLS[name])
    power = None
    if null is not None:
        limit = np.quantile(null.scores, 1 - EQUAL_RATE, method="higher")
        power = float(np.mean(mine.scores[:, changed] > limit))
    after = mine.alarms[:, BEGIN:]
    first = np.where(after.any(axis=1), after.argmax(axis=1), np.inf)
    median = float(np.median(first))
    return Figures(
        float(mine.alarms[:, changed].mean()),
        int(mine.alarms[:, changed].size),
        power,
        median if np.isfinite(median) else None,
    )
