"""Talks to the cluster's containerd: imports image archives and lists image ids."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from perennial_localcluster.archive import ImageConfig, build_layer, read_image_id, write_archive
from perennial_localcluster.binaries import BINARIES, find_cached
from perennial_localcluster.configs import PAUSE_IMAGE
from perennial_localcluster.errors import CommandError
from perennial_localcluster.paths import Paths
from perennial_localcluster.shell import run

# Kubernetes looks for images only in this namespace of containerd.
NAMESPACE = "k8s.io"


def run_ctr(paths: Paths, *arguments: str) -> str:
    """Run containerd's own client against our socket."""
    return run(["ctr", "-a", str(paths.containerd_socket), "-n", NAMESPACE, *arguments])


def list_images(paths: Paths) -> dict[str, str]:
    """Return image name -> digest of its manifest."""
    found = {}
    for line in run_ctr(paths, "images", "list").splitlines()[1:]:
        # REF TYPE DIGEST SIZE PLATFORMS LABELS
        name, _, digest, *_ = [*line.split(), "", "", ""]
        found[name] = digest
    return found


def import_archive(paths: Paths, archive: Path) -> None:
    """Load a docker-archive into the cluster."""
    run_ctr(paths, "images", "import", str(archive))


def find_image_id(paths: Paths, name: str) -> str | None:
    """Return the id of an image in the cluster (its config's digest), or None if it is not there."""
    target = list_images(paths).get(name)
    if target is None:
        return None
    try:
        manifest = json.loads(run_ctr(paths, "content", "get", target))
    except (CommandError, json.JSONDecodeError):
        return None
    return str(manifest.get("config", {}).get("digest", "")) or None


def load_pause_image(paths: Paths) -> None:
    """Make and load the tiny image of the sandbox and of the volume helper; called by `up`."""
    archive = _find_pause_archive(paths)
    if find_image_id(paths, PAUSE_IMAGE) != read_image_id(archive):
        import_archive(paths, archive)


def _find_pause_archive(paths: Paths) -> Path:
    binary = next(binary for binary in BINARIES if binary.name == "pause")
    program = find_cached(binary, paths)
    archive = program.with_name("pause.tar")
    if not archive.exists():
        content = program.read_bytes()
        with tempfile.NamedTemporaryFile(suffix=".tar") as layer:
            layer.write(build_layer({"pause": content, "bin/sh": content}))
            layer.flush()
            write_archive(archive, PAUSE_IMAGE, Path(layer.name), ImageConfig(entrypoint=["/pause"]))
    return archive
