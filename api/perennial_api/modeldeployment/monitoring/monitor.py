"""One monitor: its type, and the member that goes with it."""

from enum import StrEnum
from typing import Annotated

from perennial_api.base import Model, Rule
from perennial_api.durations import Duration
from perennial_api.modeldeployment.monitoring.inputs import DataQuality, Drift, Outlier
from perennial_api.modeldeployment.monitoring.performance import Concept, EstimatedPerformance, Performance
from perennial_api.modeldeployment.monitoring.service import Custom, Fairness, ServiceLevel
from perennial_api.modeldeployment.monitoring.windows import Alarm, Clear, Window
from perennial_api.types import AtLeast, Name

__all__ = ["Monitor", "MonitorType", "Severity"]


class MonitorType(StrEnum):
    """What a monitor watches."""

    DRIFT = "Drift"
    PREDICTION_DRIFT = "PredictionDrift"
    OUTLIER = "Outlier"
    DATA_QUALITY = "DataQuality"
    PERFORMANCE = "Performance"
    ESTIMATED_PERFORMANCE = "EstimatedPerformance"
    CONCEPT = "Concept"
    SERVICE_LEVEL = "ServiceLevel"
    FAIRNESS = "Fairness"
    CUSTOM = "Custom"

    @property
    def member(self) -> str:
        """Field of a monitor that holds the type's settings, as users spell it."""
        return self.value[0].lower() + self.value[1:]

    @property
    def reads_inputs(self) -> bool:
        """Whether it needs logged inputs."""
        return self in {
            MonitorType.DRIFT,
            MonitorType.OUTLIER,
            MonitorType.DATA_QUALITY,
            MonitorType.CUSTOM,
        }

    @property
    def reads_outputs(self) -> bool:
        """Whether it needs logged outputs."""
        return self in {
            MonitorType.PREDICTION_DRIFT,
            MonitorType.PERFORMANCE,
            MonitorType.ESTIMATED_PERFORMANCE,
            MonitorType.CONCEPT,
            MonitorType.FAIRNESS,
        }


# Types that say nothing without their settings.
_DEMANDING = (
    MonitorType.PERFORMANCE,
    MonitorType.ESTIMATED_PERFORMANCE,
    MonitorType.SERVICE_LEVEL,
    MonitorType.FAIRNESS,
    MonitorType.CUSTOM,
)


class Severity(StrEnum):
    """What an alarm does."""

    PAGE = "Page"
    TICKET = "Ticket"
    LOG = "Log"


def _member_fits_type(monitor: "Monitor") -> bool:
    given = {kind for kind in MonitorType if monitor.settings_of(kind) is not None}
    return given <= {monitor.type} and (monitor.type not in _DEMANDING or monitor.type in given)


def _counts_rows(quality: DataQuality | None) -> bool:
    return quality is not None and (quality.min_per_hour is not None or quality.max_silence is not None)


class Monitor(Model):
    """One thing that is watched."""

    rules = (
        Rule(
            cel=" && ".join(
                f"(self.type == '{kind}') == has(self.{kind.member})"
                if kind in _DEMANDING
                else f"(self.type == '{kind}' || !has(self.{kind.member}))"
                for kind in MonitorType
            ),
            message="the member must fit the type: Drift takes drift, Outlier takes outlier, Performance needs performance, and so on",
            holds=_member_fits_type,
        ),
        Rule(
            cel="!has(self.slice) || !(self.type in ['ServiceLevel', 'Fairness'])",
            message="ServiceLevel counts requests, whose rows nobody knows, and Fairness names slices of its own: remove slice",
            holds=lambda self: (
                self.slice is None or self.type not in {MonitorType.SERVICE_LEVEL, MonitorType.FAIRNESS}
            ),
        ),
        Rule(
            cel="!has(self.slice) || !has(self.dataQuality)"
            " || !(has(self.dataQuality.minPerHour) || has(self.dataQuality.maxSilence))",
            message="minPerHour and maxSilence count all rows, not a slice's: give them to a monitor without slice",
            holds=lambda self: self.slice is None or not _counts_rows(self.data_quality),
        ),
        Rule(
            cel="!has(self.window) || self.type != 'ServiceLevel'",
            message="ServiceLevel has windows of its own: remove window, and set serviceLevel.minRequests instead of minSamples",
            holds=lambda self: self.window is None or self.type is not MonitorType.SERVICE_LEVEL,
        ),
    )

    name: Name
    """Name of the monitor, unique in this deployment; triggers, status and metrics use it."""
    type: MonitorType
    """Drift (inputs), PredictionDrift (outputs), Outlier (single inputs), DataQuality (what arrives), Performance
    (labels), EstimatedPerformance (without labels), Concept (the stream of errors), ServiceLevel (failures and
    latency), Fairness (slices against each other) or Custom (a number of your own)."""
    severity: Severity = Severity.TICKET
    """Page (somebody has to act now), Ticket (somebody has to look) or Log."""
    slice: Name | None = None
    """Name of one of monitoring.slices: only its rows are judged."""
    drift: Drift | None = None
    """Settings of type Drift."""
    prediction_drift: Drift | None = None
    """Settings of type PredictionDrift."""
    outlier: Outlier | None = None
    """Settings of type Outlier."""
    data_quality: DataQuality | None = None
    """Settings of type DataQuality."""
    performance: Performance | None = None
    """Settings of type Performance."""
    estimated_performance: EstimatedPerformance | None = None
    """Settings of type EstimatedPerformance."""
    concept: Concept | None = None
    """Settings of type Concept."""
    service_level: ServiceLevel | None = None
    """Settings of type ServiceLevel."""
    fairness: Fairness | None = None
    """Settings of type Fairness."""
    custom: Custom | None = None
    """Settings of type Custom."""
    window: Window | None = None
    """Windows of this monitor, in place of those in defaults."""
    false_alarm_every: Annotated[Duration, AtLeast("1h")] | None = None
    """Acceptable time between false alarms of this monitor, in place of that in defaults."""
    alarm: Alarm | None = None
    """When this monitor raises an alarm, in place of that in defaults."""
    clear: Clear | None = None
    """When this monitor's alarm ends, in place of that in defaults."""

    def settings_of(self, kind: MonitorType) -> Model | None:
        """Return the member that belongs to a type, if it is given."""
        found: Model | None = {
            MonitorType.DRIFT: self.drift,
            MonitorType.PREDICTION_DRIFT: self.prediction_drift,
            MonitorType.OUTLIER: self.outlier,
            MonitorType.DATA_QUALITY: self.data_quality,
            MonitorType.PERFORMANCE: self.performance,
            MonitorType.ESTIMATED_PERFORMANCE: self.estimated_performance,
            MonitorType.CONCEPT: self.concept,
            MonitorType.SERVICE_LEVEL: self.service_level,
            MonitorType.FAIRNESS: self.fairness,
            MonitorType.CUSTOM: self.custom,
        }[kind]
        return found
