"""The components of the native cluster: what each is started with, and what proves it healthy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from perennial_localcluster import metrics, prometheus
from perennial_localcluster.certificates import API_SERVER_PORT
from perennial_localcluster.configs import PAUSE_IMAGE
from perennial_localcluster.paths import Paths
from perennial_localcluster.record import Record

ETCD_PORT = 12379
ETCD_PEER_PORT = 12380
ETCD_METRICS_PORT = 12381
# With two older files beside the current one, 300 MB at most.
AUDIT_FILE_SIZE_MB = 100
PROMETHEUS_RETENTION = ("--storage.tsdb.retention.time=2d", "--storage.tsdb.retention.size=1GB")


@dataclass(frozen=True)
class Port:
    """A TCP address that a component listens on; ``address`` is empty for all of the machine's."""

    address: str
    number: int


@dataclass(frozen=True)
class Service:
    """One long-running process.

    ``health`` is an http(s) URL, or ``unix:PATH`` for a socket that must accept, or empty
    where a running process is all one can ask. Services of a lower ``stage`` must be
    healthy before those of a higher one start.
    """

    name: str
    stage: int
    command: list[str]
    health: str
    ports: tuple[Port, ...] = ()


def build_services(paths: Paths, record: Record, containerd: str = "/usr/bin/containerd") -> list[Service]:
    """Return all components in the order of their start; `down` stops them in reverse."""
    builders: list[Callable[[Paths, Record], Service]] = [
        _etcd,
        _api_server,
        _controller_manager,
        _scheduler,
        _kube_proxy,
        _coredns,
        _local_path,
        _metrics_server,
        _kubelet,
        *([_prometheus_targets, _prometheus] if prometheus.NAME in record.addons else []),
    ]
    runtime = Service(
        "containerd",
        0,
        [containerd, "--config", str(paths.config / "containerd.toml")],
        f"unix:{paths.containerd_socket}",
    )
    return [runtime, *(build(paths, record) for build in builders)]


def _etcd(paths: Paths, record: Record) -> Service:  # noqa: ARG001 - one signature for all builders
    pki = paths.pki
    client = f"https://127.0.0.1:{ETCD_PORT}"
    peer = f"http://127.0.0.1:{ETCD_PEER_PORT}"
    command = [
        str(paths.bin / "etcd"),
        "--name=local",
        f"--data-dir={paths.state / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=local={peer}",
        f"--listen-metrics-urls=http://127.0.0.1:{ETCD_METRICS_PORT}",
        f"--cert-file={pki / 'etcd.crt'}",
        f"--key-file={pki / 'etcd.key'}",
        "--client-cert-auth",
        f"--trusted-ca-file={pki / 'etcd-ca.crt'}",
        "--auto-compaction-retention=1",
        "--logger=zap",
        "--log-level=warn",
    ]
    ports = tuple(Port("127.0.0.1", port) for port in (ETCD_PORT, ETCD_PEER_PORT, ETCD_METRICS_PORT))
    return Service("etcd", 0, command, f"http://127.0.0.1:{ETCD_METRICS_PORT}/health", ports)


def _api_server(paths: Paths, record: Record) -> Service:
    pki = paths.pki
    command = [
        str(paths.bin / "kube-apiserver"),
        f"--advertise-address={record.node_ip}",
        f"--bind-address={record.node_ip}",
        f"--secure-port={API_SERVER_PORT}",
        f"--etcd-servers=https://127.0.0.1:{ETCD_PORT}",
        f"--etcd-cafile={pki / 'etcd-ca.crt'}",
        f"--etcd-certfile={pki / 'etcd.crt'}",
        f"--etcd-keyfile={pki / 'etcd.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-cluster-ip-range={record.service_cidr}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki / 'sa.pub'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--enable-aggregator-routing=true",
        f"--requestheader-client-ca-file={pki / 'front-proxy-ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={pki / 'front-proxy-client.crt'}",
        f"--proxy-client-key-file={pki / 'front-proxy-client.key'}",
        f"--audit-policy-file={paths.config / 'audit-policy.yaml'}",
        f"--audit-log-path={paths.audit_log}",
        f"--audit-log-maxsize={AUDIT_FILE_SIZE_MB}",
        "--audit-log-maxbackup=2",
        "--profiling=false",
    ]
    url = f"https://{record.node_ip}:{API_SERVER_PORT}/readyz"
    return Service("kube-apiserver", 1, command, url, (Port(record.node_ip, API_SERVER_PORT),))


