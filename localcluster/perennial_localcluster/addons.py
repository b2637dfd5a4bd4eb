"""The few objects that make a bare API server a cluster: DNS Service, StorageClass, metrics, rights.

CoreDNS, the volume provisioner, metrics-server and Prometheus run on the host, so their
Services have no selector and their users are certificates.
"""

from __future__ import annotations

from perennial_localcluster import metrics, prometheus
from perennial_localcluster.api import ApiClient
from perennial_localcluster.manifests import CORE_READ, Placed, build_host_service, build_rights
from perennial_localcluster.record import Record

# What `up --with NAME` can add.
OPTIONAL = (prometheus.NAME,)


def build_objects(record: Record, authority: str) -> list[Placed]:
    """Return (API path, manifest) of each object, in the order of applying. Pure.

    ``authority`` is the PEM of the cluster's CA.
    """
    optional = prometheus.build_objects(record) if prometheus.NAME in record.addons else []
    return [*_build_dns(record), *_build_storage(), *metrics.build_objects(record, authority), *optional]


def apply_all(client: ApiClient, record: Record, authority: str) -> None:
    """Apply them; called by `up` as soon as the API server is ready."""
    for path, manifest in build_objects(record, authority):
        client.apply(path, manifest)


def _build_dns(record: Record) -> list[Placed]:
    ports = [
        {"name": name, "port": 53, "targetPort": 53, "protocol": protocol}
        for name, protocol in (("dns", "UDP"), ("dns-tcp", "TCP"))
    ]
    service, endpoints = build_host_service(
        "kube-system", "kube-dns", record.node_ip, ports, clusterIP=record.dns_ip
    )
    # Tools find a cluster's DNS by these labels.
    service[1]["metadata"]["labels"] = {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces", "endpoints"], "verbs": CORE_READ},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": CORE_READ},
    ]
    return [service, endpoints, *build_rights("system:coredns", rules)]


def _build_storage() -> list[Placed]:
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
        *build_rights("system:local-path-provisioner", rules),
    ]
