"""What `machine.step` returns: the next status, what must run and be routed, and what to tell."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from perennial_api.modeldeployment.gate_status import Evidence
from perennial_api.modeldeployment.status import RolloutStatus
from perennial_api.modelrevision import RevisionRole

__all__ = ["Decision", "EventReason", "Notice", "Outcome", "StepState"]


class StepState(StrEnum):
    """What a rollout's step is waiting for; stands in `status.rollout.stepState`."""

    WAITING_FOR_PODS = "WaitingForPods"  # no ready endpoint of the new revision
    ANALYZING = "Analyzing"  # the gate must succeed before the last weight
    INCONCLUSIVE = "Inconclusive"  # too little traffic to judge; goes on when it comes
    SHIFTING = "Shifting"  # the routers have to apply the step's weight
    PAUSING = "Pausing"  # the step's pause runs
    COMPLETED = "Completed"  # nothing is on trial
    ROLLED_BACK = "RolledBack"  # the revision failed and is not tried again


class EventReason(StrEnum):
    """Reasons of the events that the operator posts on a ModelDeployment."""

    REVISION_CREATED = "RevisionCreated"
    ROLLOUT_STARTED = "RolloutStarted"
    WEIGHT_CHANGED = "WeightChanged"
    ROLLOUT_PAUSED = "RolloutPaused"
    ROLLOUT_RESUMED = "RolloutResumed"
    ROLLOUT_SUPERSEDED = "RolloutSuperseded"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    SCALED_DOWN = "ScaledDown"
    ALARM_RAISED = "AlarmRaised"
    ALARM_CLEARED = "AlarmCleared"
    RETRAINING_STARTED = "RetrainingStarted"
    CANDIDATE_ACCEPTED = "CandidateAccepted"
    CANDIDATE_REFUSED = "CandidateRefused"
    RETRAINING_FAILED = "RetrainingFailed"
    NAME_TAKEN = "NameTaken"
    INVALID_SPEC = "InvalidSpec"


@dataclass(frozen=True, slots=True)
class Notice:
    """One transition worth an event."""

    reason: EventReason
    message: str
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one revision's rollout ended in this pass, for the revision's own status."""

    revision: str
    reason: str
    message: str
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of one pass over the rollout.

    Attributes
    ----------
    rollout
        The next `status.rollout`.
    weights
        Share of each routed revision in percent, sum 100; empty while nothing can be routed.
    keep
        Revisions whose Deployment and Service must exist; those of all others may go.
    roles
        Role of every revision.
    outcome
        Set in the pass in which a rollout ends.
    requeue_after_s
        When to look again, or None for no sooner than the resync.
    """

    rollout: RolloutStatus
    weights: Mapping[str, int]
    keep: frozenset[str]
    roles: Mapping[str, RevisionRole]
    notices: tuple[Notice, ...] = ()
    outcome: Outcome | None = None
    requeue_after_s: float | None = None
