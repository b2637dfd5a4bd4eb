"""Small builders of objects that more than one of the cluster's own services needs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

RBAC = "rbac.authorization.k8s.io"
CORE_READ = ["get", "list", "watch"]

# An object with the API path at which it is applied.
Placed = tuple[str, dict[str, Any]]


def build_host_service(
    namespace: str, name: str, address: str, ports: Sequence[dict[str, Any]], **spec: str
) -> list[Placed]:
    """Return a Service without a selector that leads to a process on the host.

    Parameters
    ----------
    address
        Where the process listens; not a loopback address, since pods must reach it.
    ports
        ``name``, ``port``, ``protocol`` and ``targetPort`` of each port.
    spec
        More fields of the Service's spec.
    """
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": list(ports), **spec},
    }
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-host",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "ports": [
            {"name": port["name"], "port": port["targetPort"], "protocol": port["protocol"]} for port in ports
        ],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
    }
    return [
        (f"/api/v1/namespaces/{namespace}/services/{name}", service),
        (f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{name}-host", slice_),
    ]


def build_rights(user: str, rules: list[dict[str, Any]]) -> list[Placed]:
    """Return a ClusterRole with these rules and its binding to a certificate's user."""
    name = f"perennial-localcluster:{user.removeprefix('system:')}"
    role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user}],
    }
    return [
        (f"/apis/{RBAC}/v1/clusterroles/{name}", role),
        (f"/apis/{RBAC}/v1/clusterrolebindings/{name}", binding),
    ]
