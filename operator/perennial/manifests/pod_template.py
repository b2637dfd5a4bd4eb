"""The pod template of a revision; frozen in the ModelRevision once made."""

import math
from dataclasses import dataclass

from perennial_api.labels import LABEL_REVISION
from perennial_api.modeldeployment.model import PVC_SCHEME
from perennial_api.modeldeployment.resource import ModelDeploymentSpec
from perennial_api.modeldeployment.server import Server
from perennial_api.modelruntime import ModelRuntimeSpec
from perennial_api.pods import Resources

from perennial.manifests.context import Installation, Manifest, build_labels
from perennial.manifests.names import server_account
from perennial.manifests.pods import (
    TOKEN_FILE,
    build_environment,
    build_pod_security,
    build_resources,
    build_security,
    build_volume_mounts,
    build_volumes,
)
from perennial.manifests.upstream import build_upstream, build_upstream_volumes, describe_adapter, front
from perennial.rollout.lineage import Wanted

__all__ = ["CONTAINER", "GRPC_PORT_NAME", "PORT_NAME", "Subject", "build_pod_template"]

CONTAINER = "server"
PORT_NAME = "http"
GRPC_PORT_NAME = "grpc"
MODEL_DIRECTORY = "/mnt/model"
STORE_SECRET_DIRECTORY = "/var/run/secrets/perennial-store"  # noqa: S105 - a path
# In scratch space, which outlives the container: one that restarts doesn't fetch its bundle again.
WORK_DIRECTORY = "/tmp/perennial"  # noqa: S108 - a path inside the container
# Long enough for the routers to drop the endpoint before the server stops taking connections.
PRE_STOP_S = 5
LEAST_GRACE_S = 60
# What the server does beside answering the last requests: it goes on accepting some at first, and sends its log at last.
SHUTDOWN_S = 10


@dataclass(frozen=True, slots=True)
class Subject:
    """Which deployment and revision a pod belongs to."""

    namespace: str
    deployment: str
    revision: str


def build_pod_template(
    subject: Subject,
    spec: ModelDeploymentSpec,
    wanted: Wanted,
    runtime: ModelRuntimeSpec,
    installation: Installation,
    *,
    adapter: ModelRuntimeSpec | None = None,
) -> Manifest:
    """Build the template of the pods that serve one revision.

    Parameters
    ----------
    adapter
        Where the model is in the runtime's own image: the runtime of the server that stands before it.
    """
    labels = build_labels(subject.deployment, {LABEL_REVISION: subject.revision})
    server = spec.server
    pod: Manifest = {
        "serviceAccountName": server_account(subject.deployment),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _grace_s(server),
        "securityContext": build_pod_security(),
        "containers": [_build_container(subject, spec, wanted, runtime, installation)],
        "volumes": build_volumes() + _build_model_volumes(wanted),
    }
    if adapter is not None:
        pod["containers"] = [_build_adapter(subject, spec, wanted, runtime, installation, adapter=adapter)]
        pod["initContainers"] = [build_upstream(runtime, server.resources)]
        pod["volumes"] += build_upstream_volumes()
    if server.tolerations:
        pod["tolerations"] = [toleration.to_api() for toleration in server.tolerations]
    if server.node_selector:
        pod["nodeSelector"] = dict(server.node_selector)
    if server.image_pull_secrets:
        pod["imagePullSecrets"] = [secret.to_api() for secret in server.image_pull_secrets]
    return {"metadata": {"labels": labels}, "spec": pod}


def _grace_s(server: Server) -> int:
    """Return how long a pod may take to end: longer than any request that the gateway still waits for.

    The server itself is told by PERENNIAL_DRAIN_TIMEOUT_S to wait as long. The kubelet's clock runs during the preStop hook, too. A requestTimeout that is raised later holds for the pods of
    the next revision: changing it restarts no model.
    """
    return max(LEAST_GRACE_S, math.ceil(server.request_timeout.seconds) + PRE_STOP_S + SHUTDOWN_S)


def _build_container(
    subject: Subject,
    spec: ModelDeploymentSpec,
    wanted: Wanted,
    runtime: ModelRuntimeSpec,
    installation: Installation,
) -> Manifest:
    container: Manifest = {
        "name": CONTAINER,
        "image": runtime.image,
        "imagePullPolicy": runtime.image_pull_policy.value,
        "ports": [{"name": PORT_NAME, "containerPort": runtime.port, "protocol": "TCP"}],
        "env": _build_server_environment(subject, spec, wanted, runtime, installation),
        "resources": build_resources(spec.server.resources, runtime),
        "securityContext": build_security(),
        "terminationMessagePolicy": "File",
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_S}}},
        # A server is alive as soon as it runs, and limits by itself how long it loads; one that hangs is restarted
        # within a minute.
        "startupProbe": _build_probe("/v2/health/live", period_s=2, failures=90),
        "livenessProbe": _build_probe("/v2/health/live", period_s=10, failures=6),
        "readinessProbe": _build_probe("/v2/health/ready", period_s=2, failures=2),
        "volumeMounts": build_volume_mounts() + _build_model_mounts(wanted),
    }
    if runtime.grpc_port is not None:
        port = {"name": GRPC_PORT_NAME, "containerPort": runtime.grpc_port, "protocol": "TCP"}
        container["ports"].append(port)
    if runtime.command:
        container["command"] = list(runtime.command)
    return container