def _controller_manager(paths: Paths, record: Record) -> Service:
    pki = paths.pki
    command = [
        str(paths.bin / "kube-controller-manager"),
        *_client_flags(paths, "controller-manager"),
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--service-account-private-key-file={pki / 'sa.key'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
        f"--service-cluster-ip-range={record.service_cidr}",
        f"--flex-volume-plugin-dir={paths.state / 'volume-plugins'}",
        "--use-service-account-credentials=true",
        # A third of the default, since tests wait for autoscalers.
        "--horizontal-pod-autoscaler-sync-period=5s",
    ]
    return Service(
        "kube-controller-manager", 2, command, "https://127.0.0.1:10257/healthz", (Port("127.0.0.1", 10257),)
    )


def _scheduler(paths: Paths, record: Record) -> Service:  # noqa: ARG001 - one signature for all builders
    command = [str(paths.bin / "kube-scheduler"), *_client_flags(paths, "scheduler")]
    return Service(
        "kube-scheduler", 2, command, "https://127.0.0.1:10259/healthz", (Port("127.0.0.1", 10259),)
    )


def _client_flags(paths: Paths, name: str) -> list[str]:
    # One instance of each: an election would only delay the start after a crash by its lease.
    kubeconfig = paths.config / f"{name}.kubeconfig"
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--client-ca-file={paths.pki / 'ca.crt'}",
        f"--tls-cert-file={paths.pki / 'apiserver.crt'}",
        f"--tls-private-key-file={paths.pki / 'apiserver.key'}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--profiling=false",
    ]


def _kube_proxy(paths: Paths, record: Record) -> Service:  # noqa: ARG001 - one signature for all builders
    command = [str(paths.bin / "kube-proxy"), f"--config={paths.config / 'kube-proxy.yaml'}"]
    ports = (Port("127.0.0.1", 10256), Port("127.0.0.1", 10249))
    return Service("kube-proxy", 2, command, "http://127.0.0.1:10249/healthz", ports)


def _coredns(paths: Paths, record: Record) -> Service:
    command = [str(paths.bin / "coredns"), "-conf", str(paths.config / "Corefile")]
    ports = (Port(record.node_ip, 53), Port("127.0.0.1", 18080), Port("127.0.0.1", 18181))
    return Service("coredns", 3, command, "http://127.0.0.1:18181/ready", ports)


def _local_path(paths: Paths, record: Record) -> Service:  # noqa: ARG001 - one signature for all builders
    command = [
        str(paths.bin / "local-path-provisioner"),
        "start",
        f"--config={paths.config / 'local-path.json'}",
        f"--kubeconfig={paths.config / 'local-path.kubeconfig'}",
        f"--helper-image={PAUSE_IMAGE}",
        f"--helper-pod-file={paths.config / 'helper-pod.yaml'}",
        "--namespace=kube-system",
        "--configmap-name=local-path-config",
        "--service-account-name=local-path-helper",
    ]
    return Service("local-path-provisioner", 3, command, "")


def _metrics_server(paths: Paths, record: Record) -> Service:
    pki = paths.pki
    kubeconfig = paths.config / f"{metrics.NAME}.kubeconfig"
    command = [
        str(paths.bin / "metrics-server"),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={record.node_ip}",
        f"--secure-port={metrics.PORT}",
        f"--tls-cert-file={pki / f'{metrics.NAME}.crt'}",
        f"--tls-private-key-file={pki / f'{metrics.NAME}.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--metric-resolution=10s",
        "--kubelet-request-timeout=5s",
    ]
    # Not readyz: that waits for the first figures, which the node may not have yet.
    url = f"https://{record.node_ip}:{metrics.PORT}/livez"
    return Service(metrics.NAME, 3, command, url, (Port(record.node_ip, metrics.PORT),))


def _prometheus_targets(paths: Paths, record: Record) -> Service:  # noqa: ARG001 - one signature for all builders
    kubeconfig = paths.config / f"{prometheus.NAME}.kubeconfig"
    module = "perennial_localcluster.targets"
    command = [sys.executable, "-m", module, str(kubeconfig), str(prometheus.find_targets(paths))]
    return Service(f"{prometheus.NAME}-targets", 3, command, "")


def _prometheus(paths: Paths, record: Record) -> Service:
    command = [
        str(prometheus.find_cached(paths)),
        f"--config.file={paths.config / 'prometheus.yaml'}",
        f"--storage.tsdb.path={paths.state / 'prometheus'}",
        *PROMETHEUS_RETENTION,
        f"--web.listen-address={record.node_ip}:{prometheus.PORT}",
        "--log.level=warn",
    ]
    url = f"{prometheus.build_url(record)}/-/ready"
    return Service(prometheus.NAME, 3, command, url, (Port(record.node_ip, prometheus.PORT),))


def _kubelet(paths: Paths, record: Record) -> Service:
    command = [
        str(paths.bin / "kubelet"),
        f"--config={paths.config / 'kubelet.yaml'}",
        f"--kubeconfig={paths.config / 'kubelet.kubeconfig'}",
        f"--root-dir={paths.kubelet}",
        f"--cert-dir={paths.pki}",
        f"--hostname-override={record.node_name}",
        f"--node-ip={record.node_ip}",
    ]
    ports = (Port("127.0.0.1", 10248), Port(record.node_ip, 10250))
    return Service("kubelet", 2, command, "http://127.0.0.1:10248/healthz", ports)
