"""What server and trainer pods have in common: hardening, the projected token, scratch space."""

from typing import Any

from perennial_api.labels import TOKEN_AUDIENCE
from perennial_api.modelruntime import ModelRuntimeSpec
from perennial_api.pods import Resources
from perennial_api.quantities import parse_quantity

from perennial.manifests.context import Manifest

__all__ = [
    "TOKEN_FILE",
    "build_environment",
    "build_pod_security",
    "build_resources",
    "build_security",
    "build_volume_mounts",
    "build_volumes",
]

TOKEN_DIRECTORY = "/var/run/secrets/perennial"  # noqa: S105 - a path
TOKEN_FILE = f"{TOKEN_DIRECTORY}/token"
TOKEN_LIFETIME_S = 3600
USER_ID = 65532
# A pod without requests could be scheduled anywhere and starve its neighbours.
DEFAULT_REQUESTS = {"cpu": "50m", "memory": "128Mi"}


def build_environment(values: dict[str, str | None], runtime: ModelRuntimeSpec) -> list[Manifest]:
    """Build the variables; the operator's own win over the runtime's, and those that are None are left out."""
    own = {name: value for name, value in values.items() if value is not None}
    theirs = {variable.name: variable.value for variable in runtime.env}
    return [{"name": name, "value": value} for name, value in {**theirs, **own}.items()]


def build_resources(asked: Resources, runtime: ModelRuntimeSpec) -> Manifest:
    """Merge requests and limits, each resource by itself; what nobody gives gets a small request.

    A runtime's request above the user's limit is lowered to it: the API server would refuse the pod.
    """
    limits = {**(runtime.resources.limits or {}), **(asked.limits or {})}
    requests = {
        name: _lower(request, limits.get(name))
        for name, request in {**DEFAULT_REQUESTS, **(runtime.resources.requests or {})}.items()
    }
    requests |= asked.requests or {}
    return {"requests": requests, "limits": limits} if limits else {"requests": requests}


def _lower(request: str, limit: str | None) -> str:
    if limit is None:
        return request
    return limit if parse_quantity(request) > parse_quantity(limit) else request


def build_pod_security() -> Manifest:
    """Build the pod's security context, within the restricted Pod Security Standard."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "fsGroup": USER_ID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def build_security() -> Manifest:
    """Build the container's security context."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def build_volumes() -> list[Manifest]:
    """Build scratch space and the token for the observer; the pods get no token for the API server."""
    token: dict[str, Any] = {
        "serviceAccountToken": {
            "audience": TOKEN_AUDIENCE,
            "expirationSeconds": TOKEN_LIFETIME_S,
            "path": "token",
        }
    }
    return [
        {"name": "tmp", "emptyDir": {}},
        {"name": "perennial-token", "projected": {"sources": [token]}},
    ]


def build_volume_mounts() -> list[Manifest]:
    """Build the mounts of those volumes."""
    return [
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a path inside the container
        {"name": "perennial-token", "mountPath": TOKEN_DIRECTORY, "readOnly": True},
    ]
