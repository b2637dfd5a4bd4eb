"""The HorizontalPodAutoscaler of one revision, where the cluster's own autoscaler sets the number of pods."""

from collections.abc import Mapping
from typing import Any

from perennial_api.labels import LABEL_REVISION
from perennial_api.modeldeployment.server import ScaleMetric
from perennial_api.modelrevision import ModelRevision

from perennial.manifests.context import Manifest, Owner, build_metadata
from perennial.rollout.scaling import AutoscalerView, ScalePolicy

__all__ = ["build_hpa", "view_hpa"]

LONGEST_WINDOW_S = 3600  # the API server refuses a longer one
_RESOURCES = {ScaleMetric.CPU: "cpu", ScaleMetric.MEMORY: "memory"}


def build_hpa(owner: Owner, revision: ModelRevision, policy: ScalePolicy, minimum: int) -> Manifest:
    """Build the autoscaler of a revision's Deployment.

    Parameters
    ----------
    policy
        Its metric is Cpu or Memory.
    minimum
        The fewest pods at this moment: during a rollout more than `policy.minimum`, since it is by this number that the
        floor of the stable revision and the pods of a share are kept.
    """
    if policy.metric not in _RESOURCES:
        raise ValueError(f"no autoscaler of the cluster follows {policy.metric}")
    name = revision.metadata.name
    utilization = {"type": "Utilization", "averageUtilization": policy.target}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": build_metadata(owner, name, {LABEL_REVISION: name}),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": policy.clamp(minimum),
            "maxReplicas": policy.maximum,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": _RESOURCES[policy.metric], "target": utilization},
                }
            ],
            "behavior": {
                "scaleDown": {"stabilizationWindowSeconds": min(LONGEST_WINDOW_S, int(policy.window_s))}
            },
        },
    }


def view_hpa(stored: Mapping[str, Any]) -> AutoscalerView:
    """Reduce a stored autoscaler to whether it knows its metric."""
    conditions = (stored.get("status") or {}).get("conditions") or []
    active = next((c for c in conditions if c["type"] == "ScalingActive"), None)
    if active is None:
        return AutoscalerView()
    return AutoscalerView(active["status"] == "True", active.get("reason", ""), active.get("message", ""))
