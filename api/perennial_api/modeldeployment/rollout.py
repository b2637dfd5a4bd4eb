"""`spec.rollout`: how a new revision may replace the old one."""

from enum import StrEnum
from itertools import pairwise
from typing import Annotated

from pydantic import Field

from perennial_api.base import Model, Rule
from perennial_api.durations import Duration
from perennial_api.types import AtLeast, Float, Int, KeyedBy, Name, PositiveDuration

__all__ = [
    "Analysis",
    "Canary",
    "Metric",
    "MetricType",
    "OnInconclusive",
    "Pause",
    "Rollout",
    "RolloutType",
    "Step",
]


class Pause(Model):
    """A stay at the weight reached."""

    duration: PositiveDuration
    """How long to stay, such as 2m; the analysis goes on meanwhile."""


class Step(Model):
    """One step of a canary: exactly one of the fields."""

    rules = (
        Rule(
            cel="(has(self.setWeight) ? 1 : 0) + (has(self.pause) ? 1 : 0) == 1",
            message="a step has exactly one key: setWeight or pause; split it into two steps",
            holds=lambda self: (self.set_weight is None) != (self.pause is None),
        ),
    )

    set_weight: Annotated[Int, Field(ge=1, le=100)] | None = None
    """Share of the requests that the new revision gets from here on, in percent, 1 to 100; never less than in an
    earlier step."""
    pause: Pause | None = None
    """Stay at the weight reached."""


def _weights_never_fall(canary: "Canary") -> bool:
    weights = [step.set_weight for step in canary.steps if step.set_weight is not None]
    return all(before <= after for before, after in pairwise(weights))


class Canary(Model):
    """A rollout that shifts the traffic step by step."""

    rules = (
        Rule(
            cel="self.steps.filter(s, has(s.setWeight)).map(s, s.setWeight).isSorted()",
            message="setWeight may not fall from one step to a later one: put the steps in rising order",
            holds=_weights_never_fall,
        ),
    )

    steps: Annotated[tuple[Step, ...], Field(max_length=20)] = (
        Step(set_weight=5),
        Step(pause=Pause(duration=Duration("2m"))),
        Step(set_weight=50),
        Step(pause=Pause(duration=Duration("2m"))),
    )
    """The steps in order, at most 20. A final weight of 100 percent is implied. Without any, the new revision gets
    all traffic as soon as it is ready."""


class MetricType(StrEnum):
    """What a metric counts as bad."""

    ERROR_RATE = "ErrorRate"


class Metric(Model):
    """One comparison of the new revision with the stable one."""

    name: Name
    """Name of the metric in status, events and metrics."""
    type: MetricType
    """ErrorRate counts requests answered with 5xx or not at all."""
    max_ratio: Annotated[Float, Field(ge=1, le=100)] = 1.0
    """How many times the stable revision's bad share the new revision's may be, a ratio from 1 to 100."""
    max_rate: Annotated[Float, Field(gt=0, lt=1)] | None = None
    """How large the new revision's bad share may be in itself, a fraction of its requests between 0 and 1 (0.01 is
    one percent). Left out it isn't limited."""


class OnInconclusive(StrEnum):
    """What happens when too little traffic came to judge."""

    PAUSE = "Pause"
    PROMOTE = "Promote"
    ABORT = "Abort"


class Analysis(Model):
    """The statistical gate that a rollout must pass, evaluated all along it."""

    interval: PositiveDuration = Duration("15s")
    """How often the counters are read and judged, at least 1s; looking often costs no false alarms."""
    initial_delay: Duration = Duration("10s")
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
    """How long a rollout may go without progress, at least 1m. One whose pods don't become ready by then is rolled
    back."""


class RolloutType(StrEnum):
    """How traffic moves to a new revision."""

    CANARY = "Canary"


class Rollout(Model):
    """How a new revision may replace the stable one."""

    type: RolloutType = RolloutType.CANARY
    """Canary shifts the traffic step by step and rolls back when the analysis fails."""
    canary: Canary = Canary()
    """The steps of type Canary."""
    analysis: Analysis = Analysis()
    """The statistical gate."""
