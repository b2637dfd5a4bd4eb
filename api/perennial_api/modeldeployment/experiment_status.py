"""`status.experiment`: how an experiment stands, and all that the operator must remember of it."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from perennial_api.base import StatusModel
from perennial_api.modeldeployment.experiment import ExperimentType
from perennial_api.modeldeployment.gate_status import Count, Gate, RouterMark
from perennial_api.types import Bool, Float, KeyedBy, Message, Name, Percent, Reason, Time

__all__ = [
    "ArmStatus",
    "ExperimentPhase",
    "ExperimentStatus",
    "ReportMark",
    "RewardCounts",
    "ShadowComparison",
    "VariantState",
]

Amount = Annotated[Float, Field(ge=0)]


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


class RewardCounts(StatusModel):
    """What an arm has earned since the experiment began."""

    total: Count = 0
    """Rewards counted: requests for NoError, labels for Feedback, clients of either where the split is sticky."""
    bad: Amount = 0.0
    """What they lacked in all: the failures, where each reward is 0 or 1."""


class ShadowComparison(StatusModel):
    """How a shadow's answers differ from the live ones to the same requests."""

    requests: Count = 0
    """Copied requests that the shadow answered."""
    pairs: Count = 0
    """Those whose live answer was logged too."""
    agreements: Count = 0
    """Pairs with equal answers in every row."""
    agreement_rate: Annotated[Float, Field(ge=0, le=1)] | None = None
    """Share of the pairs with equal answers, a fraction between 0 and 1."""
    differences: Count = 0
    """Pairs whose answers are numbers."""
    difference_sum: Amount = 0.0
    """Sum of the absolute differences of these pairs, in the output's unit."""
    mean_difference: Amount | None = None
    """Mean absolute difference between the shadow's answer and the live one, in the output's unit."""
    largest_difference: Amount | None = None
    """Largest of these differences."""


class ReportMark(StatusModel):
    """How far what the observer counted of an arm has been counted here: rewards, or the pairs of a shadow."""

    since: Time
    """When the observer began to count; its counts started at zero then."""
    requests: Count = 0
    """Copied requests counted so far."""
    total: Count = 0
    """Rewards or pairs counted so far."""
    bad: Amount = 0.0
    """What the rewards lacked, or pairs that differed, so far."""
    differences: Count = 0
    """Pairs of numbers counted so far."""
    difference_sum: Amount = 0.0
    """Sum of their differences so far."""


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
    serving_since: Time | None = None
    """When it last began to get requests, live or copied."""
    counts: RewardCounts = RewardCounts()
    """What it has earned."""
    mark: ReportMark | None = None
    """How far the observer's counts have been counted."""
    successes: Amount = 0.0
    """Discounted number of successes of a bandit's arm."""
    failures: Amount = 0.0
    """Discounted number of failures of a bandit's arm."""
    probability_best: Annotated[Float, Field(ge=0, le=1)] | None = None
    """Probability that it is the best arm of a bandit."""
    e_value: Amount | None = None
    """Evidence that a variant of an A/B test earns more than stable; 1 is none."""
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
    """How many times the arms have been compared."""
    last_tick_time: Time | None = None
    """When they were compared last."""
    requested_at: Time | None = None
    """When the pods of its variants were asked for."""
    started_at: Time | None = None
    """When the arms first got requests."""
    ended_at: Time | None = None
    """When it ended."""
    winner: Name | None = None
    """Name of the arm that won, if one did."""
    promote: Bool = False
    """True where the winner is to become the stable revision; a newer spec.model comes before it."""
    routers: Annotated[tuple[RouterMark, ...], Field(max_length=200)] = ()
    """How far each router's counters of the arms have been counted."""
    stable: Name | None = None
    """The revision that the variants are compared with."""
    arms: Annotated[tuple[ArmStatus, ...], Field(max_length=9), KeyedBy("name")] = ()
    """Every arm, stable first."""
