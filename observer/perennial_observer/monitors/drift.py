"""The drift monitor: KS distances, their calibration, and the verdict on one window."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from perennial_api.modeldeployment.monitoring import MonitorSettings

from perennial_observer.detectors.base import Detector, Floats
from perennial_observer.monitors.calibrate import (
    Threshold,
    block_bounds,
    bonferroni_distance,
    calibrate_threshold,
    choose_block_rows,
    find_restless,
)
from perennial_observer.monitors.encoding import Encoder
from perennial_observer.monitors.false_alarms import per_window_probability
from perennial_observer.monitors.verdicts import MAX_FEATURES, Assessment, assess_too_few
from perennial_observer.store.rows import LoggedRow

__all__ = ["DriftMonitor"]

MIN_EFFECT = 0.1
# Windows closed by age differ by a few rows and each size costs a calibration, so their sizes are rounded down to this
# many per doubling.
SIZES_PER_DOUBLING = 4
# The distance of fewer values is mostly chance; a sensor that is nearly always silent would set everybody's threshold.
MIN_VALUES = 50


@dataclass
class DriftMonitor:
    """Compares windows with one revision's reference.

    Parameters
    ----------
    reference
        float64 (m, d), encoded, in time order.
    make_detector
        A fresh, unfitted detector.
    """

    encoder: Encoder
    reference: Floats
    make_detector: Callable[[], Detector]
    _detector: Detector | None = None
    _blocks: dict[int, Floats] = field(default_factory=dict)

    def assess(self, rows: Sequence[LoggedRow], settings: MonitorSettings) -> Assessment:
        """Judge one window.

        Raises
        ------
        DetectorUnavailable, DetectorFailure
            From the sidecar.
        """
        if len(rows) < settings.window.min_samples:
            return assess_too_few(len(rows), settings.window.min_samples)
        window = self.encoder.encode_rows([row.inputs for row in rows])
        distances = self.encoder.by_feature(_score(self._fitted(), window))
        block_rows = self._choose_block_rows(len(rows), settings.window.size)
        blocks = self._held_out(block_rows)
        watched = ~find_restless(blocks) & ~np.isnan(distances)
        if not watched.any():
            return Assessment(
                breached=None,
                reason="NothingToCompare",
                message="no feature is steady enough within the reference to be compared",
                samples=len(rows),
            )
        p = self._probability(rows, settings)
        threshold = calibrate_threshold(
            [float(x) for x in np.nanmax(blocks[:, watched], axis=1)] if len(blocks) else [],
            p,
            same_size=2 * block_rows > len(rows),
            min_effect=MIN_EFFECT,
            fallback_distance=bonferroni_distance(p, len(self.encoder.owner), len(self.reference), len(rows)),
        )
        return self._conclude(np.where(watched, distances, np.nan), threshold, len(rows))

    def _fitted(self) -> Detector:
        if self._detector is None:
            detector = self.make_detector()
            detector.fit(self.reference)
            self._detector = detector
        return self._detector

    def _choose_block_rows(self, n_rows: int, full: int) -> int:
        return choose_block_rows(len(self.reference), n_rows if n_rows == full else _round_down(n_rows))

    def _held_out(self, block_rows: int) -> Floats:
        """Distances of the reference's blocks from its rest, float64 (blocks, features)."""
        if block_rows not in self._blocks:
            columns = []
            for start, end in block_bounds(len(self.reference), block_rows):
                detector = self.make_detector()
                detector.fit(np.delete(self.reference, slice(start, end), axis=0))
                columns.append(_score(detector, self.reference[start:end]))
            shape = (len(columns), self.reference.shape[1])
            self._blocks[block_rows] = self.encoder.by_feature(np.array(columns).reshape(shape))
        return self._blocks[block_rows]

    @staticmethod
    def _probability(rows: Sequence[LoggedRow], settings: MonitorSettings) -> float:
        """Per-window probability of a false breach, from how long such a window takes in event time."""
        span_s = max(rows[-1].event_time - rows[0].event_time, 1.0)
        windows = max(2, round(settings.false_alarm_every.seconds / span_s))
        return per_window_probability(windows, settings.alarm.breaches, settings.alarm.of)

    def _conclude(self, distances: Floats, threshold: Threshold, n: int) -> Assessment:
        ranked: list[tuple[str, Any]] = sorted(
            (
                (name, float(x))
                for name, x in zip(self.encoder.names, distances, strict=True)
                if np.isfinite(x)
            ),
            key=lambda pair: -pair[1],
        )
        statistic = ranked[0][1]
        breached = statistic > threshold.distance
        over = [name for name, distance in ranked if distance > threshold.distance]
        restless = [name for name, x in zip(self.encoder.names, distances, strict=True) if np.isnan(x)]
        parts = [
            f"{', '.join(over[:5])} moved by up to {statistic:.3f}, over the threshold {threshold.distance:.3f}"
            if breached
            else f"no feature moved beyond {threshold.distance:.3f}; {ranked[0][0]} by {statistic:.3f}"
        ]
        parts += [] if threshold.calibrated else [threshold.message]
        parts += (
            [f"not watched, since they change within the reference or hold no values: {restless}"]
            if restless
            else []
        )
        return Assessment(
            breached=breached,
            reason="ThresholdExceeded" if breached else "WithinThreshold",
            message="; ".join(parts),
            samples=n,
            statistic=statistic,
            threshold=threshold.distance,
            calibrated=threshold.calibrated,
            features=tuple(ranked[:MAX_FEATURES]),
        )


def _round_down(n_rows: int) -> int:
    return math.floor(2 ** (math.floor(math.log2(n_rows) * SIZES_PER_DOUBLING) / SIZES_PER_DOUBLING))


def _score(detector: Detector, window: Floats) -> Floats:
    """Distance of each column, NaN where the window holds too few values."""
    known = np.sum(~np.isnan(window), axis=0)
    distances: Floats = np.where(known >= MIN_VALUES, detector.score(window).per_column, np.nan)
    return distances
