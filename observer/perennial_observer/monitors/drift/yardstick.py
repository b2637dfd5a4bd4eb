"""What windows of one size (and of the same hours) are measured by: a fitted detector and the reference's own blocks.

Each block is held out and compared with the rest of the reference, as a window is with all of it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from perennial_api.modeldeployment.monitoring import Seasonality
from perennial_bundle.encoding import Encoder

from perennial_observer.detectors.base import Detector, Floats
from perennial_observer.detectors.native.distances import ColumnDetector, ks_distance
from perennial_observer.monitors.drift.calibrate import block_bounds, find_restless
from perennial_observer.monitors.drift.methods import Form, Method
from perennial_observer.monitors.drift.seasons import (
    MIN_SEASONS,
    cut_seasons,
    find_phases,
    is_in_phase,
    span_seasons,
)

__all__ = [
    "Calibration",
    "Caveat",
    "Compared",
    "Fitted",
    "Season",
    "Yardstick",
    "choose_rows_in_season",
    "fit_reference",
    "measure_reference",
]

Flags = npt.NDArray[np.bool_]

# The distance of fewer values is mostly chance; a sensor that is nearly always silent would set everybody's threshold.
MIN_VALUES = 50


@dataclass(frozen=True)
class Caveat:
    """Why the threshold isn't calibrated, whatever the number of blocks."""

    reason: str
    message: str


@dataclass(frozen=True)
class Season:
    """Which rows of the reference a window may be compared with.

    Parameters
    ----------
    rows
        bool (m,); None for all.
    key
        The same for windows that are compared with the same rows, cut alike.
    """

    seasonality: Seasonality = Seasonality.NONE
    rows: Flags | None = None
    start: float = 0.0
    key: Any = None
    caveat: Caveat | None = None


def choose_rows_in_season(
    event_time: Floats | None, window_times: Floats, seasonality: Seasonality
) -> Season:
    """Choose the reference's rows from the hours of the window; all of them, with a caveat, if there are too few."""
    if seasonality is Seasonality.NONE:
        return Season()
    if event_time is None:
        return _whole("the reference's rows have no event times")
    spanned = span_seasons(event_time, seasonality)
    if spanned < MIN_SEASONS:
        return _whole(f"the reference spans {spanned:.1f} seasons, {seasonality.value} needs {MIN_SEASONS}")
    phases = find_phases(window_times, seasonality)
    rows = is_in_phase(event_time, phases, seasonality)
    if rows.sum() < MIN_VALUES:
        return _whole(f"the reference has {rows.sum()} rows from the window's hours, {MIN_VALUES} are needed")
    start = float(window_times[0])
    first = find_phases(window_times[:1], seasonality)
    return Season(seasonality, rows, start, (phases, first))


def _whole(message: str) -> Season:
    return Season(key="whole", caveat=Caveat("TooFewSeasons", f"{message}; all of it is compared with"))


@dataclass(frozen=True)
class Compared:
    """A reference and how it is compared with.

    Parameters
    ----------
    values
        Of the reference, by column, in time order. They are encoded when they are needed: a matrix of them takes several
        times as much.
    make_detector
        A fresh, unfitted detector.
    event_time
        float64 (m,): of the reference's rows; None where unknown.
    """

    encoder: Encoder
    values: Mapping[str, Sequence[Any]]
    n_rows: int
    method: Method
    make_detector: Callable[[], Detector]
    event_time: Floats | None = None

    def encode(self, rows: Flags | None) -> Floats:
        """Encode the reference, or some of its rows: float64 (m, d)."""
        matrix = self.encoder.encode(self.values)
        return matrix if rows is None else matrix[rows]


@dataclass(frozen=True)
class Calibration:
    """What the reference's blocks gave, for windows of one size. It is small, and was costly to find.

    Parameters
    ----------
    steady
        bool (features,): which don't move about within the reference.
    blocks
        float64 (blocks, features), or (blocks, 1) where the method has one statistic for all.
    n_rows
        Rows of the reference that are compared with.
    """

    steady: Flags
    blocks: Floats
    block_rows: int
    n_rows: int

    def block_statistics(self, method: Method, watched: Flags) -> list[float]:
        """What each block gave for the features that are watched now; blocks that say nothing are left out."""
        blocks = self.blocks[:, watched] if method.by_feature else self.blocks
        if not blocks.size:
            return []
        largest = np.fmax.reduce(blocks, axis=1)
        return [float(x) for x in largest if not np.isnan(x)]


@dataclass(frozen=True)
class Fitted:
    """Detectors that have learnt the reference, for windows of all sizes.

    Parameters
    ----------
    detector
        Of the method; only on the steady features where it has one statistic for all.
    distances
        KS distance of each column: what ranks features where the method has one statistic for all; None where it has
        one for each.
    """

    detector: Detector
    distances: Detector | None


