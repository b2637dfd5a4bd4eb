"""`spec.retraining`: when and how the model is trained again."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from perennial_api.base import Model, Rule
from perennial_api.durations import Duration
from perennial_api.types import AtLeast, Bool, Float, Int, KeyedBy, Name, PerennialUri, Unique

__all__ = [
    "Cooldown",
    "Promotion",
    "Retraining",
    "RetrainingLimits",
    "TrainingBase",
    "TrainingData",
    "Trigger",
    "WeightType",
    "Weights",
]


class Trigger(Model):
    """What starts a retraining."""

    monitor: Name
    """Name of a monitor; each of its alarms starts at most one run."""


class Cooldown(Model):
    """How long to wait between runs, by the wall clock."""

    rules = (
        Rule(
            cel="self.base <= self.max",
            message="cooldown.base is longer than cooldown.max: raise max or lower base",
            holds=lambda self: self.base.seconds <= self.max.seconds,
        ),
    )

    base: Duration = Duration("24h")
    """Shortest time from the start of a run to the next."""
    backoff: Annotated[Float, Field(ge=1, le=10)] = 2.0
    """Factor by which the time grows after each run in a row that brought no new model, from 1 to 10."""
    max: Duration = Duration("7d")
    """Longest time between runs, however many failed."""


class RetrainingLimits(Model):
    """Bounds on the number of runs."""

    per_week: Annotated[Int, Field(ge=1, le=1000)] = 3
    """How many runs may start in any seven days by the wall clock, 1 to 1000."""
    min_new_labels: Annotated[Int, Field(ge=0, le=1_000_000_000)] = 500
    """How many labels must have come in since the last run, in rows."""


class TrainingBase(Model):
    """Rows known from before the deployment."""

    uri: PerennialUri
    """A Parquet file in the bundle store, perennial://sha256:<64 hex digits>, with the columns of the export: those
    of the input, `label` and `event_time`."""


class WeightType(StrEnum):
    """How a row's age turns into its weight."""

    INVERSE_AGE = "InverseAge"


class Weights(Model):
    """How much a row counts by its age."""

    type: WeightType = WeightType.INVERSE_AGE
    """InverseAge gives a row of a certain age the weight 1 / (1 + age / tau), scaled to a mean of 1."""
    tau: Annotated[Duration, AtLeast("1s")] = Duration("30d")
    """Age at which a row counts half as much as a fresh one, in event time."""
    min_effective_samples: Annotated[Int, Field(ge=1, le=1_000_000_000)] = 1000
    """Effective number of rows, (sum w)^2 / (sum w^2), that the weights must leave; below it the candidate is
    refused."""


class TrainingData(Model):
    """Which rows the candidate learns from and is tested on, in event time."""

    rules = (
        Rule(
            cel="self.window > self.gap + self.test",
            message="data.window must be longer than data.gap and data.test together, else no row is left to train on",
            holds=lambda self: self.window.seconds > self.gap.seconds + self.test.seconds,
        ),
    )

    base: TrainingBase | None = None
    """Rows known from before the deployment, used where they are inside the window."""
    window: Annotated[Duration, AtLeast("1s")] = Duration("180d")
    """How far back the rows reach, from the newest mature one."""
    gap: Duration = Duration("7d")
    """Stretch between training and test rows that is left out, so that the test is of the future."""
    test: Annotated[Duration, AtLeast("1s")] = Duration("14d")
    """Length of the newest stretch, on which candidate and champion are compared."""
    label_maturity: Duration = Duration("1d")
    """How long after its event a label is waited for; younger rows aren't used."""
    weights: Weights = Weights()
    """How much a row counts by its age."""


class Promotion(StrEnum):
    """Who lets an accepted candidate go live."""

    AUTO = "Auto"


def _triggers_and_blockers_differ(retraining: "Retraining") -> bool:
    return not {trigger.monitor for trigger in retraining.triggers} & set(retraining.block_on)


class Retraining(Model):
    """When and how the model is trained again."""

    rules = (
        Rule(
            cel="!self.triggers.exists(t, t.monitor in self.blockOn)",
            message="a monitor in blockOn can't be a trigger too, since its alarm would block the run: remove one",
            holds=_triggers_and_blockers_differ,
        ),
    )

    suspend: Bool = False
    """True starts no new run; one that runs already goes on."""
    triggers: Annotated[tuple[Trigger, ...], Field(min_length=1, max_length=10), KeyedBy("monitor")]
    """What starts a run, any of them, 1 to 10."""
    block_on: Annotated[tuple[Name, ...], Field(max_length=20), Unique()] = ()
    """Names of monitors; while one of them is in alarm no run starts."""
    cooldown: Cooldown = Cooldown()
    """How long to wait between runs."""
    limits: RetrainingLimits = RetrainingLimits()
    """Bounds on the number of runs."""
    data: TrainingData = TrainingData()
    """Which rows are used."""
    trainer: Name = "refit"
    """Name of a ModelRuntime of this namespace, or else of a ClusterModelRuntime, with role Trainer. refit fits the
    bundle's own pipeline again."""
    promotion: Promotion = Promotion.AUTO
    """Auto sends an accepted candidate down the rollout at once."""
