"""Renders the components' configuration files. Pure but for `write_all`."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from perennial_localcluster import metrics, prometheus
from perennial_localcluster.certificates import API_SERVER_PORT, render_kubeconfig
from perennial_localcluster.paths import Paths
from perennial_localcluster.record import Record, write_atomically

PAUSE_IMAGE = "localhost/perennial/pause:1"
CNI_BIN_DIR = "/usr/lib/cni"
CNI_NETWORK = "perennial"
CLUSTER_DOMAIN = "cluster.local"
MAX_PODS = 250
# Components that are clients of the API server under a certificate of their own.
CLIENTS = (
    "controller-manager",
    "scheduler",
    "kube-proxy",
    "coredns",
    "local-path",
    "kubelet",
    metrics.NAME,
    prometheus.NAME,
)


def render_containerd(paths: Paths) -> str:
    """Return containerd's own configuration; nothing in it points outside the state directory.

    ``restrict_oom_score_adj``: without CAP_SYS_RESOURCE a negative score is refused and no
    container starts.
    """
    return f"""version = 2
root = "{paths.state}/containerd"
state = "{paths.run}/containerd"
oom_score = 0
imports = []

[grpc]
  address = "{paths.containerd_socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{paths.state}/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{CNI_BIN_DIR}"
  conf_dir = "{paths.cni}/conf"

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
  Root = "{paths.run}/runc"
"""


def render_cni(paths: Paths, record: Record) -> str:
    """Return the pod network: point-to-point links, so that every packet passes the host's rules.

    On a bridge, an answer between two pods would go past conntrack and break Service
    addresses wherever bridge-nf-call-iptables is missing.
    """
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": record.pod_cidr, "gateway": record.node_ip}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(paths.cni / "addresses"),
    }
    plugins = [
        {"type": "ptp", "ipMasq": False, "mtu": record.mtu, "ipam": ipam},
        {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
    ]
    return json.dumps({"cniVersion": "0.4.0", "name": CNI_NETWORK, "plugins": plugins}, indent=1)


def render_kubelet(paths: Paths, record: Record, resolv_conf: str) -> str:
    """Return the KubeletConfiguration; eviction waits until the disk is nearly full: it is a person's own."""
    pki = paths.pki
    return yaml.safe_dump(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": record.node_ip,
            "authentication": {
                "x509": {"clientCAFile": str(pki / "ca.crt")},
                "webhook": {"enabled": True},
                "anonymous": {"enabled": False},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "failSwapOn": False,
            "clusterDNS": [record.dns_ip],
            "clusterDomain": CLUSTER_DOMAIN,
            "containerRuntimeEndpoint": f"unix://{paths.containerd_socket}",
            "healthzBindAddress": "127.0.0.1",
            "maxPods": MAX_PODS,
            "oomScoreAdj": 0,
            "podLogsDir": str(paths.state / "pod-logs"),
            "resolvConf": resolv_conf,
            "serializeImagePulls": False,
            "tlsCertFile": str(pki / "kubelet.crt"),
            "tlsPrivateKeyFile": str(pki / "kubelet.key"),
            "volumePluginDir": str(paths.state / "volume-plugins"),
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "imagefs.available": "1%",
            },
            "imageGCHighThresholdPercent": 99,
            "imageGCLowThresholdPercent": 98,
        },
        sort_keys=False,
    )


def render_kube_proxy(paths: Paths, record: Record) -> str:
    """Return the KubeProxyConfiguration; it changes no conntrack limit of the host."""
    return yaml.safe_dump(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "bindAddress": record.node_ip,
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "clientConnection": {"kubeconfig": str(paths.config / "kube-proxy.kubeconfig")},
            "clusterCIDR": record.pod_cidr,
            "hostnameOverride": record.node_name,
            "mode": "iptables",
            "oomScoreAdj": 0,
            "iptables": {"localhostNodePorts": False, "minSyncPeriod": "100ms"},
            "conntrack": {
                "maxPerCore": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        },
        sort_keys=False,
    )


def render_corefile(record: Record, kubeconfig: str, resolv_conf: str) -> str:
    """Return CoreDNS's configuration: cluster names here, all others to the machine's own resolvers."""
    return f""".:53 {{
    bind {record.node_ip}
    errors
    health 127.0.0.1:18080
    ready 127.0.0.1:18181
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
    forward . {resolv_conf}
    cache 30 {{
        disable success {CLUSTER_DOMAIN}
        disable denial {CLUSTER_DOMAIN}
    }}
    loadbalance
}}
"""


def render_audit_policy() -> str:
    """Return the audit policy: who wrote what to which object and how it ended, never a body.

    Reads are left out, and so are questions that are asked by a create and store nothing:
    what remains tells, write for write, what was accepted.
    """
    reads = {"level": "None", "verbs": ["get", "list", "watch"]}
    questions = {
        "level": "None",
        "resources": [{"group": "authentication.k8s.io"}, {"group": "authorization.k8s.io"}],
    }
    return yaml.safe_dump(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [reads, questions, {"level": "Metadata"}],
        },
        sort_keys=False,
    )


def render_local_path(paths: Paths) -> str:
    """Return the volume provisioner's configuration: volumes live in the state directory."""
    node_paths = [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [str(paths.state / "volumes")]}]
    return json.dumps({"nodePathMap": node_paths})


def find_resolv_conf() -> str:
    """Return the resolver file that pods can use, too: systemd's stub listens on the host only."""
    systemd = Path("/run/systemd/resolve/resolv.conf")
    return str(systemd) if systemd.exists() else "/etc/resolv.conf"


def write_all(paths: Paths, record: Record) -> None:
    """Write every configuration file anew; called by each `up`, so that an upgrade takes effect."""
    resolv_conf = find_resolv_conf()
    server = f"https://{record.node_ip}:{API_SERVER_PORT}"
    config = paths.config
    files = {
        config / "containerd.toml": render_containerd(paths),
        config / "kubelet.yaml": render_kubelet(paths, record, resolv_conf),
        config / "kube-proxy.yaml": render_kube_proxy(paths, record),
        config / "Corefile": render_corefile(record, str(config / "coredns.kubeconfig"), resolv_conf),
        config / "audit-policy.yaml": render_audit_policy(),
        config / "local-path.json": render_local_path(paths),
        config / "helper-pod.yaml": render_helper_pod(),
        config / "prometheus.yaml": prometheus.render_config(prometheus.find_targets(paths)),
        paths.cni / "conf" / "10-perennial.conflist": render_cni(paths, record),
        paths.kubeconfig: render_kubeconfig(paths.pki, "admin", server),
    }
    for name in CLIENTS:
        files[config / f"{name}.kubeconfig"] = render_kubeconfig(paths.pki, name, server)
    for path, text in files.items():
        write_atomically(path, text)
    (paths.state / "volumes").mkdir(exist_ok=True)


def render_helper_pod() -> str:
    """Return the pod that makes and removes a volume's directory; its image is our own tiny one."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "helper-pod"},
            "spec": {
                "priorityClassName": "system-node-critical",
                "containers": [
                    {"name": "helper-pod", "image": PAUSE_IMAGE, "imagePullPolicy": "IfNotPresent"}
                ],
            },
        },
        sort_keys=False,
    )
