"""Writes a docker-archive by hand: one layer, a config, a manifest.

Our own images are a program on nothing, or a Debian root file system: neither needs an
image builder, and this takes a fraction of its time.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# The kernel's names of machines, in the spelling of container images.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class ImageConfig:
    """What an image says about how to run it."""

    entrypoint: list[str] = field(default_factory=list)
    env: list[str] = field(default_factory=list)
    user: str = ""


def build_layer(files: Mapping[str, bytes]) -> bytes:
    """Return a layer with executable files and their folders; the same input gives the same bytes. Pure."""
    buffer = io.BytesIO()
    folders: set[str] = set()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in sorted(files.items()):
            for parent in reversed(Path(name).parents[:-1]):
                if str(parent) not in folders:
                    folders.add(str(parent))
                    folder = tarfile.TarInfo(str(parent))
                    folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(folder)
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def write_archive(target: Path, name: str, layer: Path, config: ImageConfig) -> None:
    """Write an archive of one uncompressed layer that `ctr images import` and buildah read."""
    with layer.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    image = json.dumps(
        {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Entrypoint": config.entrypoint, "Env": config.env, "User": config.user},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "perennial-localcluster"}],
        },
        sort_keys=True,
    ).encode()
    config_name = f"{hashlib.sha256(image).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [f"{digest}.tar"]}]
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + ".unfinished")
    with tarfile.open(unfinished, mode="w") as tar:
        _add(tar, config_name, image)
        tar.add(layer, f"{digest}.tar", recursive=False)
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    unfinished.replace(target)


def read_image_id(archive: Path) -> str:
    """Return the image id (the config's digest) that a docker-archive holds."""
    with tarfile.open(archive) as tar:
        file = tar.extractfile("manifest.json")
        if file is None:
            raise tarfile.ReadError(f"{archive} has no manifest.json")
        config = str(json.load(file)[0]["Config"])
    return "sha256:" + config.removesuffix(".json").removeprefix("blobs/sha256/")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    tar.addfile(entry, io.BytesIO(content))
