"""What `machine.step` returns: the next status, what must run and be routed, and what to tell."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from perennial_api.modeldeployment.gate_status import Evidence
from perennial_api.modeldeployment.status import RolloutStatus
from perennial_api.modelrevision import RevisionRole
from perennial_api.modelroute import Mirror, Sticky

__all__ = ["Decision", "EventReason", "ExperimentPlan", "Notice", "Outcome", "StepState"]


class StepState(StrEnum):
    """What a rollout's step is waiting for; stands in `status.rollout.stepState`."""

    WAITING_FOR_EXPERIMENT = "WaitingForExperiment"  # a rollout begins once the experiment has ended
    WAITING_FOR_PODS = "WaitingForPods"  # too few ready endpoints of the new revision
    WARMING_UP = "WarmingUp"  # its latency is being measured before it gets any request
    PREVIEWING = "Previewing"  # it stands at the preview address
    MIRRORING = "Mirroring"  # it gets copies of requests
    WAITING_FOR_CAPACITY = "WaitingForCapacity"  # too few ready endpoints for the next weight
    ANALYZING = "Analyzing"  # the gate must succeed before the last weight
    INCONCLUSIVE = "Inconclusive"  # too little traffic to judge; goes on when it comes
    SHIFTING = "Shifting"  # the routers have to apply the step's weight
    PAUSING = "Pausing"  # the step's pause runs
    AWAITING_PROMOTION = "AwaitingPromotion"  # the step's pause has no end but the verb promote
    COMPLETED = "Completed"  # nothing is on trial
    ROLLED_BACK = "RolledBack"  # the revision failed and is not tried again


class EventReason(StrEnum):
    """Reasons of the events that the operator posts on a ModelDeployment."""

    REVISION_CREATED = "RevisionCreated"
    ROLLOUT_STARTED = "RolloutStarted"
    WARM_UP_MEASURED = "WarmUpMeasured"
    WEIGHT_CHANGED = "WeightChanged"
    STEP_ENTERED = "StepEntered"
    ROLLOUT_PAUSED = "RolloutPaused"
    ROLLOUT_RESUMED = "RolloutResumed"
    ROLLOUT_SUPERSEDED = "RolloutSuperseded"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    SCALED_DOWN = "ScaledDown"
    COMMAND_ACCEPTED = "CommandAccepted"
    COMMAND_REFUSED = "CommandRefused"
    EXPERIMENT_STARTED = "ExperimentStarted"
    EXPERIMENT_ENDED = "ExperimentEnded"
    VARIANT_NOT_READY = "VariantNotReady"
    VARIANT_UNSAFE = "VariantUnsafe"
    ALARM_RAISED = "AlarmRaised"
    ALARM_CLEARED = "AlarmCleared"
    MONITOR_FAILED = "MonitorFailed"
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
class ExperimentPlan:
    """What a running experiment asks of the route and the pods; a rollout doesn't start while there is one.

    Attributes
    ----------
    weights
        Share of every arm in percent, the stable revision among them, sum 100. Where `sticky` is set the order is the
        route's: the arm whose weight grows comes first and the order never changes.
    mirror, sticky
        For the route as they are.
    keep
        Variants whose Deployment and Service must exist, also those that have no share yet.
    roles
        Role of every variant.
    """

    weights: Mapping[str, int]
    mirror: Mirror | None = None
    sticky: Sticky | None = None
    keep: frozenset[str] = frozenset()
    roles: Mapping[str, RevisionRole] = field(default_factory=dict)


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
    mirror, preview, sticky
        What the route has beside the weights.
    warm_up
        Revision whose latency is to be measured through its own endpoints; the result comes as `Observed.warm_up`.
    """

    rollout: RolloutStatus
    weights: Mapping[str, int]
    keep: frozenset[str]
    roles: Mapping[str, RevisionRole]
    notices: tuple[Notice, ...] = ()
    outcome: Outcome | None = None
    requeue_after_s: float | None = None
    mirror: Mirror | None = None
    preview: str | None = None
    sticky: Sticky | None = None
    warm_up: str | None = None
