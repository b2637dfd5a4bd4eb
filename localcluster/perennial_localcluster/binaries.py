"""Builds the cluster's binaries from pinned Go modules, once per content of the pins."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from perennial_localcluster.errors import PreconditionError
from perennial_localcluster.golang import find_go, parse_go_version
from perennial_localcluster.paths import COMPONENTS_DIR, Paths
from perennial_localcluster.progress import Step
from perennial_localcluster.shell import run

KUBERNETES_VERSION = "v1.34.4"
_VERSION_FLAGS = " ".join(
    f"-X {package}.gitVersion={KUBERNETES_VERSION} -X {package}.gitMajor=1 -X {package}.gitMinor=34"
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
)
HELM_VERSION = "v3.19.5"
# `helm template` renders for this Kubernetes; without it, for 1.20, which charts may refuse.
_HELM_FLAGS = (
    f"-X helm.sh/helm/v3/internal/version.version={HELM_VERSION} "
    "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=34"
)


@dataclass(frozen=True)
class Binary:
    """One program: the module folder that pins it, its package, its build time on two cores."""

    name: str
    module: str
    package: str
    weight_s: float
    ldflags: str = "-s -w"


def _kubernetes(name: str, weight_s: float) -> Binary:
    return Binary(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", weight_s, f"-s -w {_VERSION_FLAGS}")


# The API server comes first: it compiles most of what the others share.
BINARIES = (
    _kubernetes("kube-apiserver", 237),
    _kubernetes("kube-controller-manager", 63),
    _kubernetes("kube-scheduler", 8),
    _kubernetes("kubelet", 28),
    _kubernetes("kube-proxy", 9),
    _kubernetes("kubectl", 38),
    Binary("pause", "pause", ".", 1),
    Binary("etcd", "etcd", "go.etcd.io/etcd/server/v3", 22),
    Binary(
        "local-path-provisioner", "local-path-provisioner", "github.com/rancher/local-path-provisioner", 8
    ),
    Binary("coredns", "coredns", ".", 70),
    Binary("metrics-server", "metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server", 147),
    Binary("helm", "helm", "helm.sh/helm/v3/cmd/helm", 70, f"-s -w {_HELM_FLAGS}"),
)

# What a person or a test calls by name; these are needed with every backend.
CLIENT_TOOLS = ("kubectl", "helm")


def compute_key(binary: Binary, module_dir: Path) -> str:
    """Return a hash of everything committed that decides what the binary becomes."""
    digest = hashlib.sha256(f"{binary.package} {binary.ldflags}".encode())
    for file in sorted(module_dir.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def find_cached(binary: Binary, paths: Paths) -> Path:
    """Return where the finished binary is or will be in the cache."""
    module_dir = COMPONENTS_DIR / binary.module
    if not module_dir.is_dir():
        raise PreconditionError(
            f"{module_dir} is missing: the cluster is built from a checkout of the repository. "
            "Clone it, then install this package from there."
        )
    return paths.cache / "bin" / compute_key(binary, module_dir) / binary.name


def build_steps(paths: Paths, names: Sequence[str] = ()) -> list[Step]:
    """Return one step per binary that is not in the cache yet; called by `up`."""
    wanted = [binary for binary in BINARIES if not names or binary.name in names]
    missing = [binary for binary in wanted if not find_cached(binary, paths).exists()]
    return [
        Step(f"build {binary.name}", binary.weight_s, lambda binary=binary: build(binary, paths))  # type: ignore[misc]
        for binary in missing
    ]


def build(binary: Binary, paths: Paths) -> None:
    """Compile one binary into the cache; a build that is interrupted leaves nothing there.

    One at a time, whoever builds: a second caller waits and finds it done.
    """
    with _only_one(paths):
        target = find_cached(binary, paths)
        if not target.exists():
            _compile(binary, target, paths)


@contextmanager
def _only_one(paths: Paths) -> Iterator[None]:
    """Wait until nobody else builds; the kernel frees the lock of a killed one."""
    paths.cache.mkdir(parents=True, exist_ok=True)
    with (paths.cache / "build.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _compile(binary: Binary, target: Path, paths: Paths) -> None:
    module_dir = COMPONENTS_DIR / binary.module
    go = find_go(parse_go_version((module_dir / "go.mod").read_text()), paths.cache)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + ".unfinished")
    command = [str(go), "build", "-trimpath", "-buildvcs=false", "-mod=readonly"]
    run(
        [*command, "-ldflags", binary.ldflags, "-o", str(unfinished), binary.package],
        cwd=module_dir,
        env={"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"},
    )
    unfinished.replace(target)


def link_binaries(paths: Paths, names: Sequence[str] = ()) -> None:
    """Link the binaries into the state directory's ``bin``, which goes on PATH; right links stay untouched."""
    paths.bin.mkdir(parents=True, exist_ok=True)
    for binary in BINARIES:
        link, target = paths.bin / binary.name, find_cached(binary, paths)
        if (not names or binary.name in names) and not (link.is_symlink() and link.readlink() == target):
            link.unlink(missing_ok=True)
            link.symlink_to(target)
