"""The kernel settings that the cluster changes, and how they get back."""

from __future__ import annotations

import contextlib
from pathlib import Path

# Ours, the kubelet's and the network plugins'. Restored in this order: ip_forward resets others.
CHANGED = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
    "fs/inotify/max_user_instances",
    "fs/inotify/max_user_watches",
)
# Each kubelet, containerd and Envoy pod takes inotify instances; 128 for root is soon used up.
LEAST = {"fs/inotify/max_user_instances": 8192, "fs/inotify/max_user_watches": 524288}

ROOT = Path("/proc/sys")


def read_all() -> dict[str, str]:
    """Return the present values of all settings the cluster may change."""
    values = {}
    for name in CHANGED:
        with contextlib.suppress(FileNotFoundError):
            values[name] = (ROOT / name).read_text().strip()
    return values


def apply() -> None:
    """Set what pods need; called by `up`."""
    (ROOT / "net/ipv4/ip_forward").write_text("1")
    for name, least in LEAST.items():
        path = ROOT / name
        if path.exists() and int(path.read_text()) < least:
            path.write_text(str(least))


def restore(before: dict[str, str]) -> None:
    """Write back every value that differs; called by `down`."""
    for name, value in before.items():
        path = ROOT / name
        with contextlib.suppress(OSError):
            if path.read_text().strip() != value:
                path.write_text(value)
