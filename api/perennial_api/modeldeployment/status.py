"""`status` of a ModelDeployment: what is, and all that the operator must remember."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from perennial_api.base import StatusModel
from perennial_api.conditions import Conditions
from perennial_api.modeldeployment.command_status import LastCommand
from perennial_api.modeldeployment.experiment_status import ExperimentStatus
from perennial_api.modeldeployment.gate_status import Count, EvidenceList, Gate
from perennial_api.modeldeployment.model import ModelUri
from perennial_api.modeldeployment.scaling_status import ScalingStatus
from perennial_api.modeldeployment.warmup_status import WarmUp
from perennial_api.monitorreport import BreachId, MonitorVerdicts
from perennial_api.retrainingrun import RetrainingPhase
from perennial_api.types import Bool, Digest, Int, KeyedBy, Message, Name, Percent, Reason, Time, Unique

__all__ = [
    "Draining",
    "LastFailure",
    "ModelDeploymentStatus",
    "ModelStatus",
    "RetrainingStatus",
    "RolloutPhase",
    "RolloutStatus",
    "RunSummary",
    "TransitionStatus",
    "WeightRole",
    "WeightStatus",
]


class TransitionStatus(StrEnum):
    """Whether what serves is what was asked for."""

    UP_TO_DATE = "UpToDate"
    IN_PROGRESS = "InProgress"
    BLOCKED_BY_FAILED_LOAD = "BlockedByFailedLoad"
    ROLLED_BACK = "RolledBack"
    INVALID_SPEC = "InvalidSpec"


class LastFailure(StatusModel):
    """The latest failure of a model server."""

    reason: Reason
    """Why, in one CamelCase word, such as DigestMismatch."""
    message: Message = ""
    """Why, in a sentence."""
    exit_code: Int | None = None
    """Exit status of the server's process."""
    revision: Name | None = None
    """Revision that failed."""
    time: Time | None = None
    """When it failed."""


class ModelStatus(StatusModel):
    """The model that serves."""

    transition_status: TransitionStatus
    """UpToDate, InProgress, BlockedByFailedLoad (its server does not start), RolledBack (the gate failed it or somebody
    aborted it) or InvalidSpec."""
    uri: ModelUri | None = None
    """Bundle of the stable revision."""
    digest: Digest | None = None
    """Digest of that bundle."""
    last_failure_info: LastFailure | None = None
    """The latest failure of a model server."""


class WeightRole(StrEnum):
    """Which arm of a rollout a revision is."""

    STABLE = "Stable"
    CANARY = "Canary"
    VARIANT = "Variant"


class WeightStatus(StatusModel):
    """The share of one revision."""

    revision: Name
    """Name of the revision."""
    weight_percent: Percent
    """Its share of the requests that every router has applied, in percent."""
    role: WeightRole
    """Stable, Canary or Variant."""


class Draining(StatusModel):
    """A revision that serves no more and is about to be scaled down."""

    revision: Name
    """Name of the revision."""
    zero_applied_at: Time | None = None
    """When every router had applied its weight of 0; its last requests and the scale-down delay run from here."""


class RolloutPhase(StrEnum):
    """How a rollout stands."""

    HEALTHY = "Healthy"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    DEGRADED = "Degraded"


