"""MonitorReport: the observer's verdicts on one deployment."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from perennial_api.arms import Arms
from perennial_api.base import Resource, StatusModel
from perennial_api.labels import API_VERSION
from perennial_api.modeldeployment.monitoring import MonitorType, Severity
from perennial_api.types import Bool, Column, Float, Int, KeyedBy, Message, Name, Reason, Time

__all__ = [
    "BreachId",
    "FeatureStatistic",
    "LogCounts",
    "MonitorReport",
    "MonitorReportStatus",
    "MonitorState",
    "MonitorVerdict",
    "MonitorVerdicts",
]

BreachId = Annotated[
    str, StringConstraints(max_length=128, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
]


class MonitorState(StrEnum):
    """Where a monitor stands."""

    OK = "Ok"
    WARNING = "Warning"
    ALARM = "Alarm"
    INSUFFICIENT = "Insufficient"
    ERROR = "Error"


class FeatureStatistic(StatusModel):
    """How far one feature moved."""

    name: Column
    """Input column."""
    statistic: Float
    """Statistic of this feature alone, in the monitor's unit."""


class MonitorVerdict(StatusModel):
    """What one monitor found in its latest window."""

    name: Name
    """Name of the monitor."""
    type: MonitorType
    """Type of the monitor."""
    severity: Severity = Severity.TICKET
    """What an alarm of it does: Page, Ticket or Log, as the monitor says."""
    state: MonitorState
    """Ok, Warning (over the threshold, not yet an alarm), Alarm, Insufficient (too few rows to judge) or Error."""
    reason: Reason = ""
    """Why, in one CamelCase word."""
    message: Message = ""
    """Why, in a sentence."""
    explanation: Message = ""
    """What is known about the latest breach: since when, which columns moved most, which slice, at what cost."""
    breach_id: BreachId | None = None
    """Name of this alarm for good, set while state is Alarm."""
    calibrated: Bool | None = None
    """False if the reference had too few blocks or seasons to calibrate the threshold for falseAlarmEvery."""
    statistic: Float | None = None
    """Value in the latest window: the drift detector's statistic in its own unit, the share of odd rows (a fraction),
    the performance metric, or how many times too fast the error budget burns."""
    threshold: Float | None = None
    """Value beyond which the window counts as a breach, in the unit of statistic."""
    window_samples: Annotated[Int, Field(ge=0)] | None = None
    """Rows in the latest window; labelled ones for Performance, requests for ServiceLevel."""
    window_start: Time | None = None
    """Event time of the window's first row."""
    window_end: Time | None = None
    """Event time of the window's last row."""
    features: Annotated[tuple[FeatureStatistic, ...], Field(max_length=20), KeyedBy("name")] = ()
    """The features that moved most, at most 20, the largest first."""
    last_transition_time: Time | None = None
    """When the state last changed."""


MonitorVerdicts = Annotated[tuple[MonitorVerdict, ...], Field(max_length=20), KeyedBy("name")]


class LogCounts(StatusModel):
    """What the observer has recorded for the deployment."""

    predictions: Annotated[Int, Field(ge=0)] = 0
    """Rows predicted."""
    labels: Annotated[Int, Field(ge=0)] = 0
    """Rows whose label came back."""
    rejected: Annotated[Int, Field(ge=0)] = 0
    """Rows that didn't fit and are none of the predictions."""
    late: Annotated[Int, Field(ge=0)] = 0
    """Those of the predictions that came behind the watermark: windows may have closed without them, and then no monitor
    has judged them."""
    watermark: Time | None = None
    """Event time up to which rows have probably all arrived."""


class MonitorReportStatus(StatusModel):
    """The verdicts."""

    revision: Name | None = None
    """Revision whose reference is in force."""
    log: LogCounts = LogCounts()
    """What has been recorded."""
    monitors: MonitorVerdicts = ()
    """One verdict per monitor."""
    arms: Arms = ()
    """What each revision has answered, while two or more answer side by side; at most 20."""


class MonitorReport(Resource):
    """Verdicts of one ModelDeployment's monitors. Written by the observer; it has the ModelDeployment's name."""

    api_version: Literal["perennial.dev/v1alpha1"] = API_VERSION
    kind: Literal["MonitorReport"] = "MonitorReport"
    status: MonitorReportStatus = MonitorReportStatus()
    """The verdicts."""
