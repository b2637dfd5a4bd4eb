"""Monitors of the service, of fairness between slices, and a user's own."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from perennial_api.base import Model, Rule
from perennial_api.durations import Duration
from perennial_api.modeldeployment.monitoring.performance import Labels
from perennial_api.types import Float, Int, Name, PositiveDuration, Unique

__all__ = ["Custom", "Fairness", "FairnessMetric", "LatencyObjective", "ServiceLevel"]

LONGEST_CUSTOM_S = 60.0
_Objective = Annotated[Float, Field(gt=0, lt=1)]


class LatencyObjective(Model):
    """How many requests have to be quick: within server.latencyBudget, by which the gateway counts."""

    objective: _Objective = 0.99
    """Share of requests that must be, a fraction between 0 and 1."""


class ServiceLevel(Model):
    """Watches how fast the error budget of 30 days burns, over a long and a short window at once.

    It looks once a minute; alarm and clear count those looks. With severity Page only what burns fast is an alarm.
    """

    rules = (
        Rule(
            cel="has(self.availability) || has(self.latency)",
            message="serviceLevel needs availability, latency or both: say what is promised",
            holds=lambda self: self.availability is not None or self.latency is not None,
        ),
    )

    availability: _Objective | None = None
    """Share of requests that must not fail, a fraction between 0 and 1."""
    latency: LatencyObjective | None = None
    """How many requests have to be quick; what is quick says server.latencyBudget."""
    min_requests: Annotated[Int, Field(ge=10, le=1_000_000)] = 200
    """How many requests a long window must hold to be judged, 10 to 1000000; with fewer the state is Insufficient."""


class FairnessMetric(StrEnum):
    """What is compared between slices."""

    ACCURACY = "accuracy"
    POSITIVE_RATE = "positive_rate"
    TRUE_POSITIVE_RATE = "true_positive_rate"
    FALSE_POSITIVE_RATE = "false_positive_rate"

    @property
    def needs_labels(self) -> bool:
        """Whether it is known only once labels have come back."""
        return self is not FairnessMetric.POSITIVE_RATE


class Fairness(Model):
    """Compares slices with each other."""

    metric: FairnessMetric = FairnessMetric.POSITIVE_RATE
    """What is compared."""
    slices: Annotated[tuple[Name, ...], Field(min_length=2, max_length=20), Unique()]
    """Names of at least two of monitoring.slices."""
    max_difference: Annotated[Float, Field(gt=0, le=1)] = 0.1
    """Largest acceptable difference between two of them, in the metric's unit."""
    labels: Labels = Labels()
    """Which labels count, for the metrics that need any."""


class Custom(Model):
    """A number of the user's own, computed from each window."""

    rules = (
        Rule(
            cel="has(self.entryPoint) != has(self.url)",
            message="custom needs either entryPoint or url: say who computes the number",
            holds=lambda self: (self.entry_point is None) != (self.url is None),
        ),
        Rule(
            cel="has(self.min) || has(self.max)",
            message="custom needs min, max or both: say which values are good",
            holds=lambda self: self.min is not None or self.max is not None,
        ),
        Rule(
            cel="!has(self.min) || !has(self.max) || self.min <= self.max",
            message="custom.min is above custom.max: no value would be good",
            holds=lambda self: self.min is None or self.max is None or self.min <= self.max,
        ),
        Rule(
            cel="self.timeout <= duration('1m')",
            message="custom.timeout is above 1m: others wait for their turn meanwhile",
            holds=lambda self: self.timeout.seconds <= LONGEST_CUSTOM_S,
        ),
    )

    entry_point: (
        Annotated[
            str,
            StringConstraints(max_length=256, pattern=r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$"),
        ]
        | None
    ) = None
    """Python function `package.module:function` in the observer's image; it gets the window and the reference as
    pandas DataFrames, in a process of its own, and returns a number. The installation allows packages one by one."""
    url: (
        Annotated[
            str,
            StringConstraints(
                min_length=8, max_length=512, pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/.*)?$"
            ),
        ]
        | None
    ) = None
    """HTTP endpoint that is posted the window as JSON, by column, and answers {"value": number}. The installation allows
    addresses one by one; redirects aren't followed."""
    timeout: PositiveDuration = Duration("10s")
    """How long one window may take, 1s to 1m."""
    min: Float | None = None
    """Smallest good value."""
    max: Float | None = None
    """Largest good value."""