class RolloutStatus(StatusModel):
    """How the rollout stands."""

    phase: RolloutPhase
    """Healthy (nothing to do), Progressing, Paused or Degraded (rolled back, or cannot go on)."""
    message: Message = ""
    """Why, in a sentence."""
    stable: Name | None = None
    """The stable revision."""
    canary: Name | None = None
    """The revision on trial."""
    attempt: Count = 0
    """Number of the rollout, counted over the deployment's life."""
    step_index: Count = 0
    """Step that the rollout is at, counted from 0."""
    step_state: Annotated[str, StringConstraints(max_length=63)] = ""
    """What the step is waiting for, in one CamelCase word."""
    steps_hash: Annotated[str, StringConstraints(max_length=64)] = ""
    """Hash of the steps up to this one. Where the spec's differ, they were edited meanwhile and are entered at the weight
    reached."""
    step_started_at: Time | None = None
    """When the step began."""
    step_applied_at: Time | None = None
    """When every router had applied the step's weights."""
    started_at: Time | None = None
    """When the rollout began."""
    progressed_at: Time | None = None
    """When the rollout last progressed; progressDeadline counts from here."""
    route_generation: Count = 0
    """metadata.generation of the ModelRoute that every router must have applied."""
    weights: Annotated[tuple[WeightStatus, ...], Field(max_length=20), KeyedBy("revision")] = ()
    """Share of each revision."""
    canary_weight_percent: Percent | None = None
    """Share of the revision on trial, in percent."""
    draining: Annotated[tuple[Draining, ...], Field(max_length=18), KeyedBy("revision")] = ()
    """Revisions that are being scaled down."""
    failed_revision: Name | None = None
    """Revision rolled back or aborted last; it isn't tried again until the spec changes or somebody says retry."""
    held: Bool = False
    """True after the verb pause, until resume: no step is taken. A failing gate still rolls back."""
    promoted_fully: Bool = False
    """True after the verb promote with full: no further step and no gate holds the rollout up."""
    pinned: Name | None = None
    """Revision that the verb undo asked for; it holds until spec.model changes."""
    preview: Name | None = None
    """Revision that stands at the preview address."""
    warm_up: WarmUp | None = None
    """What the revision on trial answered before it got any traffic."""
    gate: Gate | None = None
    """State of the statistical gate."""
    evidence: EvidenceList = ()
    """What the gate saw when it decided, the latest last, at most 20."""


class RunSummary(StatusModel):
    """The latest RetrainingRun in short."""

    name: Name
    """Name of the RetrainingRun."""
    phase: RetrainingPhase
    """Its phase."""
    reason: Reason = ""
    """Why, in one CamelCase word."""
    message: Message = ""
    """Why, in a sentence."""
    breach_id: BreachId | None = None
    """The alarm that started it."""
    start_time: Time | None = None
    """When it started."""
    completion_time: Time | None = None
    """When it ended."""


class RetrainingStatus(StatusModel):
    """What the operator remembers of the runs, so that no alarm starts two."""

    last_run: RunSummary | None = None
    """The latest run."""
    recent_starts: Annotated[tuple[Time, ...], Field(max_length=1000)] = ()
    """When the runs of the last seven days started, for limits.perWeek."""
    next_allowed_at: Time | None = None
    """When the cooldown ends."""
    unsuccessful: Count = 0
    """Runs in a row that brought no new model; the cooldown grows with it."""
    labels_at_last_run: Count = 0
    """Labels recorded when the latest run started, for limits.minNewLabels."""
    consumed_breaches: Annotated[tuple[BreachId, ...], Field(max_length=100), Unique()] = ()
    """The latest alarms that have had their run, at most 100."""


class ModelDeploymentStatus(StatusModel):
    """What is, and all that the operator must remember."""

    observed_generation: Count = 0
    """The metadata.generation that this status is about."""
    conditions: Conditions = ()
    """Ready, Progressing, CanaryReady, RouteReady, Monitored, DriftDetected and others."""
    url: Annotated[str, StringConstraints(max_length=1024)] | None = None
    """Where clients in the cluster send requests."""
    model_status: ModelStatus | None = None
    """The model that serves."""
    rollout: RolloutStatus | None = None
    """How the rollout stands."""
    monitors: MonitorVerdicts = ()
    """Verdicts copied from the MonitorReport when one changes."""
    monitors_summary: Annotated[str, StringConstraints(max_length=256)] | None = None
    """The monitors in one word: the worst state, and the monitors in alarm."""
    retraining: RetrainingStatus | None = None
    """What the operator remembers of the runs."""
    experiment: ExperimentStatus | None = None
    """How the experiment stands, or ended."""
    scaling: ScalingStatus | None = None
    """What the operator remembers of the load, where it scales by Concurrency or Rps."""
    last_command: LastCommand | None = None
    """The latest verb, and what became of it."""
    consumed_model_hash: Annotated[str, StringConstraints(max_length=64)] | None = None
    """Hash of the spec.model that the stable revision was made under; a differing spec.model makes a new revision."""
