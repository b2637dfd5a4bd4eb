"""Why a revision's pods don't start, in the server's own words where it left any."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from perennial.rollout.observed import Failure

__all__ = ["ContainerView", "PodView", "assess_failure", "read_termination"]

LONGEST_MESSAGE = 1024
_REASON = re.compile(r"^[A-Z][A-Za-z0-9]{0,127}$")

# The kubelet's waiting reasons that mean the image, by the reason that users are told.
_IMAGE_REASONS = {
    "ErrImagePull": "ImagePullFailed",
    "ImagePullBackOff": "ImagePullFailed",
    "InvalidImageName": "ImagePullFailed",
    "ErrImageNeverPull": "ImagePullFailed",
    "CreateContainerConfigError": "ContainerConfigInvalid",
    "CreateContainerError": "ContainerConfigInvalid",
    "RunContainerError": "ContainerConfigInvalid",
}


@dataclass(frozen=True, slots=True)
class ContainerView:
    """One container's state: why it waits, and how it last ended."""

    waiting_reason: str = ""
    waiting_message: str = ""
    exit_code: int | None = None
    termination_reason: str = ""
    termination_message: str = ""
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PodView:
    """One pod, reduced to what tells whether and why it isn't ready."""

    name: str
    revision: str = ""
    job: str = ""
    ready: bool = False
    terminating: bool = False
    unschedulable_message: str = ""
    created_at: datetime | None = None
    containers: tuple[ContainerView, ...] = ()


def read_termination(text: str) -> tuple[str, str] | None:
    """Read ``{"reason": …, "message": …}`` from a termination message, or None if it is something else.

    Only a CamelCase reason is taken: it becomes a condition's reason, which the API server checks.
    """
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    reason, message = found.get("reason"), found.get("message", "")
    if not isinstance(reason, str) or not _REASON.match(reason) or not isinstance(message, str):
        return None
    return reason, message[:LONGEST_MESSAGE]


def assess_failure(pods: Iterable[PodView]) -> Failure | None:
    """Return why a revision's pods aren't ready, from the newest pod that says so; None where nothing is wrong."""
    living = sorted(
        (p for p in pods if not p.terminating and not p.ready),
        key=lambda p: (str(p.created_at or ""), p.name),
        reverse=True,
    )
    for pod in living:
        for container in pod.containers:
            failure = _container_failure(container)
            if failure is not None:
                return failure
        if pod.unschedulable_message:
            return Failure("Unschedulable", pod.unschedulable_message[:LONGEST_MESSAGE])
    return None


def _container_failure(container: ContainerView) -> Failure | None:
    if container.waiting_reason in _IMAGE_REASONS:
        message = container.waiting_message or container.waiting_reason
        return Failure(_IMAGE_REASONS[container.waiting_reason], message[:LONGEST_MESSAGE])
    if container.exit_code in (None, 0):
        return None
    said = read_termination(container.termination_message)
    if said is not None:
        return Failure(*said, container.exit_code, container.finished_at)
    reason = container.termination_reason if _REASON.match(container.termination_reason) else "Error"
    message = f"The server ended with exit status {container.exit_code}; see its pod's log."
    if reason == "OOMKilled":
        message = "The server was killed for want of memory: raise server.resources.limits.memory."
    elif reason == "Error":
        reason = "ModelServerCrashed"
    return Failure(reason, message, container.exit_code, container.finished_at)
