"""The drift monitor: a detector's statistic, the threshold that Perennial calibrates for it, and the verdict."""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from perennial_api.modeldeployment.monitoring import MonitorSettings, Seasonality

from perennial_observer.detectors.base import Floats
from perennial_observer.monitors.alarms.false_alarms import per_window_probability
from perennial_observer.monitors.alarms.verdicts import Assessment, assess_too_few
from perennial_observer.monitors.drift.calibrate import (
    bonferroni_distance,
    calibrate_threshold,
    choose_block_rows,
)
from perennial_observer.monitors.drift.verdict import Found, conclude
from perennial_observer.monitors.drift.yardstick import (
    Compared,
    Yardstick,
    build_yardstick,
    choose_rows_in_season,
)
from perennial_observer.store.rows import LoggedRow

__all__ = ["DriftMonitor"]

# Windows closed by age differ by a few rows and each size costs a calibration, so their sizes are rounded down to this
# many per doubling.
SIZES_PER_DOUBLING = 4
# Of windows of many sizes and hours; the one used longest ago goes first.
MAX_YARDSTICKS = 64


def _inputs(row: LoggedRow) -> Mapping[str, Any]:
    return row.inputs


@dataclass
class DriftMonitor:
    """Compares windows with one revision's reference.

    Parameters
    ----------
    min_effect
        Smallest statistic that counts.
    read
        What of a logged row is compared.
    """

    compared: Compared
    min_effect: float
    read: Callable[[LoggedRow], Mapping[str, Any]] = _inputs
    seasonality: Seasonality = Seasonality.NONE
    _yardsticks: "OrderedDict[Any, Yardstick]" = field(default_factory=OrderedDict)

    def assess(self, rows: Sequence[LoggedRow], settings: MonitorSettings) -> Assessment:
        """Judge one window.

        Raises
        ------
        DetectorUnavailable, DetectorFailure
            From the sidecar.
        """
        n = len(rows)
        if n < settings.window.min_samples:
            return assess_too_few(n, settings.window.min_samples)
        encoder, method = self.compared.encoder, self.compared.method
        window = encoder.encode_rows([self.read(row) for row in rows])
        times = np.array([row.event_time for row in rows], dtype=np.float64)
        yardstick = self._find_yardstick(n if n == settings.window.size else _round_down(n), times)
        moved = yardstick.measure_features(window)
        watched = yardstick.steady & ~np.isnan(moved)
        statistic = _largest(moved[watched]) if method.by_feature else yardstick.measure_all(window)
        if not watched.any() or math.isnan(statistic):
            return _nothing_to_compare(n)
        p = _probability(times, settings)
        threshold = calibrate_threshold(
            yardstick.block_statistics(watched),
            p,
            same_size=2 * yardstick.block_rows > n,
            min_effect=self.min_effect,
            fallback_distance=bonferroni_distance(p, self.compared.reference.shape[1], yardstick.n_rows, n)
            if method.is_ks
            else None,
            highest=method.highest,
        )
        found = Found(encoder.names, np.where(watched, moved, np.nan), statistic, n)
        return conclude(found, method, threshold, yardstick.caveat)

    def _find_yardstick(self, n_rows: int, times: Floats) -> Yardstick:
        season = choose_rows_in_season(self.compared.event_time, times, self.seasonality)
        n_reference = len(self.compared.reference) if season.rows is None else int(season.rows.sum())
        block_rows = choose_block_rows(n_reference, n_rows)
        key = (block_rows, season.key)
        if key not in self._yardsticks:
            self._yardsticks[key] = build_yardstick(self.compared, block_rows, season)
            while len(self._yardsticks) > MAX_YARDSTICKS:
                self._yardsticks.popitem(last=False)
        self._yardsticks.move_to_end(key)
        return self._yardsticks[key]


def _probability(times: Floats, settings: MonitorSettings) -> float:
    """Per-window probability of a false breach, from how long such a window takes in event time."""
    span_s = max(float(times[-1] - times[0]), 1.0)
    windows = max(2, round(settings.false_alarm_every.seconds / span_s))
    return per_window_probability(windows, settings.alarm.breaches, settings.alarm.of)


def _nothing_to_compare(n: int) -> Assessment:
    return Assessment(
        breached=None,
        reason="NothingToCompare",
        message="no feature of the kind that this detector compares is steady enough within the reference and has"
        " enough values in the window: choose another detector or other features",
        samples=n,
    )


def _largest(values: Floats) -> float:
    return float(values.max()) if len(values) else math.nan


def _round_down(n_rows: int) -> int:
    return math.floor(2 ** (math.floor(math.log2(n_rows) * SIZES_PER_DOUBLING) / SIZES_PER_DOUBLING))
