"""The optional Prometheus: Debian's program on the host, which scrapes annotated pods.

The package is fetched and unpacked into the cache, not installed: an installation
would start a service, add a user, and survive `down`. Debian leaves the discovery of pods
out of the program, so a process of our own writes the file of targets.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import yaml

from perennial_localcluster.errors import CommandError, PreconditionError
from perennial_localcluster.manifests import CORE_READ, Placed, build_host_service, build_rights
from perennial_localcluster.paths import Paths
from perennial_localcluster.record import Record
from perennial_localcluster.shell import run

NAMESPACE = "perennial-monitoring"
NAME = "prometheus"
USER = "system:prometheus"
PORT = 9090
# Short, since rollouts in tests take a minute.
SCRAPE_INTERVAL = "5s"


def find_cached(paths: Paths) -> Path:
    """Return where the program is or will be in the cache."""
    return paths.cache / "debian" / NAME


def fetch(paths: Paths) -> None:
    """Get the program out of Debian's package into the cache; called by `up --with prometheus`.

    Raises
    ------
    PreconditionError
        If this machine has no apt-get, or the package cannot be had.
    """
    if not shutil.which("apt-get"):
        raise PreconditionError(
            f"Prometheus comes from Debian's package, and there is no apt-get. "
            f"Put the program at {find_cached(paths)}, then run again."
        )
    target = find_cached(paths)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        folder = Path(name)
        try:
            run(["apt-get", "update", "-qq"])
            run(["apt-get", "download", "-qq", NAME], cwd=folder)
            package = next(folder.glob(f"{NAME}_*.deb"))
            run(["dpkg-deb", "--extract", str(package), str(folder / "root")])
        except CommandError as error:
            raise PreconditionError(
                f"Debian's package {NAME} could not be fetched. Try `apt-get download {NAME}`, then run again."
                f"\n{error}"
            ) from error
        (folder / "root" / "usr" / "bin" / NAME).replace(target)


def find_targets(paths: Paths) -> Path:
    """Return the file that tells Prometheus what to scrape."""
    return paths.state / "prometheus-targets.json"


def build_url(record: Record) -> str:
    """Return Prometheus's address as the host reaches it."""
    return f"http://{record.node_ip}:{PORT}"


def build_objects(record: Record) -> list[Placed]:
    """Return what makes it known to pods as ``http://prometheus.perennial-monitoring:9090``, and its rights."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    port = {"name": "http", "port": PORT, "protocol": "TCP", "targetPort": PORT}
    return [
        (f"/api/v1/namespaces/{NAMESPACE}", namespace),
        *build_host_service(NAMESPACE, NAME, record.node_ip, [port]),
        *build_rights(USER, [{"apiGroups": [""], "resources": ["pods"], "verbs": CORE_READ}]),
    ]


def render_config(targets: Path) -> str:
    """Return Prometheus's configuration: it scrapes what stands in the file of targets."""
    pods = {
        "job_name": "pods",
        "file_sd_configs": [{"files": [str(targets)], "refresh_interval": SCRAPE_INTERVAL}],
    }
    config = {
        "global": {"scrape_interval": SCRAPE_INTERVAL, "evaluation_interval": SCRAPE_INTERVAL},
        "scrape_configs": [pods],
    }
    return yaml.safe_dump(config, sort_keys=False)
