"""`spec.rollout.analysis`: the statistical gate that a revision on trial must pass."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from perennial_api.base import Model, Rule
from perennial_api.durations import Duration
from perennial_api.types import AtLeast, Bool, Float, Int, KeyedBy, Name, PositiveDuration

__all__ = ["Analysis", "FeedbackMetric", "Metric", "MetricType", "OnInconclusive", "PrometheusMetric"]


class MetricType(StrEnum):
    """What a metric counts as bad."""

    ERROR_RATE = "ErrorRate"
    SLOW_RATE = "SlowRate"
    INVALID_RATE = "InvalidRate"
    OUTLIER_RATE = "OutlierRate"
    FEEDBACK = "Feedback"
    PROMETHEUS = "Prometheus"


class PrometheusMetric(Model):
    """A number read from Prometheus, with the bounds that it must keep."""

    rules = (
        Rule(
            cel="has(self.min) || has(self.max)",
            message="prometheus needs min, max or both: say which values are good",
            holds=lambda self: self.min is not None or self.max is not None,
        ),
        Rule(
            cel="!has(self.min) || !has(self.max) || self.min <= self.max",
            message="prometheus.min is above prometheus.max: no value would be good",
            holds=lambda self: self.min is None or self.max is None or self.min <= self.max,
        ),
    )

    address: Annotated[
        str,
        StringConstraints(min_length=8, max_length=256, pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$"),
    ]
    """Where Prometheus answers, such as http://prometheus.monitoring:9090. The installation allows addresses one by
    one."""
    query: Annotated[str, StringConstraints(min_length=1, max_length=2048)]
    """PromQL that gives one number: a scalar, or a vector with one series. {{revision}}, {{stable}}, {{namespace}} and
    {{deployment}} are replaced by the names."""
    min: Float | None = None
    """Smallest good value, in the query's unit."""
    max: Float | None = None
    """Largest good value, in the query's unit."""


class FeedbackMetric(Model):
    """How the labels that came back are read."""

    maturity: PositiveDuration
    """How long after a prediction its label is in; younger predictions of neither revision are counted."""


class Metric(Model):
    """One comparison of the new revision with the stable one."""

    rules = (
        Rule(
            cel="(self.type == 'Prometheus') == has(self.prometheus)",
            message="a metric has prometheus if its type is Prometheus, and only then",
            holds=lambda self: (self.type is MetricType.PROMETHEUS) == (self.prometheus is not None),
        ),
        Rule(
            cel="(self.type == 'Feedback') == has(self.feedback)",
            message="a metric has feedback if its type is Feedback, and only then",
            holds=lambda self: (self.type is MetricType.FEEDBACK) == (self.feedback is not None),
        ),
        Rule(
            cel="self.type != 'Prometheus' || !has(self.maxRate) && self.maxRatio == 1.0",
            message="a metric of type Prometheus is bounded by prometheus.min and prometheus.max: remove maxRatio and maxRate",
            holds=lambda self: (
                self.type is not MetricType.PROMETHEUS or (self.max_rate is None and self.max_ratio == 1.0)
            ),
        ),
    )

    name: Name
    """Name of the metric in status, events and metrics."""
    type: MetricType
    """ErrorRate counts requests answered with 5xx or not at all; SlowRate those slower than server.latencyBudget;
    InvalidRate those refused for their content (400, 422); OutlierRate predictions that an Outlier monitor flags;
    Feedback predictions whose label says that they were wrong; Prometheus reads a number and compares it with bounds."""
    max_ratio: Annotated[Float, Field(ge=1, le=100)] = 1.0
    """How many times the stable revision's bad share the new revision's may be, a ratio from 1 to 100."""
    max_rate: Annotated[Float, Field(gt=0, lt=1)] | None = None
    """How large the new revision's bad share may be in itself, a fraction of its requests between 0 and 1 (0.01 is
    one percent). Left out it isn't limited."""
    prometheus: PrometheusMetric | None = None
    """What type Prometheus reads."""
    feedback: FeedbackMetric | None = None
    """What type Feedback waits for."""
    dry_run: Bool = False
    """True computes and shows the verdict but lets it decide nothing."""


class OnInconclusive(StrEnum):
    """What happens when too little traffic came to judge."""

    PAUSE = "Pause"
    PROMOTE = "Promote"
    ABORT = "Abort"


class Analysis(Model):
    """The statistical gate that a rollout must pass, evaluated all along it."""

    rules = (
        Rule(
            cel="self.metrics.all(m, !has(m.feedback) || self.bake >= m.feedback.maturity)",
            message="bake is shorter than a feedback.maturity: labels would come after the decision; lengthen bake, or leave the metric to a Performance monitor",
            holds=lambda self: all(
                m.feedback is None or self.bake.seconds >= m.feedback.maturity.seconds for m in self.metrics
            ),
        ),
    )

    interval: PositiveDuration = Duration("15s")
    """How often the counters are read and judged, at least 1s; looking often costs no false alarms."""
    initial_delay: Duration = Duration("3s")
    """How long the traffic after a change of weight isn't counted, so that connections settle."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1, max_length=5), KeyedBy("name")] = (
        Metric(name="errors", type=MetricType.ERROR_RATE),
    )
    """The metrics, 1 to 5; one that fails rolls the rollout back."""
    min_samples: Annotated[Int, Field(ge=1, le=1_000_000_000)] = 200
    """How many requests the new revision must have answered before it can pass."""
    bake: Duration = Duration("5m")
    """How long the new revision must have been without failing at its last weight before it can pass."""
    on_inconclusive: OnInconclusive = OnInconclusive.PAUSE
    """What to do when minSamples isn't reached in progressDeadline: Pause (wait for traffic), Promote or Abort."""
    progress_deadline: Annotated[Duration, AtLeast("1m")] = Duration("30m")
    """How long a rollout may go without progress, at least 1m; a pause until promoted doesn't count. One whose pods
    don't become ready by then is rolled back."""
