"""The drift monitor: a detector's statistic, the threshold that Perennial calibrates for it, and the verdict."""

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from perennial_api.modeldeployment.monitoring import MonitorSettings, Seasonality

from perennial_observer.detectors.base import Floats
from perennial_observer.monitors.alarms.false_alarms import chance_of_breach
from perennial_observer.monitors.alarms.verdicts import Assessment, assess_too_few
from perennial_observer.monitors.drift.calibrate import (
    bonferroni_distance,
    calibrate_threshold,
    choose_block_rows,
)
from perennial_observer.monitors.drift.verdict import Found, conclude
from perennial_observer.monitors.drift.yardstick import (
    Calibration,
    Compared,
    Fitted,
    Season,
    Yardstick,
    choose_rows_in_season,
    fit_reference,
    measure_reference,
)
from perennial_observer.monitors.references.beside import Maker, make_here
from perennial_observer.monitors.references.kept import Kept, reckon_bytes
from perennial_observer.store.rows import LoggedRow

__all__ = ["Calibrations", "DriftMonitor"]

# By what a monitor compares with, its name below, then by the windows' size and hours.
Calibrations = Kept[tuple[Hashable, Hashable], Calibration]

# Windows closed by age differ by a few rows and each size costs a calibration, so their sizes are rounded down to this
# many per doubling.
SIZES_PER_DOUBLING = 4
# Of windows of many hours; the one used longest ago goes first.
MAX_FITTED = 64
CALIBRATIONS_BYTES = 4 << 20


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
    calibrations
        Where those of this reference and others are kept, also while the reference isn't.
    name
        Under which they are found again: whatever they depend on.
    make
        Makes what takes long: calibrations of a detector of all columns together, which learns for each block.
    """

    compared: Compared
    min_effect: float
    read: Callable[[LoggedRow], Mapping[str, Any]] = _inputs
    seasonality: Seasonality = Seasonality.NONE
    calibrations: Calibrations = field(default_factory=lambda: Kept(CALIBRATIONS_BYTES))
    name: Hashable = None
    make: Maker = make_here
    _fitted: "OrderedDict[Any, Fitted]" = field(default_factory=OrderedDict)

    def assess(self, rows: Sequence[LoggedRow], settings: MonitorSettings) -> Assessment:
        """Judge one window.

        Raises
        ------
        DetectorUnavailable, DetectorFailure
            From the sidecar.
        Preparing
            Its calibration is still being made.
        """
        n = len(rows)
        if n < settings.window.min_samples:
            return assess_too_few(n, settings.window.min_samples)
        encoder, method = self.compared.encoder, self.compared.method
        window = encoder.encode_rows([self.read(row) for row in rows])
        times = np.array([row.event_time for row in rows], dtype=np.float64)
        season = choose_rows_in_season(self.compared.event_time, times, self.seasonality)
        calibration = self._calibrate(season, n if n == settings.window.size else _round_down(n))
        yardstick = Yardstick(encoder, method, self._fit(season, calibration), calibration)
        moved = yardstick.measure_features(window)
        watched = calibration.steady & ~np.isnan(moved)
        statistic = _largest(moved[watched]) if method.by_feature else yardstick.measure_all(window)
        if not watched.any() or math.isnan(statistic):
            return _nothing_to_compare(n)
        p = chance_of_breach(settings, float(times[-1] - times[0]))
        threshold = calibrate_threshold(
            calibration.block_statistics(method, watched),
            p,
            same_size=2 * calibration.block_rows > n,
            min_effect=self.min_effect,
            fallback_distance=bonferroni_distance(p, len(encoder.owner), calibration.n_rows, n)
            if method.is_ks
            else None,
            highest=method.highest,
        )
        found = Found(encoder.names, np.where(watched, moved, np.nan), statistic, n)
        return conclude(found, method, threshold, season.caveat)

    def count_fitted(self) -> int:
        """How many detectors have learnt rows of the reference and hold them."""
        return len(self._fitted)

    def _calibrate(self, season: Season, n_rows: int) -> Calibration:
        n_reference = self.compared.n_rows if season.rows is None else int(season.rows.sum())
        block_rows = choose_block_rows(n_reference, n_rows)
        key = (self.name, (block_rows, season.key))
        found = self.calibrations.get(key)
        if found is None:
            make = make_here if self.compared.method.by_feature else self.make
            found = make(("calibration", key), lambda: measure_reference(self.compared, block_rows, season))
            self.calibrations.put(key, found, reckon_bytes((key, found)))
        return found

    def _fit(self, season: Season, calibration: Calibration) -> Fitted:
        # Where each feature has a statistic of its own, the detectors learn all of them.
        steady = None if self.compared.method.by_feature else calibration.steady.tobytes()
        key = (season.key, steady)
        if key not in self._fitted:
            self._fitted[key] = fit_reference(self.compared, season, calibration.steady)
            while len(self._fitted) > MAX_FITTED:
                self._fitted.popitem(last=False)
        self._fitted.move_to_end(key)
        return self._fitted[key]


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
