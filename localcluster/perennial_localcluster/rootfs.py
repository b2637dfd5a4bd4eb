"""Makes images of Debian packages and nothing else: mmdebstrap needs no registry to pull from.

Such an image is a folder with two files: ``packages.txt`` names what it holds, ``setup.sh`` finishes the root file
system whose path it is given.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from perennial_localcluster.archive import ImageConfig, write_archive
from perennial_localcluster.errors import PreconditionError
from perennial_localcluster.paths import Paths
from perennial_localcluster.shell import run

DEBIAN_RELEASE = "bookworm"
ENV = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]


def find_archive(paths: Paths, name: str, folder: Path) -> Path:
    """Return where the image's archive is or will be: a new package list is a new archive."""
    if not folder.is_dir():
        raise PreconditionError(f"{folder} is missing: images are built from a checkout of the repository.")
    content = b"".join((folder / file).read_bytes() for file in ("packages.txt", "setup.sh"))
    return paths.images / f"{find_stem(name)}-{hashlib.sha256(content).hexdigest()[:16]}.tar"


def find_stem(name: str) -> str:
    """Return how the image's files in the cache begin.

    Examples
    --------
    >>> find_stem("localhost/perennial/base:1")
    'base'
    """
    return name.rpartition("/")[2].partition(":")[0]


def make(archive: Path, name: str, folder: Path) -> None:
    """Install the folder's packages into an empty root and write that as an image."""
    packages = (folder / "packages.txt").read_text().split()
    hook = f"sh '{folder / 'setup.sh'}' \"$1\""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as work:
        layer = Path(work) / "root.tar"
        command = ["mmdebstrap", "--variant=minbase", "--mode=root", f"--include={','.join(packages)}"]
        run([*command, f"--customize-hook={hook}", DEBIAN_RELEASE, str(layer), *_find_sources()])
        write_archive(archive, name, layer, ImageConfig(env=ENV))


def _find_sources() -> list[str]:
    """Return this machine's Debian sources if they are of the right release, else none: the default mirror."""
    release = Path("/etc/os-release")
    if not release.exists() or f"VERSION_CODENAME={DEBIAN_RELEASE}" not in release.read_text():
        return []
    candidates = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d/debian.sources"))
    return [str(path) for path in candidates if path.exists() and path.stat().st_size][:1]
