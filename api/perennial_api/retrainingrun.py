"""RetrainingRun: one attempt at a better model."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from perennial_api.base import Model, Resource, Rule, StatusModel
from perennial_api.labels import API_VERSION
from perennial_api.monitorreport import BreachId
from perennial_api.types import Digest, Float, Int, Message, Name, PerennialUri, Reason, Time

__all__ = [
    "Breach",
    "RetrainingPhase",
    "RetrainingResult",
    "RetrainingRun",
    "RetrainingRunSpec",
    "RetrainingRunStatus",
    "Verdict",
]

Count = Annotated[Int, Field(ge=0)]


class Breach(Model):
    """The alarm that started the run."""

    monitor: Name
    """Name of the monitor."""
    breach_id: BreachId
    """Name of the alarm; it starts one run only."""


class RetrainingRunSpec(Model):
    """What the run is about; never changes."""

    rules = (
        Rule(
            cel="self == oldSelf", message="a RetrainingRun never changes: let a new one be made", holds=None
        ),
    )

    deployment: Name
    """Name of the ModelDeployment."""
    deployment_uid: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """metadata.uid of the ModelDeployment."""
    trigger: Breach
    """The alarm that started the run."""
    champion_revision: Name
    """Revision that the candidate must not be worse than."""
    champion_uri: PerennialUri
    """Bundle of that revision."""
    trainer: Name
    """Name of the runtime of role Trainer."""
    labels_at_start: Count = 0
    """Labels recorded when the run was made, in rows."""


class Verdict(StrEnum):
    """How the candidate did."""

    ACCEPTED = "Accepted"
    REFUSED = "Refused"


class RetrainingResult(StatusModel):
    """What the trainer reported; its own JSON with snake_case keys is read too."""

    verdict: Verdict
    """Accepted or Refused."""
    reason: Reason
    """Why, in one CamelCase word."""
    message: Message = ""
    """Why, in a sentence."""
    candidate_uri: PerennialUri | None = None
    """Bundle of the candidate."""
    metric: Annotated[str, StringConstraints(max_length=63)] | None = None
    """Metric of the comparison, in scikit-learn's spelling."""
    champion_score: Float | None = None
    """The champion's value on the test rows, in the metric's unit."""
    challenger_score: Float | None = None
    """The candidate's value on the test rows, in the metric's unit."""
    difference_lower: Float | None = None
    """Lower confidence bound of how much better the candidate is, in the metric's unit."""
    train_rows: Count | None = None
    """Rows trained on."""
    test_rows: Count | None = None
    """Rows tested on."""
    effective_samples: Annotated[Float, Field(ge=0)] | None = None
    """Effective number of training rows under the weights."""
    train_from: Time | None = None
    """Event time of the first training row."""
    train_to: Time | None = None
    """Event time of the last training row."""
    test_from: Time | None = None
    """Event time of the first test row."""
    test_to: Time | None = None
    """Event time of the last test row."""
    data_digest: Digest | None = None
    """Digest of the rows used."""


class RetrainingPhase(StrEnum):
    """How far the run is."""

    PENDING = "Pending"
    RUNNING = "Running"
    ACCEPTED = "Accepted"
    REFUSED = "Refused"
    FAILED = "Failed"

    @property
    def is_final(self) -> bool:
        """Whether nothing will change any more."""
        return self in {RetrainingPhase.ACCEPTED, RetrainingPhase.REFUSED, RetrainingPhase.FAILED}


class RetrainingRunStatus(StatusModel):
    """How far the run is and what came of it."""

    phase: RetrainingPhase = RetrainingPhase.PENDING
    """Pending, Running, Accepted (the candidate became a revision), Refused (it was worse or couldn't be judged) or
    Failed (the trainer broke)."""
    reason: Reason = ""
    """Why, in one CamelCase word."""
    message: Message = ""
    """Why, in a sentence."""
    result: RetrainingResult | None = None
    """What the trainer reported."""
    candidate_revision: Name | None = None
    """Revision made of an accepted candidate."""
    start_time: Time | None = None
    """When the Job was made."""
    completion_time: Time | None = None
    """When the run ended."""


class RetrainingRun(Resource):
    """One attempt at a better model. Written by the operator; named by a hash of its alarm, which can start one only."""

    api_version: Literal["perennial.dev/v1alpha1"] = API_VERSION
    kind: Literal["RetrainingRun"] = "RetrainingRun"
    spec: RetrainingRunSpec
    """What the run is about."""
    status: RetrainingRunStatus = RetrainingRunStatus()
    """How far it is."""
