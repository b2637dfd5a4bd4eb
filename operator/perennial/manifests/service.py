"""Services: one per revision for its endpoints, and one with the deployment's name for clients."""

from perennial_api.labels import LABEL_DEPLOYMENT, LABEL_REVISION
from perennial_api.modelrevision import ModelRevision

from perennial.manifests.context import Installation, Manifest, Owner, build_metadata
from perennial.manifests.pod_template import GRPC_PORT_NAME, PORT_NAME

__all__ = ["build_address", "build_service"]


def build_service(owner: Owner, revision: ModelRevision) -> Manifest:
    """Build a revision's headless Service: only the gateway reads its endpoints, so it needs no address."""
    name, runtime = revision.metadata.name, revision.spec.runtime
    ports = {runtime.port: PORT_NAME}
    if runtime.grpc_port is not None:
        ports[runtime.grpc_port] = GRPC_PORT_NAME
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": build_metadata(owner, name, {LABEL_REVISION: name}),
        "spec": {
            "clusterIP": "None",
            "selector": {LABEL_DEPLOYMENT: owner.deployment, LABEL_REVISION: name},
            "ports": [_build_port(port, name) for port, name in ports.items()],
        },
    }


def _build_port(port: int, name: str) -> Manifest:
    return {"name": name, "port": port, "targetPort": name, "protocol": "TCP"}


def build_address(owner: Owner, installation: Installation) -> Manifest:
    """Build the Service through which clients reach the gateway by the deployment's own name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": build_metadata(owner, owner.deployment),
        "spec": {"type": "ExternalName", "externalName": installation.gateway_host},
    }
