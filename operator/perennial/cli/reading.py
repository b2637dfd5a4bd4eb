"""Read what commands show, and turn it into the API's models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from perennial_api import ModelDeployment, ModelRevision, RetrainingRun
from perennial_api.base import Resource
from perennial_api.labels import LABEL_DEPLOYMENT, LABEL_REVISION
from pydantic import ValidationError

from perennial.cli.errors import CliError
from perennial.cli.views.view import PodLine, View

__all__ = [
    "Getter",
    "Reader",
    "parse_deployment",
    "parse_revisions",
    "read_all",
    "read_deployment",
    "read_document",
    "read_revision",
    "read_revisions",
    "to_view",
]

Json = dict[str, Any]
_ResourceT = TypeVar("_ResourceT", bound=Resource)


class Getter(Protocol):
    """What reading one resource needs of the cluster."""

    def get(self, plural: str, namespace: str, name: str) -> Json | None:
        """Return one of our resources, or None if there is none of that name."""


class Reader(Getter, Protocol):
    """What reading a deployment with all that belongs to it needs of the cluster."""

    def find(self, plural: str, namespace: str | None, deployment: str | None) -> list[Json]:
        """Return all resources of a kind."""

    def list_pods(self, namespace: str, selector: str) -> list[Json] | None:
        """Return pods by their labels, or None where the user may not see them."""


def read_deployment(cluster: Getter, namespace: str, name: str) -> Json:
    """Return a ModelDeployment as stored."""
    deployment = cluster.get("modeldeployments", namespace, name)
    if deployment is None:
        raise CliError(
            f"There is no ModelDeployment {name} in namespace {namespace}. "
            "`kubectl perennial get -A` lists all of them; -n names another namespace."
        )
    return deployment


def read_document(cluster: Reader, namespace: str, name: str) -> Json:
    """Return a ModelDeployment as stored, with its revisions, runs and pods beside it."""
    deployment = read_deployment(cluster, namespace, name)
    return {
        **deployment,
        "revisions": _find_own(cluster, "modelrevisions", deployment),
        "runs": _find_own(cluster, "retrainingruns", deployment),
        "pods": cluster.list_pods(namespace, f"{LABEL_DEPLOYMENT}={name},{LABEL_REVISION}") or [],
    }


def to_view(document: Json) -> View:
    """Return what `status` shows of a document."""
    own = {key: document[key] for key in document.keys() - {"revisions", "runs", "pods"}}
    return View(
        deployment=parse_deployment(own),
        revisions=parse_revisions(document["revisions"]),
        runs=tuple(_parse(RetrainingRun, body) for body in document["runs"]),
        pods=tuple(_pod_line(body) for body in document["pods"]),
    )


def read_all(cluster: Reader, namespace: str | None, name: str | None) -> list[Json]:
    """Return one ModelDeployment, all of a namespace, or all there are (namespace None)."""
    if name is not None and namespace is not None:
        return [read_deployment(cluster, namespace, name)]
    return cluster.find("modeldeployments", namespace, None)


def read_revisions(cluster: Reader, namespace: str, name: str) -> list[Json]:
    """Return the revisions of a deployment as stored, oldest first."""
    found = _find_own(cluster, "modelrevisions", read_deployment(cluster, namespace, name))
    return sorted(
        found, key=lambda body: (body["metadata"].get("creationTimestamp") or "", body["metadata"]["name"])
    )


def _find_own(cluster: Reader, plural: str, deployment: Json) -> list[Json]:
    """Return a deployment's children, without those of a deleted namesake that are still there."""
    metadata = deployment["metadata"]
    found = cluster.find(plural, metadata["namespace"], metadata["name"])
    return [body for body in found if body["spec"].get("deploymentUid") == metadata["uid"]]


def read_revision(cluster: Getter, namespace: str, name: str) -> Json:
    """Return a ModelRevision as stored."""
    revision = cluster.get("modelrevisions", namespace, name)
    if revision is None:
        raise CliError(
            f"There is no ModelRevision {name} in namespace {namespace}. "
            "`kubectl perennial history NAME` lists those of a deployment; "
            "old ones go once there are more than spec.revisionHistoryLimit."
        )
    return revision


def parse_deployment(body: Json) -> ModelDeployment:
    """Return a stored ModelDeployment as a model."""
    return _parse(ModelDeployment, body)


def parse_revisions(bodies: Sequence[Json]) -> tuple[ModelRevision, ...]:
    """Return stored ModelRevisions as models."""
    return tuple(_parse(ModelRevision, body) for body in bodies)


def _parse(model: type[_ResourceT], body: Json) -> _ResourceT:
    try:
        return model.model_validate(body)
    except ValidationError as error:
        metadata = body["metadata"]
        raise CliError(
            f"{metadata.get('namespace')}/{metadata['name']} has fields that this version of kubectl-perennial "
            f"does not know ({error.error_count()} problems). Use the version that is installed in the cluster, "
            "or -o json."
        ) from error


def _pod_line(pod: Json) -> PodLine:
    metadata, status = pod["metadata"], pod.get("status") or {}
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or []}
    containers = status.get("containerStatuses") or []
    waiting = [
        c["state"]["waiting"].get("reason", "") for c in containers if "waiting" in (c.get("state") or {})
    ]
    state = "Terminating" if "deletionTimestamp" in metadata else next(iter(waiting), status.get("phase", ""))
    return PodLine(
        name=metadata["name"],
        revision=(metadata.get("labels") or {}).get(LABEL_REVISION, ""),
        ready=conditions.get("Ready") == "True" and "deletionTimestamp" not in metadata,
        state=state,
        restarts=sum(c.get("restartCount", 0) for c in containers),
    )
