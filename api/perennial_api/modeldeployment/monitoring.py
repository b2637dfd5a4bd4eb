"""`spec.monitoring`: what is watched, and when it is an alarm."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from perennial_api.base import Model, Rule
from perennial_api.durations import Duration
from perennial_api.types import AtLeast, Column, Float, Int, KeyedBy, Name

__all__ = [
    "Alarm",
    "Clear",
    "Drift",
    "DriftDetector",
    "Labels",
    "Monitor",
    "MonitorDefaults",
    "MonitorSettings",
    "MonitorType",
    "Monitoring",
    "Outlier",
    "OutlierDetector",
    "Performance",
    "PerformanceMetric",
    "Window",
]


class Window(Model):
    """The stretch of predictions that is judged at once."""

    rules = (
        Rule(
            cel="self.minSamples <= self.size",
            message="window.minSamples is larger than window.size, so no window could ever be judged: lower it",
            holds=lambda self: self.min_samples <= self.size,
        ),
    )

    size: Annotated[Int, Field(ge=50, le=100_000)] = 1000
    """How many rows fill a window, 50 to 100000."""
    max_age: Annotated[Duration, AtLeast("1m")] = Duration("6h")
    """After how long a window closes even if it isn't full, in event time, at least 1m."""
    min_samples: Annotated[Int, Field(ge=10, le=100_000)] = 200
    """With how many rows a window that closed by age is judged; below it the state is Insufficient, never Ok."""


class Alarm(Model):
    """How many windows over the threshold raise an alarm."""

    rules = (
        Rule(
            cel="self.breaches <= self.of",
            message="alarm.breaches is larger than alarm.of, so the alarm could never be raised: lower it",
            holds=lambda self: self.breaches <= self.of,
        ),
    )

    breaches: Annotated[Int, Field(ge=1, le=20)] = 2
    """How many of the latest windows must be over the threshold, 1 to 20."""
    of: Annotated[Int, Field(ge=1, le=20)] = 3
    """How many of the latest windows are looked at, 1 to 20."""


class Clear(Model):
    """How many windows end an alarm."""

    consecutive: Annotated[Int, Field(ge=1, le=20)] = 3
    """How many windows in a row must be within the threshold to end an alarm, 1 to 20."""


class MonitorDefaults(Model):
    """What holds for every monitor that doesn't say otherwise."""

    window: Window = Window()
    """Size and age of the windows."""
    false_alarm_every: Annotated[Duration, AtLeast("1h")] = Duration("30d")
    """How often a false alarm is acceptable, at least 1h; the threshold is calibrated for it."""
    alarm: Alarm = Alarm()
    """When an alarm is raised."""
    clear: Clear = Clear()
    """When it ends."""


class DriftDetector(StrEnum):
    """Two-sample test for drift."""

    KS = "KS"


class Drift(Model):
    """Compares the inputs with those that the model was trained on."""

    detector: DriftDetector = DriftDetector.KS
    """KS is the two-sample Kolmogorov-Smirnov distance, per feature."""


class OutlierDetector(StrEnum):
    """Detector of single odd rows."""

    ISOLATION_FOREST = "IsolationForest"


class Outlier(Model):
    """Counts single inputs that are odd by the measure of the reference."""

    rules = (
        Rule(
            cel="self.maxRate > self.contamination",
            message="outlier.maxRate must be larger than outlier.contamination, the share that is odd already",
            holds=lambda self: self.max_rate > self.contamination,
        ),
    )

    detector: OutlierDetector = OutlierDetector.ISOLATION_FOREST
    """IsolationForest scores how easily a row is set apart from the reference."""
    contamination: Annotated[Float, Field(gt=0, le=0.5)] = 0.01
    """Share of the reference rows that counts as odd, a fraction above 0, at most 0.5; it sets the score's cut."""
    max_rate: Annotated[Float, Field(gt=0, le=1)] = 0.03
    """Share of a window's rows that may be odd, a fraction above 0, at most 1."""


class PerformanceMetric(StrEnum):
    """Measures of realised performance, spelled as scikit-learn spells them."""

    ACCURACY = "accuracy"
    BALANCED_ACCURACY = "balanced_accuracy"
    ROC_AUC = "roc_auc"
    F1 = "f1"
    LOG_LOSS = "log_loss"
    MAE = "mae"
    RMSE = "rmse"

    @property
    def larger_is_better(self) -> bool:
        """Whether it is a score (bounded by ``min``) rather than a loss (bounded by ``max``)."""
        return self not in {PerformanceMetric.LOG_LOSS, PerformanceMetric.MAE, PerformanceMetric.RMSE}


