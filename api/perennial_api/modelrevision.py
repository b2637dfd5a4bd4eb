"""ModelRevision: one frozen version of a deployment's model server."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from perennial_api.base import Model, Resource, Rule, StatusModel
from perennial_api.gateway_log import RevisionLog
from perennial_api.labels import API_VERSION
from perennial_api.modeldeployment.gate_status import Evidence, EvidenceList
from perennial_api.modeldeployment.model import ModelUri
from perennial_api.pods import LocalObjectReference
from perennial_api.types import Digest, ImageReference, Int, Message, Name, Reason, Time

__all__ = [
    "Evidence",
    "ModelRevision",
    "ModelRevisionSpec",
    "ModelRevisionStatus",
    "Origin",
    "RevisionModel",
    "RevisionRole",
    "RevisionRuntime",
]


class RevisionModel(Model):
    """The bundle, with its digest."""

    rules = (
        Rule(
            cel="self.digest.startsWith('sha256:' + self.shortDigest)",
            message="shortDigest must be the first hex digits of digest",
            holds=lambda self: self.digest.startswith(f"sha256:{self.short_digest}"),
        ),
    )

    uri: ModelUri
    """Where the bundle is."""
    digest: Digest
    """Digest of the bundle, sha256:<64 hex digits>."""
    short_digest: Annotated[str, StringConstraints(min_length=12, max_length=12, pattern=r"^[0-9a-f]{12}$")]
    """First 12 hex digits of the digest, for people."""
    secret_ref: LocalObjectReference | None = None
    """Secret with the credentials of the bundle's store."""


class RuntimeKind(StrEnum):
    """Where the runtime was found."""

    MODEL_RUNTIME = "ModelRuntime"
    CLUSTER_MODEL_RUNTIME = "ClusterModelRuntime"


class RevisionRuntime(Model):
    """The runtime as it was when the revision was made; later edits of it change no revision."""

    kind: RuntimeKind
    """ModelRuntime or ClusterModelRuntime."""
    name: Name
    """Its name."""
    image: ImageReference
    """Its image."""
    port: Annotated[Int, Field(ge=1, le=65535)]
    """Port that the server listens on."""
    grpc_port: Annotated[Int, Field(ge=1, le=65535)] | None = None
    """Port on which it answers gRPC; left out, it answers none."""
    log: RevisionLog | None = None
    """What the gateway records of its answers; left out, nothing: the server keeps the log, or nobody does."""


class Origin(StrEnum):
    """Where a revision comes from."""

    SPEC = "Spec"
    RETRAINING = "Retraining"
    EXPERIMENT = "Experiment"


class ModelRevisionSpec(Model):
    """Everything that runs; never changes."""

    rules = (
        Rule(
            cel="self == oldSelf",
            message="a ModelRevision never changes: edit the ModelDeployment",
            holds=None,
        ),
        Rule(
            cel="(self.origin == 'Retraining') == has(self.retrainingRun)",
            message="retrainingRun belongs to origin Retraining, and only to it",
            holds=lambda self: (self.origin is Origin.RETRAINING) == (self.retraining_run is not None),
        ),
        Rule(
            cel="(self.origin == 'Experiment') == has(self.variant)",
            message="variant belongs to origin Experiment, and only to it",
            holds=lambda self: (self.origin is Origin.EXPERIMENT) == (self.variant is not None),
        ),
    )

    deployment: Name
    """Name of the ModelDeployment."""
    deployment_uid: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """metadata.uid of the ModelDeployment."""
    model: RevisionModel
    """The bundle."""
    runtime: RevisionRuntime
    """The runtime as it was when the revision was made."""
    pod_template: Annotated[
        dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
    ]
    """Pod template of the revision's Deployment, as in apps/v1."""
    origin: Origin
    """Spec (somebody edited the ModelDeployment), Retraining or Experiment."""
    parent: Name | None = None
    """Revision that was stable when this one was made."""
    retraining_run: Name | None = None
    """RetrainingRun whose candidate this is."""
    variant: Name | None = None
    """Variant of the experiment that this serves."""
    model_hash: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[0-9a-f]+$")]
    """Hash of the spec.model that was in force when this revision was made."""
    inputs_hash: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[0-9a-f]+$")]
    """Hash of the user's wishes that this revision answers (model, server, logger; not the runtime's content): a
    deployment that wishes the same needs no new revision."""


class RevisionRole(StrEnum):
    """What a revision is at present."""

    CANDIDATE = "Candidate"
    CANARY = "Canary"
    VARIANT = "Variant"
    STABLE = "Stable"
    RETIRED = "Retired"
    FAILED = "Failed"


class ModelRevisionStatus(StatusModel):
    """What became of the revision."""

    role: RevisionRole = RevisionRole.CANDIDATE
    """Candidate (not yet serving), Canary (on trial), Variant (of an experiment), Stable, Retired (was replaced) or Failed (was rolled back)."""
    reason: Reason = ""
    """Why, in one CamelCase word."""
    message: Message = ""
    """Why, in a sentence."""
    evidence: EvidenceList = ()
    """What the gate saw when it decided."""
    attempt: Annotated[Int, Field(ge=0)] = 0
    """How many rollouts it has had."""
    canary_time: Time | None = None
    """When its rollout began."""
    stable_time: Time | None = None
    """When it became stable."""
    consumed_model_hash: Annotated[str, StringConstraints(max_length=64)] | None = None
    """Hash of the spec.model in force when it was last chosen otherwise than by that: by the verb undo, or as the winner
    of an experiment."""
    consumed_inputs_hash: Annotated[str, StringConstraints(max_length=64)] | None = None
    """Hash of the user's wishes then, with this revision's model in the place of spec.model."""
    retired_time: Time | None = None
    """When it was replaced or rolled back."""


class ModelRevision(Resource):
    """One frozen version of a ModelDeployment's server. Written by the operator; the list of them is the history."""

    api_version: Literal["perennial.dev/v1alpha1"] = API_VERSION
    kind: Literal["ModelRevision"] = "ModelRevision"
    spec: ModelRevisionSpec
    """Everything that runs; never changes."""
    status: ModelRevisionStatus = ModelRevisionStatus()
    """What became of it."""
