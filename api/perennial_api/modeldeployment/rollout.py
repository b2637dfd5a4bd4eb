"""`spec.rollout`: how a new revision may replace the old one."""

from enum import StrEnum
from itertools import pairwise
from typing import Annotated

from pydantic import Field

from perennial_api.base import Model, Rule
from perennial_api.durations import Duration
from perennial_api.modeldeployment.analysis import Analysis
from perennial_api.types import AtLeast, Bool, Int, PositiveDuration

__all__ = [
    "BlueGreen",
    "Canary",
    "Look",
    "MirrorStep",
    "Pause",
    "Rollout",
    "RolloutType",
    "Step",
]

_KEYS = ("setWeight", "pause", "analysis", "setMirror")
_FULL_PERCENT = 100


class Pause(Model):
    """A stay at the weight reached."""

    duration: PositiveDuration | None = None
    """How long to stay, such as 2m; the analysis goes on meanwhile. Left out, until somebody promotes."""


class Look(Model):
    """A stay at the weight reached that ends only once the gate says Successful."""

    duration: PositiveDuration
    """How long to stay at least, such as 5m. It is the bake of this step."""


class MirrorStep(Model):
    """A stay in which the new revision gets copies of requests, and its answers are thrown away."""

    percent: Annotated[Int, Field(ge=1, le=100)]
    """Share of the requests that are copied to the new revision, in percent, 1 to 100."""
    duration: PositiveDuration
    """How long, such as 1m."""


class Step(Model):
    """One step of a canary: exactly one of the fields."""

    rules = (
        Rule(
            cel=" + ".join(f"(has(self.{key}) ? 1 : 0)" for key in _KEYS) + " == 1",
            message="a step has exactly one key: setWeight, pause, analysis or setMirror; split it into several steps",
            holds=lambda self: (
                sum(v is not None for v in (self.set_weight, self.pause, self.analysis, self.set_mirror)) == 1
            ),
        ),
    )

    set_weight: Annotated[Int, Field(ge=1, le=100)] | None = None
    """Share of the requests that the new revision gets from here on, in percent, 1 to 100; never less than in an
    earlier step."""
    pause: Pause | None = None
    """Stay at the weight reached, for a time or until promoted."""
    analysis: Look | None = None
    """Stay at the weight reached until the gate has succeeded."""
    set_mirror: MirrorStep | None = None
    """Send the new revision copies of requests before it gets any of its own."""


def _weights(canary: "Canary") -> list[int]:
    return [step.set_weight for step in canary.steps if step.set_weight is not None]


def _weights_never_fall(canary: "Canary") -> bool:
    return all(before <= after for before, after in pairwise(_weights(canary)))


def _nothing_after_full(canary: "Canary") -> bool:
    return all(step.set_weight != _FULL_PERCENT for step in canary.steps[:-1])


def _mirrors_before_weights(canary: "Canary") -> bool:
    kinds = [s.set_mirror is not None for s in canary.steps if s.set_mirror or s.set_weight]
    return kinds == sorted(kinds, reverse=True)


class Canary(Model):
    """A rollout that shifts the traffic step by step."""

    rules = (
        Rule(
            cel="self.steps.filter(s, has(s.setWeight)).map(s, s.setWeight).isSorted()",
            message="setWeight may not fall from one step to a later one: put the steps in rising order",
            holds=_weights_never_fall,
        ),
        Rule(
            cel=(
                "self.steps.all(s, !has(s.setWeight) || s.setWeight < 100)"
                " || has(self.steps[self.steps.size() - 1].setWeight)"
                " && self.steps.filter(s, has(s.setWeight) && s.setWeight == 100).size() == 1"
            ),
            message="setWeight 100 ends the rollout: no step may follow it; lower the weight or remove the later steps",
            holds=_nothing_after_full,
        ),
        Rule(
            cel=(
                "self.steps.filter(s, has(s.setMirror) || has(s.setWeight))"
                ".map(s, has(s.setMirror) ? 0 : 1).isSorted()"
            ),
            message="setMirror comes before the first setWeight: a revision that answers requests needs no copies",
            holds=_mirrors_before_weights,
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


class BlueGreen(Model):
    """A rollout that switches all traffic at once, and back as fast."""

    preview: Duration = Duration("0s")
    """How long the new revision stands at its preview address before it gets any request."""
    auto_promotion: Bool = True
    """False waits at the preview address until somebody promotes."""
    keep: Duration = Duration("10m")
    """How long the old revision stays ready after the switch, so that the way back takes no time. The new revision is
    stable only afterwards; it is watched meanwhile by the analysis' maxRate bounds and by the breaker."""


class RolloutType(StrEnum):
    """How traffic moves to a new revision."""

    CANARY = "Canary"
    BLUE_GREEN = "BlueGreen"
    IMMEDIATE = "Immediate"


class Rollout(Model):
    """How a new revision may replace the stable one."""

    rules = (
        Rule(
            cel="self.type == 'BlueGreen' || !has(self.blueGreen)",
            message="rollout.blueGreen belongs to type BlueGreen: set type or remove blueGreen",
            holds=lambda self: self.type is RolloutType.BLUE_GREEN or self.blue_green is None,
        ),
    )

    type: RolloutType = RolloutType.CANARY
    """Canary shifts the traffic step by step and rolls back when the analysis fails; BlueGreen switches all of it at
    once after a preview and keeps the old revision for a while; Immediate switches as soon as the pods are ready."""
    canary: Canary = Canary()
    """The steps of type Canary."""
    blue_green: BlueGreen | None = None
    """The times of type BlueGreen."""
    analysis: Analysis = Analysis()
    """The statistical gate."""
    scale_down_delay: Annotated[Duration, AtLeast("0s")] = Duration("30s")
    """How long a revision that gets no more requests keeps its pods, so that requests under way end well."""
