"""Read API objects into the views that decisions use."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from perennial_api.labels import LABEL_REVISION
from perennial_api.modelrevision import ModelRevision
from perennial_api.modelroute import Mirror

from perennial.rollout.failures import ContainerView, PodView, assess_failure
from perennial.rollout.observed import RevisionView, RouteView
from perennial.rollout.runs import JobView

__all__ = ["Json", "count_ready_endpoints", "view_job", "view_pod", "view_revisions", "view_route"]

Json = Mapping[str, Any]

_SERVICE_LABEL = "kubernetes.io/service-name"
_SLICE_MANAGER_LABEL = "endpointslice.kubernetes.io/managed-by"
_SLICE_MANAGER = "endpointslice-controller.k8s.io"
_JOB_LABEL = "batch.kubernetes.io/job-name"
_REASON = re.compile(r"^[A-Z][A-Za-z0-9]{0,127}$")


def view_pod(pod: Json) -> PodView:
    """Reduce a pod to whether and why it isn't ready."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    labels = metadata.get("labels") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or []}
    scheduled = conditions.get("PodScheduled", {})
    return PodView(
        name=metadata["name"],
        revision=labels.get(LABEL_REVISION, ""),
        job=labels.get(_JOB_LABEL, ""),
        ready=conditions.get("Ready", {}).get("status") == "True",
        terminating="deletionTimestamp" in metadata,
        unschedulable_message=scheduled.get("message", "") if scheduled.get("status") == "False" else "",
        created_at=_time(metadata.get("creationTimestamp")),
        containers=tuple(_view_container(c) for c in _container_statuses(status)),
    )


def _container_statuses(status: Json) -> list[Json]:
    """All containers' statuses, first those that run beside: the server waits for a model in an image of its own."""
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _view_container(status: Json) -> ContainerView:
    state, last = status.get("state") or {}, status.get("lastState") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or last.get("terminated") or {}
    return ContainerView(
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        exit_code=ended.get("exitCode"),
        termination_reason=ended.get("reason", ""),
        termination_message=ended.get("message", ""),
        finished_at=_time(ended.get("finishedAt")),
    )


def count_ready_endpoints(slices: Iterable[Json]) -> dict[str, int]:
    """Count ready addresses by Service, from slices that the cluster's own controller made."""
    counts: dict[str, int] = {}
    for found in slices:
        labels = found["metadata"].get("labels") or {}
        if labels.get(_SLICE_MANAGER_LABEL) != _SLICE_MANAGER:
            continue
        ready = sum((e.get("conditions") or {}).get("ready") is True for e in found.get("endpoints") or [])
        service = labels.get(_SERVICE_LABEL, "")
        counts[service] = counts.get(service, 0) + ready
    return counts


def view_revisions(
    revisions: Iterable[ModelRevision],
    running: Iterable[str],
    pods: Iterable[PodView],
    ready: Mapping[str, int],
) -> dict[str, RevisionView]:
    """Put together what is known of each revision; `running` names those with a Deployment or a Service."""
    by_revision: dict[str, list[PodView]] = {}
    for pod in pods:
        by_revision.setdefault(pod.revision, []).append(pod)
    alive = set(running)
    return {
        revision.metadata.name: _view_revision(revision, alive, by_revision, ready) for revision in revisions
    }


def _view_revision(
    revision: ModelRevision, alive: set[str], pods: Mapping[str, list[PodView]], ready: Mapping[str, int]
) -> RevisionView:
    name, spec, status = revision.metadata.name, revision.spec, revision.status
    endpoints = ready.get(name, 0)
    return RevisionView(
        name=name,
        model_uri=spec.model.uri,
        digest=spec.model.digest,
        model_hash=spec.model_hash,
        inputs_hash=spec.inputs_hash,
        port=spec.runtime.port,
        origin=spec.origin,
        retraining_run=spec.retraining_run,
        role=status.role,
        created_at=revision.metadata.creation_timestamp,
        stable_at=status.stable_time,
        ready_endpoints=endpoints,
        running=name in alive,
        failure=assess_failure(pods.get(name, [])),
        consumed_model_hash=status.consumed_model_hash,
        consumed_inputs_hash=status.consumed_inputs_hash,
        secret=spec.model.secret_ref.name if spec.model.secret_ref else None,
    )


def view_route(route: Json | None) -> RouteView | None:
    """Reduce a stored ModelRoute to generation, weights, mirror and preview."""
    if route is None:
        return None
    metadata, spec = route["metadata"], route["spec"]
    mirror = spec.get("mirror")
    return RouteView(
        metadata["uid"],
        metadata["generation"],
        {r["name"]: r["weightPercent"] for r in spec["revisions"]},
        Mirror.model_validate(mirror) if mirror else None,
        spec.get("preview"),
    )


def view_job(job: Json, pods: Iterable[PodView]) -> JobView:
    """Reduce a Job to how it ended and what its latest pod said."""
    name = job["metadata"]["name"]
    conditions = {
        c["type"]: c for c in (job.get("status") or {}).get("conditions") or [] if c["status"] == "True"
    }
    failed = conditions.get("Failed")
    ended = conditions.get("Complete") or failed or {}
    reason = ended.get("reason", "")
    return JobView(
        name=name,
        succeeded="Complete" in conditions,
        failed=failed is not None,
        termination_message=_latest_message(pod for pod in pods if pod.job == name),
        reason=reason if _REASON.match(reason) else "",
        message=ended.get("message", ""),
        finished_at=_time(ended.get("lastTransitionTime")),
    )


def _latest_message(pods: Iterable[PodView]) -> str:
    ended = [
        (str(container.finished_at or ""), container.termination_message)
        for pod in pods
        for container in pod.containers
        if container.termination_message
    ]
    return max(ended, default=("", ""))[1]


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
