"""Where everything lives: one state directory, one cache directory.

The state directory is the cluster; `down` deletes it. The cache holds only what can
be made again (binaries, image archives, wheels) and survives `down`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from perennial_localcluster.errors import PreconditionError

STATE_VARIABLE = "PERENNIAL_CLUSTER_DIR"
PACKAGE_ROOT = Path(__file__).resolve().parent
COMPONENTS_DIR = PACKAGE_ROOT.parent / "components"
BASE_IMAGE_DIR = PACKAGE_ROOT.parent.parent / "images" / "base"
KIND_CONFIG = PACKAGE_ROOT.parent.parent / "kind-config.yaml"

# containerd's socket lies below the state directory; the kernel allows 107 bytes in all.
LONGEST_STATE_PATH = 60


@dataclass(frozen=True)
class Paths:
    """The two directories and the places in them that more than one module uses."""

    state: Path
    cache: Path

    @property
    def record(self) -> Path:
        """What kind of cluster this is, and its addresses: written by `up`, read by all others."""
        return self.state / "cluster.json"

    @property
    def snapshot(self) -> Path:
        """The machine before `up`; `down` restores to it."""
        return self.state / "before.json"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig of a native cluster."""
        return self.state / "kubeconfig"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.state / "pki"

    @property
    def config(self) -> Path:
        """Rendered configuration files, written anew by each `up`."""
        return self.state / "config"

    @property
    def logs(self) -> Path:
        """One log file per component, and the API server's audit log."""
        return self.state / "logs"

    @property
    def audit_log(self) -> Path:
        """Every write that the API server was asked for, one JSON object per line."""
        return self.logs / "audit.log"

    @property
    def pids(self) -> Path:
        """One pid record per component."""
        return self.state / "pids"

    @property
    def run(self) -> Path:
        """Sockets, network namespaces and containerd's running state; worthless after a crash."""
        return self.state / "run"

    @property
    def bin(self) -> Path:
        """Links to this cluster's binaries; goes on PATH."""
        return self.state / "bin"

    @property
    def kubelet(self) -> Path:
        """The kubelet's root: pods' volumes are mounted below it."""
        return self.state / "kubelet"

    @property
    def cni(self) -> Path:
        """CNI configuration and the addresses handed out."""
        return self.state / "cni"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd listens."""
        return self.run / "containerd.sock"

    @property
    def images(self) -> Path:
        """Image archives and build stamps, in the cache."""
        return self.cache / "images"

    @property
    def durations(self) -> Path:
        """How long each step took last time, for the time left."""
        return self.cache / "durations.json"


def find_paths(environment: Mapping[str, str] | None = None, *, is_root: bool | None = None) -> Paths:
    """Return the directories that the environment asks for; every entry point calls this first."""
    env = os.environ if environment is None else environment
    root = os.geteuid() == 0 if is_root is None else is_root
    home = Path(env.get("HOME", "/root"))
    cache = Path(env.get("XDG_CACHE_HOME") or home / ".cache") / "perennial"
    fallback = (
        Path("/var/lib/perennial-localcluster")
        if root
        else Path(env.get("XDG_STATE_HOME") or home / ".local" / "state") / "perennial-localcluster"
    )
    state = Path(env.get(STATE_VARIABLE) or fallback).absolute()
    if len(str(state)) > LONGEST_STATE_PATH:
        raise PreconditionError(
            f"{state} is too long for a directory that holds sockets. "
            f"Set {STATE_VARIABLE} to a path of at most {LONGEST_STATE_PATH} characters."
        )
    return Paths(state=state, cache=cache.absolute())
