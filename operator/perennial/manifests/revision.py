"""ModelRevisions: made once, never changed."""

from dataclasses import dataclass

from perennial_api.gateway_log import LoggedBy, RevisionLog
from perennial_api.labels import API_VERSION, LABEL_REVISION
from perennial_api.modeldeployment.logger import Logger, LoggerMode
from perennial_api.modeldeployment.model import RUNTIME_SCHEME
from perennial_api.modeldeployment.resource import ModelDeploymentSpec
from perennial_api.modeldeployment.server import OutlierScores
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
    runtime: ResolvedRuntime | InvalidSpecError, model_uri: str, logger: Logger, scores: OutlierScores | None
) -> ResolvedRuntime | InvalidSpecError:
    """Return the runtime if it can serve the model, log and score it as asked, or what is wrong with it."""
    if isinstance(runtime, InvalidSpecError):
        return runtime
    if runtime.spec.logged_by is LoggedBy.GATEWAY:
        missing = _miss_server(runtime, logger, scores)
        if missing is not None:
            return missing
    is_in_image, is_image = model_uri.startswith(RUNTIME_SCHEME), runtime.spec.formats[0].is_image
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


def _miss_server(
    runtime: ResolvedRuntime, logger: Logger, scores: OutlierScores | None
) -> InvalidSpecError | None:
    """Return what is asked for that only a server of Perennial's does; somebody else's would ignore it silently."""
    if logger.sink is not None:
        text = (
            f"The gateway logs what {runtime.kind} {runtime.name} answers, and sends it to the observer only: remove "
            "logger.sink, or name a runtime whose server keeps the log in server.runtime."
        )
        return InvalidSpecError("SinkNeedsServer", text)
    if scores is not None:
        text = (
            f"The gateway logs what {runtime.kind} {runtime.name} answers, and nobody adds scores to it: remove "
            "server.outlierScores and let an Outlier monitor score the log, or name a runtime whose server keeps the "
            "log in server.runtime."
        )
        return InvalidSpecError("ScoresNeedServer", text)
    return None


def _choose_log(runtime: ModelRuntimeSpec, logger: Logger) -> RevisionLog | None:
    """Return what the gateway is to record; nothing where the server does, or nobody."""
    if runtime.logged_by is LoggedBy.SERVER or logger.mode is LoggerMode.NONE:
        return None
    return RevisionLog(mode=logger.mode, percent=logger.percent, exclude=logger.exclude)


def name_revision(deployment: str, wanted: Wanted, runtime: ResolvedRuntime) -> str:
    """Return the name that the answer to a wish has with a runtime as it is now."""
    parts = [wanted.model_hash, wanted.inputs_hash, runtime.kind.value, _describe(runtime.spec)]
    if runtime.adapter is not None:
        parts.append(_describe(runtime.adapter))
    # A variant may have the very model of another revision and is yet a pod set of its own.
    variant = [wanted.variant] if wanted.variant is not None else []
    return revision_name(deployment, *parts, *variant)


def _describe(runtime: ModelRuntimeSpec) -> Manifest:
    """Write a runtime as it enters a name: without the defaults of fields that are younger than other names."""
    described = runtime.to_api()
    if runtime.logged_by is LoggedBy.SERVER:
        del described["loggedBy"]
    return described


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
            log=_choose_log(runtime.spec, spec.logger),
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
