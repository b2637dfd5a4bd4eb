"""The outlier monitor: the share of odd rows, and the verdict on one window."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from perennial_api.modeldeployment.monitoring import MonitorSettings, Outlier
from scipy.stats import binomtest

from perennial_observer.detectors.base import Floats
from perennial_observer.detectors.isolation_forest import IsolationForestDetector
from perennial_observer.monitors.encoding import Encoder
from perennial_observer.monitors.verdicts import Assessment, assess_too_few
from perennial_observer.store.rows import LoggedRow

__all__ = ["OutlierMonitor"]

CONFIDENCE = 0.95


@dataclass
class OutlierMonitor:
    """Counts the rows of a window that are odd by one revision's reference.

    Parameters
    ----------
    reference
        float64 (m, d), encoded, in time order, may hold NaN.
    """

    encoder: Encoder
    reference: Floats
    detector: IsolationForestDetector
    _is_fitted: bool = False

    def flag(self, rows: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.bool_]:
        """Tell which rows are odd, bool (n,).

        Raises
        ------
        DetectorUnavailable, DetectorFailure
            From the sidecar.
        """
        if not self._is_fitted:
            self.detector.fit(self.encoder.impute(self.reference))
            self._is_fitted = True
        return self.detector.flag(self.encoder.impute(self.encoder.encode_rows(rows)))

    def assess(self, rows: Sequence[LoggedRow], settings: MonitorSettings, spec: Outlier) -> Assessment:
        """Judge one window: a breach if even the lower end of the rate's 95 % interval (Wilson) is over maxRate.

        Raises
        ------
        DetectorUnavailable, DetectorFailure
            From the sidecar.
        """
        if len(rows) < settings.window.min_samples:
            return assess_too_few(len(rows), settings.window.min_samples)
        flags = self.flag([row.inputs for row in rows])
        rate = float(np.mean(flags))
        count = int(np.sum(flags))
        interval = binomtest(count, len(rows)).proportion_ci(CONFIDENCE, method="wilson")
        breached = bool(interval.low > spec.max_rate)
        return Assessment(
            breached=breached,
            reason="MaxRateExceeded" if breached else "WithinMaxRate",
            message=f"{count} of {len(rows)} rows are odd ({interval.low:.3f} to {interval.high:.3f}), "
            f"maxRate is {spec.max_rate:g}",
            samples=len(rows),
            statistic=rate,
            threshold=spec.max_rate,
            lower=float(interval.low),
            upper=float(interval.high),
        )