@dataclass(frozen=True)
class Yardstick:
    """What one window is measured by."""

    encoder: Encoder
    method: Method
    fitted: Fitted
    calibration: Calibration

    def measure_features(self, window: Floats) -> Floats:
        """How far each feature has moved, float64 (features,): in the method's unit, else as KS distance."""
        if self.fitted.distances is not None:
            return _by_feature(self.encoder, self.fitted.distances, window)
        return _score(self.encoder, self.method, self.fitted.detector, window)

    def measure_all(self, window: Floats) -> float:
        """Return the one statistic of a method that has none by feature."""
        steady = self.calibration.steady
        if not steady.any():
            return float("nan")
        return self.fitted.detector.score(_known(self.encoder, window, steady)).statistic


def measure_reference(compared: Compared, block_rows: int, season: Season) -> Calibration:
    """Measure the reference's own blocks.

    Raises
    ------
    DetectorUnavailable, DetectorFailure
        From the sidecar.
    """
    encoder = compared.encoder
    reference = compared.encode(season.rows)
    if season.rows is None:
        bounds = block_bounds(len(reference), block_rows)
    else:
        assert compared.event_time is not None, "there are no seasons without times"
        times = compared.event_time[season.rows]
        block_rows, bounds = cut_seasons(times, season.seasonality, start=season.start, most_rows=block_rows)
    parts = [(np.delete(reference, slice(*bound), axis=0), reference[slice(*bound)]) for bound in bounds]
    measured = [_by_feature(encoder, _fit(_distances(), rest), block) for rest, block in parts]
    moves = np.array(measured).reshape(len(parts), len(encoder.names))
    steady = ~find_restless(moves)
    blocks = moves if compared.method.is_ks else _measure_blocks(compared, parts, steady)
    return Calibration(steady, blocks, block_rows, len(reference))


def fit_reference(compared: Compared, season: Season, steady: Flags) -> Fitted:
    """Fit the detectors.

    Raises
    ------
    DetectorUnavailable, DetectorFailure
        From the sidecar.
    """
    reference = compared.encode(season.rows)
    detector = _fit_all(compared, reference, steady)
    return Fitted(detector, None if compared.method.by_feature else _fit(_distances(), reference))


def _distances() -> Detector:
    return ColumnDetector(ks_distance)


def _fit_all(compared: Compared, reference: Floats, steady: Flags) -> Detector:
    """Fit the method's detector on a reference; on its steady features only, where it has one statistic for all."""
    if compared.method.by_feature:
        return _fit(compared.make_detector(), _shape(compared.encoder, compared.method, reference))
    if not steady.any():
        return compared.make_detector()
    return _fit(compared.make_detector(), _known(compared.encoder, reference, steady))


def _measure_blocks(compared: Compared, parts: Sequence[tuple[Floats, Floats]], steady: Flags) -> Floats:
    """Compare each block with the rest in the method's unit: float64 (blocks, features), or (blocks, 1)."""
    encoder, method = compared.encoder, compared.method
    width = len(encoder.names) if method.by_feature else 1
    blocks = np.full((len(parts), width), np.nan)
    for i, (rest, block) in enumerate(parts):
        if not steady.any():
            break
        detector = _fit_all(compared, rest, steady)
        if method.by_feature:
            blocks[i] = _score(encoder, method, detector, block)
        else:
            blocks[i, 0] = detector.score(_known(encoder, block, steady)).statistic
    return blocks


def _fit(detector: Detector, reference: Floats) -> Detector:
    detector.fit(reference)
    return detector


def _shape(encoder: Encoder, method: Method, matrix: Floats) -> Floats:
    return encoder.compact(matrix) if method.form is Form.COMPACT else matrix


def _known(encoder: Encoder, matrix: Floats, steady: Flags) -> Floats:
    """Columns of the steady features, without missing numbers."""
    known: Floats = encoder.impute(matrix)[:, steady[list(encoder.owner)]]
    return known


def _by_feature(encoder: Encoder, distances: Detector, window: Floats) -> Floats:
    return encoder.by_feature(_mask_rare(window, distances.score(window).per_column))


def _score(encoder: Encoder, method: Method, detector: Detector, window: Floats) -> Floats:
    shaped = _shape(encoder, method, window)
    found = _mask_rare(shaped, detector.score(shaped).per_column)
    return encoder.by_feature(found, compact=method.form is Form.COMPACT)


def _mask_rare(window: Floats, statistics: Floats) -> Floats:
    """Put NaN where the window holds too few values."""
    masked: Floats = np.where(np.sum(~np.isnan(window), axis=0) >= MIN_VALUES, statistics, np.nan)
    return masked
