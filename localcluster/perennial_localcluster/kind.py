"""kind, for machines where a Docker engine answers; and clusters that somebody gave us."""

from __future__ import annotations

import shutil
from pathlib import Path

from perennial_localcluster.api import ApiClient
from perennial_localcluster.errors import PreconditionError
from perennial_localcluster.paths import KIND_CONFIG, Paths
from perennial_localcluster.record import Record, save_record
from perennial_localcluster.shell import run, succeeds

CLUSTER_NAME = "perennial"


def has_docker() -> bool:
    """Whether a Docker engine answers."""
    return bool(shutil.which("docker")) and succeeds(["docker", "info"])


def is_usable() -> bool:
    """Whether `up` should use kind: both the engine and the program are there."""
    return bool(shutil.which("kind")) and has_docker()


def up(paths: Paths) -> None:
    """Create the kind cluster, or start using the one that is there."""
    if CLUSTER_NAME not in run(["kind", "get", "clusters"]).split():
        run(
            [
                "kind",
                "create",
                "cluster",
                "--name",
                CLUSTER_NAME,
                "--config",
                str(KIND_CONFIG),
                "--wait",
                "120s",
            ]
        )
    paths.state.mkdir(parents=True, exist_ok=True)
    run(["kind", "export", "kubeconfig", "--name", CLUSTER_NAME, "--kubeconfig", str(paths.kubeconfig)])
    save_record(paths, Record("kind", str(paths.kubeconfig), f"{CLUSTER_NAME}-control-plane"))


def down(paths: Paths) -> None:
    """Delete the kind cluster and what we remember of it."""
    run(["kind", "delete", "cluster", "--name", CLUSTER_NAME])
    shutil.rmtree(paths.state, ignore_errors=True)


def load(name: str) -> None:
    """Copy an image from the Docker engine into the kind node."""
    run(["kind", "load", "docker-image", name, "--name", CLUSTER_NAME])


def use_given(paths: Paths, kubeconfig: Path) -> None:
    """Remember somebody's cluster after checking that it answers; `down` will not touch it."""
    if not ApiClient(kubeconfig).is_ready():
        raise PreconditionError(
            f"The cluster of {kubeconfig} does not say that it is ready. "
            f"Try `kubectl --kubeconfig {kubeconfig} get --raw /readyz`, then run again."
        )
    save_record(paths, Record("given", str(kubeconfig.absolute())))
