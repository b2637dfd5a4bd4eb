"""metrics-server's objects: what the API server asks for the use of CPU and memory. Pure.

`kubectl top` and every HorizontalPodAutoscaler depend on it. It runs on the host, so the
API server reaches it by a Service without a selector and trusts it by our own authority.
"""

from __future__ import annotations

import base64

from perennial_localcluster.manifests import CORE_READ, Placed, build_host_service, build_rights
from perennial_localcluster.record import Record

NAMESPACE = "kube-system"
NAME = "metrics-server"
USER = "system:metrics-server"
PORT = 10443
HOST_NAMES = (NAME, f"{NAME}.{NAMESPACE}", f"{NAME}.{NAMESPACE}.svc")
GROUP_PATH = "/apis/metrics.k8s.io/v1beta1"


def build_objects(record: Record, authority: str) -> list[Placed]:
    """Return the Service, the rights and the APIService; ``authority`` is the PEM of the cluster's CA."""
    rules = [
        {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": CORE_READ},
        # Who a request comes from, and whether that one may ask, the API server says.
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
        {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["extension-apiserver-authentication"],
            "verbs": CORE_READ,
        },
    ]
    port = {"name": "https", "port": 443, "protocol": "TCP", "targetPort": PORT}
    api_service = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"name": NAME, "namespace": NAMESPACE, "port": 443},
            "caBundle": base64.b64encode(authority.encode()).decode(),
        },
    }
    return [
        *build_host_service(NAMESPACE, NAME, record.node_ip, [port]),
        *build_rights(USER, rules),
        ("/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io", api_service),
    ]
