"""ModelRevisions: made once, never changed."""

from dataclasses import dataclass

from perennial_api.labels import API_VERSION, LABEL_REVISION
from perennial_api.modeldeployment.resource import ModelDeploymentSpec
from perennial_api.modelrevision import (
    ModelRevision,
    ModelRevisionSpec,
    Origin,
    RevisionModel,
    RevisionRuntime,
)
from perennial_api.modelrevision import RuntimeKind as Kind
from perennial_api.modelruntime import ModelRuntimeSpec
from perennial_api.pods import LocalObjectReference

from perennial.manifests.context import Installation, Manifest, Owner, build_metadata
from perennial.manifests.names import revision_name
from perennial.manifests.pod_template import Subject, build_pod_template
from perennial.rollout.lineage import Wanted

__all__ = ["ResolvedRuntime", "build_revision", "name_revision"]

SHORT_DIGITS = 12


@dataclass(frozen=True, slots=True)
class ResolvedRuntime:
    """A runtime as it was found: of the namespace, or else of the cluster."""

    kind: Kind
    name: str
    spec: ModelRuntimeSpec


def name_revision(deployment: str, wanted: Wanted, runtime: ResolvedRuntime) -> str:
    """Return the name that the answer to a wish has with a runtime as it is now."""
    parts = [wanted.model_hash, wanted.inputs_hash, runtime.kind.value, runtime.spec.to_api()]
    # A variant may have the very model of another revision and is yet a pod set of its own.
    variant = [wanted.variant] if wanted.variant is not None else []
    return revision_name(deployment, *parts, *variant)


def build_revision(
    owner: Owner,
    spec: ModelDeploymentSpec,
    wanted: Wanted,
    runtime: ResolvedRuntime,
    installation: Installation,
    *,
    parent: str | None,
) -> Manifest:
    """Build the revision that answers a wish, with everything that runs frozen into it."""
    name = name_revision(owner.deployment, wanted, runtime)
    subject = Subject(owner.namespace, owner.deployment, name)
    revision = ModelRevisionSpec(
        deployment=owner.deployment,
        deployment_uid=owner.uid,
        model=RevisionModel(
            uri=wanted.model_uri,
            digest=wanted.digest,
            short_digest=wanted.digest.removeprefix("sha256:")[:SHORT_DIGITS],
            secret_ref=LocalObjectReference(name=wanted.secret) if wanted.secret else None,
        ),
        runtime=RevisionRuntime(
            kind=runtime.kind,
            name=runtime.name,
            image=runtime.spec.image,
            port=runtime.spec.port,
            grpc_port=runtime.spec.grpc_port,
        ),
        pod_template=build_pod_template(subject, spec, wanted, runtime.spec, installation),
        origin=wanted.origin,
        parent=parent,
        retraining_run=wanted.retraining_run if wanted.origin is Origin.RETRAINING else None,
        variant=wanted.variant if wanted.origin is Origin.EXPERIMENT else None,
        model_hash=wanted.model_hash,
        inputs_hash=wanted.inputs_hash,
    )
    return {
        "apiVersion": API_VERSION,
        "kind": ModelRevision.__name__,
        "metadata": build_metadata(owner, name, {LABEL_REVISION: name}),
        "spec": revision.to_api(),
    }
