"""`status.rollout.gate`: all that the statistical gate must remember, and the evidence it leaves."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from perennial_api.base import StatusModel
from perennial_api.types import Bool, Float, Int, KeyedBy, Message, Name, Reason, Time

__all__ = [
    "ArmMark",
    "Count",
    "Evidence",
    "EvidenceList",
    "Gate",
    "GateDecision",
    "GateMetric",
    "MetricCounts",
    "RouterMark",
]

Count = Annotated[Int, Field(ge=0)]


class MetricCounts(StatusModel):
    """What one revision has shown of one metric since the rollout began."""

    total: Count = 0
    """Requests (predictions for OutlierRate and Feedback, clients where the split is sticky) that were judged."""
    bad: Count = 0
    """Those of them that the metric counts as bad."""


class GateDecision(StrEnum):
    """Verdict of a gate."""

    SUCCESSFUL = "Successful"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"


class GateMetric(StatusModel):
    """State of one metric."""

    name: Name
    """Name of the metric."""
    limits_hash: Annotated[str, StringConstraints(max_length=64)] = ""
    """Hash of what it counts and of its bounds: with others the metric starts anew."""
    canary: MetricCounts = MetricCounts()
    """What the new revision has shown."""
    stable: MetricCounts = MetricCounts()
    """What the stable revision has shown meanwhile."""
    log_e_values: Annotated[tuple[Float, ...], Field(max_length=16)] = ()
    """Natural logarithm of the likelihood ratio for each alternative rate ratio."""
    log_rate_e_values: Annotated[tuple[Float, ...], Field(max_length=16)] = ()
    """The same for the bound maxRate."""
    value: Float | None = None
    """What Prometheus answered last."""
    readings: Count = 0
    """How many answers of Prometheus in a row were on the same side of the bounds as value."""
    read_at: Time | None = None
    """When value was read."""
    decision: GateDecision = GateDecision.INCONCLUSIVE
    """Verdict at the last look."""
    reason: Reason = ""
    """Why, in one CamelCase word."""
    message: Message = ""
    """Why, in a sentence."""


class RouterMark(StatusModel):
    """How far one router's counters of one revision have been counted."""

    pod: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """Router pod."""
    epoch: Annotated[str, StringConstraints(max_length=128)]
    """Id of the counters; it changes when they start at zero."""
    revision: Name
    """Revision counted."""
    requests: Count = 0
    """Requests counted so far."""
    errors: Count = 0
    """Failed requests counted so far."""
    slow: Count = 0
    """Slow requests counted so far."""
    invalid: Count = 0
    """Refused requests counted so far."""
    users: Count = 0
    """Clients counted so far."""
    failing_users: Count = 0
    """Clients with a failed request counted so far."""


class ArmMark(StatusModel):
    """How far what the observer counted of one revision has been counted here."""

    revision: Name
    """Revision counted."""
    since: Time
    """When the observer's counts started at zero."""
    outliers: MetricCounts = MetricCounts()
    """Predictions judged so far, and the outliers among them."""
    labels: MetricCounts = MetricCounts()
    """Labelled predictions counted so far, and the wrong ones among them."""


class Gate(StatusModel):
    """Everything that the statistical gate must remember across restarts."""

    metrics: Annotated[tuple[GateMetric, ...], Field(max_length=5), KeyedBy("name")] = ()
    """State of each metric."""
    canary: Count = 0
    """Requests that the new revision answered since the rollout began."""
    stable: Count = 0
    """Requests that the stable revision answered meanwhile."""
    recent_canary: MetricCounts = MetricCounts()
    """Requests of the new revision since its weight last changed, and the failed ones: for the breaker."""
    recent_stable: MetricCounts = MetricCounts()
    """The same of the stable revision."""
    by_client: Bool = False
    """True where the split is sticky, so that clients are counted instead of requests."""
    routers: Annotated[tuple[RouterMark, ...], Field(max_length=200)] = ()
    """How far each router's counters have been counted."""
    arms: Annotated[tuple[ArmMark, ...], Field(max_length=20), KeyedBy("revision")] = ()
    """How far the observer's counts have been counted."""
    last_analysis_time: Time | None = None
    """When the counters were last judged."""


class Evidence(StatusModel):
    """What the gate saw when it decided."""

    time: Time
    """When."""
    metric: Annotated[str, StringConstraints(max_length=63)]
    """Name of the metric."""
    step_index: Count
    """Step of the rollout, counted from 0."""
    canary: MetricCounts = MetricCounts()
    """What the new revision had shown."""
    stable: MetricCounts = MetricCounts()
    """What the stable revision had shown."""
    value: Float | None = None
    """What Prometheus had answered."""
    e_value: Annotated[Float, Field(ge=0)] | None = None
    """Evidence that the new revision is worse; 1 is none."""
    bound: Annotated[Float, Field(ge=0)] | None = None
    """Evidence at which the rollout fails."""
    dry_run: Bool = False
    """Whether the metric decides nothing."""
    decision: GateDecision
    """Successful, Failed or Inconclusive."""
    reason: Reason
    """Why, in one CamelCase word."""
    message: Message = ""
    """Why, in a sentence."""


EvidenceList = Annotated[tuple[Evidence, ...], Field(max_length=20)]
