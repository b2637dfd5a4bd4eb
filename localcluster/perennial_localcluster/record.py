"""What `up` decided and every other command needs to know, kept in one JSON file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from perennial_localcluster.errors import NotRunningError
from perennial_localcluster.paths import Paths

Backend = Literal["native", "kind", "given"]


@dataclass(frozen=True)
class Record:
    """A cluster's kind and addresses.

    ``node_ip`` is the node's address on our bridge, at which pods and the host reach
    the API server; a pod's gateway is the same address. ``addons`` are the optional services
    that `up --with` asked for.
    """

    backend: Backend
    kubeconfig: str
    node_name: str = ""
    node_ip: str = ""
    pod_cidr: str = ""
    service_cidr: str = ""
    mtu: int = 1500
    addons: tuple[str, ...] = ()

    @property
    def dns_ip(self) -> str:
        """The cluster DNS Service: the tenth address of the Service range, as everywhere."""
        return self.service_cidr.split("/")[0].rsplit(".", 1)[0] + ".10"

    @property
    def kubernetes_service_ip(self) -> str:
        """The first Service address, which the API server takes for itself."""
        return self.service_cidr.split("/")[0].rsplit(".", 1)[0] + ".1"


def write_atomically(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write a file so that a kill in the middle leaves the old one or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    temporary.chmod(mode)
    os.replace(temporary, path)  # noqa: PTH105 - the same call, and its atomicity is the point


def save_record(paths: Paths, record: Record) -> None:
    """Remember the cluster; called by `up`."""
    write_atomically(paths.record, json.dumps(asdict(record), indent=1))


def find_record(paths: Paths) -> Record | None:
    """Return the remembered cluster, or None if there is none."""
    try:
        content = json.loads(paths.record.read_text())
        return Record(**{**content, "addons": tuple(content.get("addons", ()))})
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def load_record(paths: Paths) -> Record:
    """Return the remembered cluster; every command but `up` and `down` needs one."""
    record = find_record(paths)
    if record is None:
        raise NotRunningError(f"There is no cluster in {paths.state}. Run `perennial-localcluster up` first.")
    return record
