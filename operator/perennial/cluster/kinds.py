"""The kinds that the operator reads and writes, and where the API server keeps them."""

from dataclasses import dataclass

from perennial_api.labels import API_VERSION

__all__ = ["KINDS", "Kind"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind and its path."""

    api_version: str
    plural: str
    name: str
    namespaced: bool = True

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """Return the URL path of the collection, the object, or its subresource."""
        root = f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        parts = [part for part in (name, subresource) if part]
        return "/".join([f"{root}{scope}/{self.plural}", *parts])


KINDS = {
    kind.name: kind
    for kind in (
        Kind("v1", "pods", "Pod"),
        Kind("v1", "services", "Service"),
        Kind("v1", "serviceaccounts", "ServiceAccount"),
        Kind("apps/v1", "deployments", "Deployment"),
        Kind("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
        Kind("batch/v1", "jobs", "Job"),
        Kind("coordination.k8s.io/v1", "leases", "Lease"),
        Kind("discovery.k8s.io/v1", "endpointslices", "EndpointSlice"),
        Kind("events.k8s.io/v1", "events", "Event"),
        Kind(API_VERSION, "modeldeployments", "ModelDeployment"),
        Kind(API_VERSION, "modelrevisions", "ModelRevision"),
        Kind(API_VERSION, "modelroutes", "ModelRoute"),
        Kind(API_VERSION, "monitorreports", "MonitorReport"),
        Kind(API_VERSION, "retrainingruns", "RetrainingRun"),
        Kind(API_VERSION, "modelruntimes", "ModelRuntime"),
        Kind(API_VERSION, "clustermodelruntimes", "ClusterModelRuntime", namespaced=False),
    )
}
