"""What an experiment decides on, and what it decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from perennial_api.modeldeployment.analysis import Analysis
from perennial_api.modeldeployment.command_status import Command
from perennial_api.modeldeployment.experiment_status import ExperimentStatus

from perennial.rollout.decision import ExperimentPlan, Notice, Outcome
from perennial.rollout.observed import Observed

__all__ = ["STABLE", "ExperimentDecision", "ExperimentFacts"]

STABLE = "stable"
"""Name of the stable revision's arm; no variant may have it."""


@dataclass(frozen=True, slots=True)
class ExperimentFacts:
    """Everything that `step_experiment` decides on beside spec, status and time.

    Attributes
    ----------
    uid
        metadata.uid of the ModelDeployment: it salts the split and seeds the draws, together with the attempt.
    observed
        Revisions, route, routers and the observer's counts.
    stable
        The stable revision, or None before there is one.
    rollout_under_way
        Whether a revision is on trial; an experiment begins only after it.
    analysis
        `spec.rollout.analysis`: the gate that also watches the variants' safety.
    variants
        Revision of each variant; one whose revision can't be made is left out.
    problem
        Why it can't, as reason and message.
    command
        An accepted verb that is for the experiment: abort, or promote with a variant.
    """

    uid: str
    observed: Observed
    stable: str | None
    analysis: Analysis
    rollout_under_way: bool = False
    variants: Mapping[str, str] = field(default_factory=dict)
    problem: tuple[str, str] | None = None
    command: Command | None = None


@dataclass(frozen=True, slots=True)
class ExperimentDecision:
    """The outcome of one pass over the experiment.

    Attributes
    ----------
    status
        The next `status.experiment`; None where there never was one.
    plan
        Shares, copies and pods while it is under way; None lets a rollout begin.
    outcomes
        How variants ended in this pass, for their revisions' own statuses.
    requeue_after_s
        When to look again, or None for no sooner than the resync.
    """

    status: ExperimentStatus | None
    plan: ExperimentPlan | None = None
    notices: tuple[Notice, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    requeue_after_s: float | None = None
