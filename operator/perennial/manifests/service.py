"""Services: one per revision for its endpoints, and one with the deployment's name for clients."""

from perennial_api.labels import LABEL_DEPLOYMENT, LABEL_REVISION
from perennial_api.modelrevision import ModelRevision

from perennial.manifests.context import Installation, Manifest, Owner, build_metadata
from perennial.manifests.pod_template import PORT_NAME

__all__ = ["build_address", "build_service"]


def build_service(owner: Owner, revision: ModelRevision) -> Manifest:
    """Build a revision's headless Service: only the gateway reads its endpoints, so it needs no address."""
    name = revision.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": build_metadata(owner, name, {LABEL_REVISION: name}),
        "spec": {
            "clusterIP": "None",
            "selector": {LABEL_DEPLOYMENT: owner.deployment, LABEL_REVISION: name},
            "ports": [
                {
                    "name": PORT_NAME,
                    "port": revision.spec.runtime.port,
                    "targetPort": PORT_NAME,
                    "protocol": "TCP",
                }
            ],
        },
    }


def build_address(owner: Owner, installation: Installation) -> Manifest:
    """Build the Service through which clients reach the gateway by the deployment's own name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": build_metadata(owner, owner.deployment),
        "spec": {"type": "ExternalName", "externalName": installation.gateway_host},
    }
