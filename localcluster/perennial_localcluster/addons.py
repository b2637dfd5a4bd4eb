"""The few objects that make a bare API server a cluster: DNS Service, StorageClass, rights.

CoreDNS and the volume provisioner run on the host, so their Service has no selector and
their users are certificates.
"""

from __future__ import annotations

from typing import Any

from perennial_localcluster.api import ApiClient
from perennial_localcluster.record import Record

RBAC = "rbac.authorization.k8s.io"
CORE_READ = ["get", "list", "watch"]


def build_objects(record: Record) -> list[tuple[str, dict[str, Any]]]:
    """Return (API path, manifest) of each object, in the order of applying. Pure."""
    return [*_build_dns(record), *_build_storage()]


def apply_all(client: ApiClient, record: Record) -> None:
    """Apply them; called by `up` as soon as the API server is ready."""
    for path, manifest in build_objects(record):
        client.apply(path, manifest)


def _build_dns(record: Record) -> list[tuple[str, dict[str, Any]]]:
    namespace = "/namespaces/kube-system"
    labels = {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}
    ports = [("dns", "UDP"), ("dns-tcp", "TCP")]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
        "spec": {
            "clusterIP": record.dns_ip,
            "ports": [{"name": n, "port": 53, "targetPort": 53, "protocol": p} for n, p in ports],
        },
    }
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns-host",
            "namespace": "kube-system",
            "labels": {"kubernetes.io/service-name": "kube-dns"},
        },
        "addressType": "IPv4",
        "ports": [{"name": name, "port": 53, "protocol": protocol} for name, protocol in ports],
        "endpoints": [{"addresses": [record.node_ip], "conditions": {"ready": True}}],
    }
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces", "endpoints"], "verbs": CORE_READ},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": CORE_READ},
    ]
    return [
        (f"/api/v1{namespace}/services/kube-dns", service),
        (f"/apis/discovery.k8s.io/v1{namespace}/endpointslices/kube-dns-host", endpoints),
        *_build_rights("system:coredns", rules),
    ]


def _build_storage() -> list[tuple[str, dict[str, Any]]]:
    everything = [*CORE_READ, "create", "patch", "update", "delete"]
    rules = [
        {
            "apiGroups": [""],
            "resources": ["nodes", "persistentvolumeclaims", "configmaps"],
            "verbs": CORE_READ,
        },
        {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": everything},
        {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": everything},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": CORE_READ},
    ]
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "local-path",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "rancher.io/local-path",
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    }
    # The helper pod mounts these two as /script; our image knows what they mean by their names.
    scripts = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "local-path-config", "namespace": "kube-system"},
        "data": {"setup": "# makes VOL_DIR\n", "teardown": "# removes VOL_DIR\n"},
    }
    helper = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "local-path-helper", "namespace": "kube-system"},
        "automountServiceAccountToken": False,
    }
    namespace = "/api/v1/namespaces/kube-system"
    return [
        ("/apis/storage.k8s.io/v1/storageclasses/local-path", storage_class),
        (f"{namespace}/configmaps/local-path-config", scripts),
        (f"{namespace}/serviceaccounts/local-path-helper", helper),
        *_build_rights("system:local-path-provisioner", rules),
    ]


def _build_rights(user: str, rules: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
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
