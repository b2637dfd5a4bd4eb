"""The Deployment of one revision."""

from perennial_api.labels import LABEL_DEPLOYMENT, LABEL_REVISION
from perennial_api.modelrevision import ModelRevision

from perennial.manifests.context import Manifest, Owner, build_metadata

__all__ = ["build_deployment"]


def build_deployment(owner: Owner, revision: ModelRevision, replicas: int | None) -> Manifest:
    """Build the Deployment that runs a revision's frozen pod template; only the number of pods is live.

    Where `replicas` is None the manifest leaves the number to whoever scales: a field has one owner.
    """
    name = revision.metadata.name
    selector = {LABEL_DEPLOYMENT: owner.deployment, LABEL_REVISION: name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": build_metadata(owner, name, {LABEL_REVISION: name}),
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            # Old ReplicaSets are of no use: a revision's template never changes.
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": revision.spec.pod_template,
        },
    }
