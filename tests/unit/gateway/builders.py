"""Routes, fragments and Kubernetes objects for the gateway's unit tests."""

from __future__ import annotations

from typing import Any

from perennial_gateway.model import Backend, Endpoint, Route, RouteKey
from perennial_gateway.resources import Fragment, render_json


def endpoint(last: int = 1, port: int = 3000) -> Endpoint:
    return Endpoint(f"10.0.0.{last}", port)


def backend(revision: str = "wine-a", weight: int = 100, *endpoints: Endpoint) -> Backend:
    return Backend(revision, weight, endpoints or (endpoint(),))


def route(
    name: str = "wine", *backends: Backend, namespace: str = "shop", generation: int = 1, **fields: Any
) -> Route:
    key = RouteKey(namespace, name)
    return Route(key, f"uid-{name}", generation, backends or (backend(f"{name}-a"),), **fields)


def fragment(name: str, mark: str = "good") -> Fragment:
    """A fragment whose only cluster carries a mark that a fake Envoy may refuse."""
    cluster = f"shop/{name}-a"
    return Fragment({cluster: render_json({"name": cluster, "mark": mark})}, "", "", "", "")


def model_route(name: str = "wine", namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    revision = {"name": f"{name}-a", "service": f"{name}-a", "port": 3000, "weightPercent": 100}
    return {
        "apiVersion": "perennial.dev/v1alpha1",
        "kind": "ModelRoute",
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "generation": 3},
        "spec": {"revisions": [revision], **spec},
    }


def endpoint_slice(
    service: str = "wine-a", *, deployment: str = "wine", namespace: str = "shop"
) -> dict[str, Any]:
    return {
        "addressType": "IPv4",
        "metadata": {
            "name": f"{service}-x1",
            "namespace": namespace,
            "labels": {
                "kubernetes.io/service-name": service,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "app.kubernetes.io/managed-by": "perennial",
                "perennial.dev/deployment": deployment,
            },
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Service", "name": service, "uid": "u", "controller": True}
            ],
        },
        "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": True}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
            {"addresses": ["10.0.0.3"], "conditions": {}},
        ],
        "ports": [{"port": 3000}],
    }
