"""Pods killed as Kubernetes kills them: the object is deleted, the server is told to end and has its grace."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from perennial_localcluster.api import ApiClient

from tests.e2e.support.kube import wait_for

PATIENCE_S = 60

Json = dict[str, Any]


@dataclass(frozen=True)
class PodKiller:
    """Deletes pods that match a selector, and only one of which its group has another ready.

    Parameters
    ----------
    group_by
        Label that tells groups of pods apart that can't stand in for each other.
    """

    api: ApiClient
    namespace: str
    selector: str
    group_by: str

    def kill_one(self, turn: int) -> str:
        """Delete the pod whose turn it is, once there is one that may go; return its name."""
        pods = wait_for(
            self._find_spare, timeout_s=PATIENCE_S, what=f"two ready pods in a group of {self.selector}"
        )
        name = pods[turn % len(pods)]
        self.api.request("DELETE", f"/api/v1/namespaces/{self.namespace}/pods/{name}")
        return name

    def _find_spare(self) -> list[str]:
        path = f"/api/v1/namespaces/{self.namespace}/pods?labelSelector={self.selector}"
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for pod in self.api.request("GET", path)["items"]:
            if _is_ready(pod):
                metadata = pod["metadata"]
                groups[metadata["labels"].get(self.group_by, "")].append(metadata["name"])
        return sorted(name for names in groups.values() if len(names) > 1 for name in names)


def _is_ready(pod: Json) -> bool:
    conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
    return "deletionTimestamp" not in pod["metadata"] and conditions.get("Ready") == "True"