def _build_adapter(
    subject: Subject,
    spec: ModelDeploymentSpec,
    wanted: Wanted,
    runtime: ModelRuntimeSpec,
    installation: Installation,
    *,
    adapter: ModelRuntimeSpec,
) -> Manifest:
    """Build the server that stands before the user's image; what the deployment asks of resources is the image's."""
    server = front(runtime, adapter)
    container = _build_container(subject, spec, wanted, server, installation)
    container["resources"] = build_resources(Resources(), server)
    declared = {"name": "PERENNIAL_ADAPTER", "value": describe_adapter(runtime)}
    container["env"] = [v for v in container["env"] if v["name"] != declared["name"]] + [declared]
    return container


def _build_server_environment(
    subject: Subject,
    spec: ModelDeploymentSpec,
    wanted: Wanted,
    runtime: ModelRuntimeSpec,
    installation: Installation,
) -> list[Manifest]:
    return build_environment(
        {
            "PERENNIAL_NAMESPACE": subject.namespace,
            "PERENNIAL_DEPLOYMENT": subject.deployment,
            "PERENNIAL_REVISION": subject.revision,
            "PERENNIAL_BUNDLE_URI": _bundle_uri(wanted.model_uri),
            "PERENNIAL_BUNDLE_SHA256": wanted.digest.removeprefix("sha256:"),
            "PERENNIAL_STORE_SECRET_DIR": STORE_SECRET_DIRECTORY if wanted.secret else None,
            "PERENNIAL_WORK_DIR": WORK_DIRECTORY,
            "PERENNIAL_OBSERVER_URL": installation.observer_url,
            "PERENNIAL_TOKEN_FILE": TOKEN_FILE,
            "PERENNIAL_LOG_MODE": spec.logger.mode.value,
            "PERENNIAL_LOG_PERCENT": str(spec.logger.percent),
            "PERENNIAL_LOG_EXCLUDE": ",".join(spec.logger.exclude),
            **({} if spec.logger.sink is None else {"PERENNIAL_SINK_URL": spec.logger.sink.url}),
            **_ask_for_scores(spec.server),
            "PERENNIAL_PORT": str(runtime.port),
            "PERENNIAL_GRPC_PORT": str(runtime.grpc_port or 0),
            "PERENNIAL_DRAIN_TIMEOUT_S": f"{spec.server.request_timeout.seconds:g}",
        },
        runtime,
    )


def _ask_for_scores(server: Server) -> dict[str, str | None]:
    scores = server.outlier_scores
    if scores is None:
        return {}
    return {
        "PERENNIAL_OUTLIER_DETECTOR": scores.detector.value,
        "PERENNIAL_OUTLIER_CONTAMINATION": f"{scores.contamination:g}",
    }


def _build_probe(path: str, period_s: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": PORT_NAME},
        "periodSeconds": period_s,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _split_claim(uri: str) -> tuple[str, str]:
    claim, _, path = uri.removeprefix(PVC_SCHEME).partition("/")
    return claim, path


def _bundle_uri(uri: str) -> str:
    if not uri.startswith(PVC_SCHEME):
        return uri
    return f"file://{MODEL_DIRECTORY}/{_split_claim(uri)[1]}".rstrip("/")


def _build_model_volumes(wanted: Wanted) -> list[Manifest]:
    volumes: list[Manifest] = []
    if wanted.model_uri.startswith(PVC_SCHEME):
        claim = {"claimName": _split_claim(wanted.model_uri)[0], "readOnly": True}
        volumes.append({"name": "model", "persistentVolumeClaim": claim})
    if wanted.secret:
        # Without `optional` a pod whose Secret is missing would wait without a word; so its server says what is missing.
        volumes.append({"name": "model-store", "secret": {"secretName": wanted.secret, "optional": True}})
    return volumes


def _build_model_mounts(wanted: Wanted) -> list[Manifest]:
    mounts: list[Manifest] = []
    if wanted.model_uri.startswith(PVC_SCHEME):
        mounts.append({"name": "model", "mountPath": MODEL_DIRECTORY, "readOnly": True})
    if wanted.secret:
        mounts.append({"name": "model-store", "mountPath": STORE_SECRET_DIRECTORY, "readOnly": True})
    return mounts
