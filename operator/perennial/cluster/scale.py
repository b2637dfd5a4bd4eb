"""Set a Deployment's number of pods through its /scale subresource."""

from perennial.cluster.client import Client
from perennial.manifests.plan import Write

__all__ = ["SCALE_MANAGER", "write_scale"]

# Not the manifests' manager: what that one no longer applies it would remove.
SCALE_MANAGER = "perennial-scaler"


async def write_scale(client: Client, namespace: str, write: Write) -> None:
    """Apply the number to the very Deployment that was read; ConflictError if it changed since.

    Server-side apply makes us the number's owner even where it stays the same, which a replacement would not.
    """
    key = write.key
    body = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {
            "name": key.name,
            "namespace": namespace,
            "uid": write.uid,
            "resourceVersion": write.resource_version,
        },
        "spec": {"replicas": write.body["replicas"]},
    }
    await client.apply_subresource(key.kind, namespace, key.name, "scale", body, manager=SCALE_MANAGER)
