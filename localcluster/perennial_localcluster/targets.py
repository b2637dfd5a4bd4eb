"""Tells Prometheus which pods to scrape: `python -m perennial_localcluster.targets KUBECONFIG FILE`.

A process of its own, started beside Prometheus by `up --with prometheus`. It lists the
pods every few seconds and writes the file of targets when they changed.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from perennial_localcluster.api import ApiClient
from perennial_localcluster.errors import LocalClusterError
from perennial_localcluster.record import write_atomically

ANNOTATION = "prometheus.io"
INTERVAL_S = 3.0
# From the API server's cache, which is good enough and costs it nothing.
PODS_PATH = "/api/v1/pods?resourceVersion=0&fieldSelector=status.phase%3DRunning"


def build_targets(pods: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one target per pod that asks for it by annotations, with the pod's labels. Pure."""
    found = (_build_target(pod) for pod in pods)
    return sorted((target for target in found if target), key=lambda target: str(target["targets"]))


def _build_target(pod: dict[str, Any]) -> dict[str, Any] | None:
    metadata, address = pod["metadata"], pod.get("status", {}).get("podIP")
    annotations = metadata.get("annotations") or {}
    port = annotations.get(f"{ANNOTATION}/port") or _find_port(pod)
    if annotations.get(f"{ANNOTATION}/scrape") != "true" or not address or not port:
        return None
    labels = {re.sub(r"[^A-Za-z0-9_]", "_", name): text for name, text in metadata.get("labels", {}).items()}
    return {
        "targets": [f"{address}:{port}"],
        "labels": {
            **labels,
            "__metrics_path__": annotations.get(f"{ANNOTATION}/path", "/metrics"),
            "namespace": metadata["namespace"],
            "pod": metadata["name"],
        },
    }


def _find_port(pod: dict[str, Any]) -> int | None:
    """Return the first port that the pod declares."""
    declared = (port for container in pod["spec"]["containers"] for port in container.get("ports") or [])
    return next((int(port["containerPort"]) for port in declared), None)


def main(kubeconfig: Path, file: Path) -> None:
    """Write the file again and again until ended; while the API server is away the old one stays."""
    client = ApiClient(kubeconfig)
    written = ""
    while True:
        try:
            text = json.dumps(build_targets(client.request("GET", PODS_PATH)["items"]), indent=1)
        except LocalClusterError as error:
            print(error, file=sys.stderr, flush=True)
        else:
            if text != written:
                write_atomically(file, text)
                written = text
        time.sleep(INTERVAL_S)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
