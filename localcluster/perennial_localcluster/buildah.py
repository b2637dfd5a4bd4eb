"""Builds images without an engine: buildah with a storage of its own in the cache."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from perennial_localcluster import cleanup, rootfs
from perennial_localcluster.archive import read_image_id
from perennial_localcluster.buildsettings import build_volumes
from perennial_localcluster.errors import CommandError
from perennial_localcluster.paths import BASE_IMAGE_DIR, Paths
from perennial_localcluster.shell import run

BASE_IMAGE = "localhost/perennial/base:1"
# buildah keeps a cache of layer locations here, whatever storage it is given.
SYSTEM_STORAGE = Path("/var/lib/containers")


@contextmanager
def opened(paths: Paths) -> Iterator[None]:
    """Hold the image storage for one build; another build waits. Leaves no mount behind."""
    storage = paths.cache / "buildah"
    storage.mkdir(parents=True, exist_ok=True)
    with (paths.cache / "lock-images").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        had_system_storage = SYSTEM_STORAGE.exists()
        try:
            yield
        finally:
            # buildah binds its storage to itself and leaves that to the machine's shutdown.
            cleanup.unmount_below(storage)
            if not had_system_storage:
                shutil.rmtree(SYSTEM_STORAGE, ignore_errors=True)


def run_buildah(paths: Paths, *arguments: str, timeout_s: float = 3600) -> str:
    """Run buildah on our own storage."""
    storage = paths.cache / "buildah"
    temporary = paths.cache / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    common = ["--root", str(storage / "root"), "--runroot", str(storage / "run")]
    return run(["buildah", *common, *arguments], env={"TMPDIR": str(temporary)}, timeout_s=timeout_s)


def find_id(paths: Paths, name: str) -> str | None:
    """Return an image's id in the storage, or None."""
    with contextlib.suppress(CommandError):
        lines = run_buildah(paths, "images", "--no-trunc", "--quiet", name).split()
        return lines[0] if lines else None
    return None


def build(
    paths: Paths,
    name: str,
    context: Path,
    *,
    containerfile: Path,
    args: Mapping[str, str],
    volumes: Sequence[str],
) -> None:
    """Build an image; unchanged instructions come from the layer cache."""
    command = [
        "bud",
        "--isolation",
        "chroot",
        "--layers",
        "--pull-never",
        "-t",
        name,
        "-f",
        str(containerfile),
    ]
    for key, value in args.items():
        command += ["--build-arg", f"{key}={value}"]
    for volume in [*build_volumes(paths.cache), *volumes]:
        command += ["--volume", volume]
    run_buildah(paths, *command, str(context))


def push(paths: Paths, name: str, archive: Path) -> None:
    """Write an image as a docker-archive (an oci-archive would lose its name)."""
    unfinished = archive.with_name(archive.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    run_buildah(paths, "push", "--quiet", name, f"docker-archive:{unfinished}:{name}")
    unfinished.replace(archive)


def ensure_base(paths: Paths) -> str:
    """Make the base image unless it is there, and return its archive's image id."""
    return ensure_debian(paths, BASE_IMAGE, BASE_IMAGE_DIR)


def ensure_debian(paths: Paths, name: str, folder: Path) -> str:
    """Make an image of the folder's Debian packages unless it is there, and return its archive's image id."""
    archive = rootfs.find_archive(paths, name, folder)
    if not archive.exists():
        rootfs.make(archive, name, folder)
    mark = paths.images / f"{rootfs.find_stem(name)}.imported"
    image_id = read_image_id(archive)
    if find_id(paths, name) is None or not mark.exists() or mark.read_text() != image_id:
        run_buildah(paths, "pull", "--quiet", f"docker-archive:{archive}")
        mark.write_text(image_id)
    return image_id