class Labels(Model):
    """Which labels count."""

    maturity: Duration = Duration("1d")
    """How long after its event a prediction's label is waited for, in event time; younger predictions don't count."""
    min_coverage: Annotated[Float, Field(ge=0, le=1)] = 0.6
    """Share of a window's mature predictions that must have a label, a fraction from 0 to 1."""
    min_labels: Annotated[Int, Field(ge=10, le=100_000)] = 300
    """How many labels a window needs at least, in rows."""


class Performance(Model):
    """Measures how right the model is, by the labels that came back as feedback."""

    rules = (
        Rule(
            cel="has(self.min) != has(self.max)",
            message="give exactly one bound: min for a score such as accuracy, max for a loss such as rmse",
            holds=lambda self: (self.min is None) != (self.max is None),
        ),
        Rule(
            cel="has(self.max) == (self.metric in ['log_loss', 'mae', 'rmse'])",
            message="log_loss, mae and rmse are losses and take max; the other metrics are scores and take min",
            holds=lambda self: (self.max is None) == self.metric.larger_is_better,
        ),
    )

    metric: PerformanceMetric
    """What is measured, in scikit-learn's spelling."""
    min: Annotated[Float, Field(ge=-1, le=1)] | None = None
    """Lowest acceptable value of a score (accuracy, balanced_accuracy, roc_auc, f1), in the metric's unit."""
    max: Annotated[Float, Field(ge=0)] | None = None
    """Highest acceptable value of a loss (log_loss, mae, rmse), in the metric's unit."""
    labels: Labels = Labels()
    """Which labels count."""


class MonitorType(StrEnum):
    """What a monitor watches."""

    DRIFT = "Drift"
    OUTLIER = "Outlier"
    PERFORMANCE = "Performance"


def _member_fits_type(monitor: "Monitor") -> bool:
    given = {
        MonitorType.DRIFT: monitor.drift is not None,
        MonitorType.OUTLIER: monitor.outlier is not None,
        MonitorType.PERFORMANCE: monitor.performance is not None,
    }
    needed = given[MonitorType.PERFORMANCE] == (monitor.type is MonitorType.PERFORMANCE)
    return needed and not any(there for kind, there in given.items() if kind is not monitor.type)


class Monitor(Model):
    """One thing that is watched."""

    rules = (
        Rule(
            cel=(
                "(self.type == 'Performance') == has(self.performance)"
                " && (self.type == 'Drift' || !has(self.drift))"
                " && (self.type == 'Outlier' || !has(self.outlier))"
            ),
            message="the member must fit the type: Drift takes drift, Outlier takes outlier, Performance needs performance",
            holds=_member_fits_type,
        ),
    )

    name: Name
    """Name of the monitor, unique in this deployment; triggers, status and metrics use it."""
    type: MonitorType
    """Drift (inputs), Outlier (single inputs) or Performance (labels)."""
    drift: Drift | None = None
    """Settings of type Drift."""
    outlier: Outlier | None = None
    """Settings of type Outlier."""
    performance: Performance | None = None
    """Settings of type Performance."""
    window: Window | None = None
    """Windows of this monitor, in place of those in defaults."""
    false_alarm_every: Annotated[Duration, AtLeast("1h")] | None = None
    """Acceptable time between false alarms of this monitor, in place of that in defaults."""
    alarm: Alarm | None = None
    """When this monitor raises an alarm, in place of that in defaults."""
    clear: Clear | None = None
    """When this monitor's alarm ends, in place of that in defaults."""


@dataclass(frozen=True)
class MonitorSettings:
    """What holds for one monitor after the defaults are filled in."""

    window: Window
    false_alarm_every: Duration
    alarm: Alarm
    clear: Clear


class Monitoring(Model):
    """What is watched."""

    event_time: Column | None = None
    """Input column that holds the time of the event itself; windows, label maturity, gaps and age weights use it.
    Left out, the time of arrival is used."""
    defaults: MonitorDefaults = MonitorDefaults()
    """What holds for every monitor that doesn't say otherwise."""
    monitors: Annotated[tuple[Monitor, ...], Field(max_length=20), KeyedBy("name")] = ()
    """The monitors, at most 20."""

    def settings_for(self, monitor: Monitor) -> MonitorSettings:
        """Fill in the defaults for one monitor; the observer calls it."""
        return MonitorSettings(
            window=monitor.window or self.defaults.window,
            false_alarm_every=monitor.false_alarm_every or self.defaults.false_alarm_every,
            alarm=monitor.alarm or self.defaults.alarm,
            clear=monitor.clear or self.defaults.clear,
        )
