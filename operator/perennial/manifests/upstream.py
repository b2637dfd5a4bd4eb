"""The user's own image beside the server that stands before it, for the formats bento and container.

It is a sidecar of the server: the kubelet starts it first, restarts it by itself, and at a pod's end stops it only when
the server has answered its last request.
"""

import json
from typing import Any

from perennial_api.modelruntime import ModelRuntimeSpec
from perennial_api.pods import Resources

from perennial.manifests.context import Manifest
from perennial.manifests.pods import build_resources, build_security

__all__ = ["UPSTREAM", "build_upstream", "build_upstream_volumes", "describe_adapter", "front"]

UPSTREAM = "model"
_VOLUME = "model-tmp"
# The pod runs as a user that no image knows: without a home it would have to write into the root directory.
_HOME = {"name": "HOME", "value": "/tmp"}  # noqa: S108 - a path inside the container


def front(runtime: ModelRuntimeSpec, adapter: ModelRuntimeSpec) -> ModelRuntimeSpec:
    """Return how the server before the image runs: as the adapter's runtime says, on the ports of the image's."""
    return adapter.model_copy(update={"port": runtime.port, "grpc_port": runtime.grpc_port})


def describe_adapter(runtime: ModelRuntimeSpec) -> str:
    """Write the declaration as the server reads it, in PERENNIAL_ADAPTER; see docs/seams.md."""
    assert runtime.adapter is not None, "only a runtime of format bento or container has an adapter"
    declared: dict[str, Any] = runtime.adapter.to_api()
    del declared["runtime"], declared["timeout"]
    declared |= {"format": runtime.formats[0].value, "timeoutS": runtime.adapter.timeout.seconds}
    return json.dumps(declared, sort_keys=True, separators=(",", ":"))


def build_upstream(runtime: ModelRuntimeSpec, asked: Resources) -> Manifest:
    """Build the container of the user's image; it gets neither the observer's token nor the store's Secret.

    It has no probes of its own: it may listen on loopback, where the kubelet doesn't come. The server before it asks it,
    and is ready when both are.
    """
    env = [{"name": variable.name, "value": variable.value} for variable in runtime.env]
    if not any(variable["name"] == _HOME["name"] for variable in env):
        env.append(dict(_HOME))
    container: Manifest = {
        "name": UPSTREAM,
        "image": runtime.image,
        "imagePullPolicy": runtime.image_pull_policy.value,
        "restartPolicy": "Always",
        "env": env,
        "resources": build_resources(asked, runtime),
        "securityContext": build_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": _VOLUME, "mountPath": "/tmp"}],  # noqa: S108 - a path inside the container
    }
    if runtime.command:
        container["command"] = list(runtime.command)
    return container


def build_upstream_volumes() -> list[Manifest]:
    """Build its scratch space, apart from the server's."""
    return [{"name": _VOLUME, "emptyDir": {}}]
