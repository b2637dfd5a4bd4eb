"""`status.experiment`: how an experiment stands, and all that the operator must remember of it."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from perennial_api.base import StatusModel
from perennial_api.modeldeployment.experiment import ExperimentType
from perennial_api.modeldeployment.gate_status import Count, Gate, MetricCounts
from perennial_api.types import Float, KeyedBy, Message, Name, Percent, Reason, Time

__all__ = ["ArmStatus", "ExperimentPhase", "ExperimentStatus", "ShadowComparison", "VariantState"]


class ExperimentPhase(StrEnum):
    """How an experiment stands."""

    WAITING = "Waiting"
    RUNNING = "Running"
    ENDED = "Ended"


class VariantState(StrEnum):
    """How one arm stands."""

    WAITING_FOR_PODS = "WaitingForPods"
    RUNNING = "Running"
    UNSAFE = "Unsafe"
    ENDED = "Ended"


class ShadowComparison(StatusModel):
    """How a shadow's answers differ from the live ones to the same requests."""

    pairs: Count = 0
    """Requests that both answered."""
    agreements: Count = 0
    """Those with equal answers."""
    mean_difference: Float | None = None
    """Mean of the shadow's number minus the live one's, in the output's unit."""
    mean_absolute_difference: Float | None = None
    """Mean size of that difference."""


class ArmStatus(StatusModel):
    """One arm: a variant, or the stable revision."""

    name: Name
    """Name of the variant, or stable."""
    revision: Name | None = None
    """Its revision."""
    state: VariantState = VariantState.WAITING_FOR_PODS
    """WaitingForPods, Running, Unsafe (the gate failed it; it gets no requests until the experiment is changed) or
    Ended."""
    weight_percent: Percent = 0
    """Its share of the requests, in percent."""
    counts: MetricCounts = MetricCounts()
    """Rewards: how many were counted, and how many of them were failures."""
    successes: Annotated[Float, Field(ge=0)] = 0.0
    """Discounted number of successes of a bandit's arm."""
    failures: Annotated[Float, Field(ge=0)] = 0.0
    """Discounted number of failures of a bandit's arm."""
    probability_best: Annotated[Float, Field(ge=0, le=1)] | None = None
    """Probability that it is the best arm of a bandit."""
    e_value: Annotated[Float, Field(ge=0)] | None = None
    """Evidence that a variant of an A/B test is better than stable; 1 is none."""
    log_e_values: Annotated[tuple[Float, ...], Field(max_length=16)] = ()
    """Natural logarithm of the likelihood ratio for each alternative."""
    gate: Gate | None = None
    """State of the gate that watches a variant's safety."""
    shadow: ShadowComparison | None = None
    """How a shadow's answers differ."""
    message: Message = ""
    """Why it stands as it does."""


class ExperimentStatus(StatusModel):
    """How the experiment stands."""

    type: ExperimentType
    """ABTest, Bandit or Shadow."""
    phase: ExperimentPhase
    """Waiting (for pods, or for a rollout to end), Running or Ended."""
    reason: Reason = ""
    """Why, in one CamelCase word."""
    message: Message = ""
    """Why, in a sentence."""
    spec_hash: Annotated[str, StringConstraints(max_length=64)]
    """Hash of the spec.experiment that this is about; another one starts anew."""
    attempt: Count = 0
    """Number of the experiment over the deployment's life; it salts the split and seeds the bandit."""
    salt: Annotated[str, StringConstraints(max_length=64)] = ""
    """What a client's id is hashed with, so that each experiment splits anew."""
    seed: Count = 0
    """Seed of a bandit's draws; with tick it gives every share again."""
    tick: Count = 0
    """How many times a bandit has reckoned its shares."""
    last_tick_time: Time | None = None
    """When it did so last."""
    started_at: Time | None = None
    """When the arms first got requests."""
    ended_at: Time | None = None
    """When it ended."""
    winner: Name | None = None
    """Name of the arm that won, if one did."""
    stable: Name | None = None
    """The revision that the variants are compared with."""
    arms: Annotated[tuple[ArmStatus, ...], Field(max_length=9), KeyedBy("name")] = ()
    """Every arm, stable first."""
