"""The outlier monitor: the share of odd rows, and the verdict on one window."""

from collections.abc import Hashable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from perennial_api.modeldeployment.monitoring import MonitorSettings, Outlier, OutlierDetector
from perennial_bundle.encoding import Encoder
from perennial_bundle.oddness import LEAST_REFERENCE_ROWS, Mahalanobis, Neighbours
from scipy.stats import binomtest

from perennial_observer.detectors.base import Floats, RowDetector
from perennial_observer.detectors.isolation_forest import IsolationForestDetector
from perennial_observer.detectors.native.oddness import OddRows
from perennial_observer.detectors.sidecar import Sidecar
from perennial_observer.errors import DetectorFailure
from perennial_observer.monitors.alarms.false_alarms import chance_of_breach, largest_count
from perennial_observer.monitors.alarms.verdicts import Assessment, assess_too_few
from perennial_observer.monitors.references.beside import Maker, make_here
from perennial_observer.store.rows import LoggedRow

__all__ = ["OutlierMonitor", "make_detector"]

CONFIDENCE = 0.95


def make_detector(spec: Outlier, sidecar: Sidecar) -> RowDetector:
    """Build the detector that the spec asks for, unfitted."""
    match spec.detector:
        case OutlierDetector.ISOLATION_FOREST:
            return IsolationForestDetector(sidecar, spec.contamination)
        case OutlierDetector.MAHALANOBIS:
            return OddRows(Mahalanobis, spec.contamination)
        case OutlierDetector.KNN:
            return OddRows(Neighbours, spec.contamination)


@dataclass
class OutlierMonitor:
    """Counts the rows of a window that are odd by one revision's reference.

    Parameters
    ----------
    reference
        By column, in time order; encoded when the detector learns it.
    make
        Makes what takes long: a detector that has learnt the reference.
    name
        All that the detector depends on.
    """

    encoder: Encoder
    reference: Mapping[str, Sequence[Any]]
    n_rows: int
    detector: RowDetector
    is_fitted: bool = False
    make: Maker = make_here
    name: Hashable = None

    def flag(self, rows: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.bool_]:
        """Tell which rows are odd, bool (n,).

        Raises
        ------
        DetectorUnavailable, DetectorFailure
            As :meth:`rate` does.
        """
        return np.asarray(self.rate(rows) > 0.0)

    def rate(self, rows: Sequence[Mapping[str, Any]]) -> Floats:
        """Tell how odd rows are, float64 (n,): by how much each one's score is beyond the cut, odd above 0.

        Raises
        ------
        DetectorUnavailable, DetectorFailure
            From the sidecar.
        DetectorFailure
            ``ReferenceTooSmall``.
        Preparing
            The detector is still learning.
        """
        if self.n_rows < LEAST_REFERENCE_ROWS:
            raise DetectorFailure(
                f"the reference has {self.n_rows} rows, {LEAST_REFERENCE_ROWS} are needed to say what is odd:"
                " give a larger one",
                "ReferenceTooSmall",
            )
        if not self.is_fitted:
            self.detector = self.make(("outliers", self.name), self._fit)
            self.is_fitted = True
        return self.detector.rate_rows(self.encoder.impute(self.encoder.encode_rows(rows)))

    def _fit(self) -> RowDetector:
        # Perhaps in another thread: what is used here isn't touched.
        learning = copy(self.detector)
        learning.fit(self.encoder.impute(self.encoder.encode(self.reference)))
        return learning

    def assess(self, rows: Sequence[LoggedRow], settings: MonitorSettings, spec: Outlier) -> Assessment:
        """Judge one window: a breach if more rows are odd than chance explains at maxRate.

        By the probability that ``falseAlarmEvery`` leaves to one window, as for all monitors. The interval that is told
        is the rate's own, of 95 % (Wilson).

        Raises
        ------
        DetectorUnavailable, DetectorFailure
            As :meth:`rate` does.
        """
        if len(rows) < settings.window.min_samples:
            return assess_too_few(len(rows), settings.window.min_samples)
        scores = self.rate([row.inputs for row in rows])
        count = int(np.sum(scores > 0.0))
        interval = binomtest(count, len(rows)).proportion_ci(CONFIDENCE, method="wilson")
        p = chance_of_breach(settings, rows[-1].event_time - rows[0].event_time)
        limit = largest_count(len(rows), spec.max_rate, p)
        breached = count > limit
        return Assessment(
            breached=breached,
            reason="MaxRateExceeded" if breached else "WithinMaxRate",
            message=f"{count} of {len(rows)} rows are odd by {spec.detector.value}"
            f" ({interval.low:.3f} to {interval.high:.3f}); at most {limit} by chance where maxRate is {spec.max_rate:g}",
            samples=len(rows),
            statistic=count / len(rows),
            threshold=limit / len(rows),
            lower=float(interval.low),
            upper=float(interval.high),
            scores=tuple(scores.tolist()),
        )
