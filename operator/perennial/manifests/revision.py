"""ModelRevisions: made once, never changed."""

from dataclasses import dataclass

from perennial_api.labels import API_VERSION, LABEL_REVISION
from perennial_api.modeldeployment.model import RUNTIME_SCHEME
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

from perennial.errors import InvalidSpecError
from perennial.manifests.context import Installation, Manifest, Owner, build_metadata
from perennial.manifests.names import revision_name
from perennial.manifests.pod_template import Subject, build_pod_template
from perennial.rollout.lineage import Wanted

__all__ = ["ResolvedRuntime", "build_revision", "fit_runtime", "name_revision"]

SHORT_DIGITS = 12


@dataclass(frozen=True, slots=True)
class ResolvedRuntime:
    """A runtime as it was found: of the namespace, or else of the cluster.

    Attributes
    ----------
    adapter
        Where the model is in its image: the runtime of the server that stands before it.
    """

    kind: Kind
    name: str
    spec: ModelRuntimeSpec
    adapter: ModelRuntimeSpec | None = None


def fit_runtime(
    runtime: ResolvedRuntime | InvalidSpecError, model_uri: str
) -> ResolvedRuntime | InvalidSpecError:
    """Return the runtime if it can serve the model, or what is wrong with it."""
    if isinstance(runtime, InvalidSpecError):
        return runtime
    is_in_image, is_image = model_uri.startswith(RUNTIME_SCHEME), runtime.spec.adapter is not None
    if is_in_image == is_image:
        return runtime
    formats = ", ".join(runtime.spec.formats)
    if is_image:
        text = (
            f"The model is in the image of {runtime.kind} {runtime.name}, whose formats are {formats}: set model.uri to "
            "runtime://<label>, such as its version, or name a runtime that serves bundles in server.runtime."
        )
    else:
        text = (
            f"{runtime.kind} {runtime.name} serves bundles of {formats}, and {model_uri} names none: name a runtime of "
            "format bento or container in server.runtime, or a bundle in model.uri."
        )
    return InvalidSpecError("RuntimeOfOtherFormat", text)


def name_revision(deployment: str, wanted: Wanted, runtime: ResolvedRuntime) -> str:
    """Return the name that the answer to a wish has with a runtime as it is now."""
    parts = [wanted.model_hash, wanted.inputs_hash, runtime.kind.value, runtime.spec.to_api()]
    if runtime.adapter is not None:
        parts.append(runtime.adapter.to_api())
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
        pod_template=build_pod_template(
            subject, spec, wanted, runtime.spec, installation, adapter=runtime.adapter
        ),
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
