"""An environment of its own for each peer, made once per requirement file, outside of the repository.

`peers/NAME.txt` is written from `peers/NAME.in` by ``uv pip compile --no-header --no-annotate --generate-hashes
--python-version 3.11 NAME.in -o NAME.txt``.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

INSTALL_TIMEOUT_S = 900


class CannotInstall(Exception):
    """A peer can't be had on this machine."""


def cache_directory() -> Path:
    """Return the project's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perennial"


def find_uv() -> str:
    """Find the uv of the machine, or the one that scripts/bootstrap fetched."""
    return shutil.which("uv") or str(cache_directory() / "tools" / "bin" / "uv")


def environment(requirements: Path) -> Path:
    """Return the directory of a requirement file's environment; make it if it isn't there.

    It is built beside its place and moved there whole, so that a build cut short is never taken for one.

    Raises
    ------
    CannotInstall
        With the installer's last lines.
    """
    name = requirements.stem
    key = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:16]
    base = cache_directory() / "bench-venv"
    target = base / f"{name}-{key}"
    if target.exists():
        return target
    base.mkdir(parents=True, exist_ok=True)
    print(f"  making the environment of {name} …", flush=True)
    with tempfile.TemporaryDirectory(dir=base, prefix=".building-") as directory:
        building = Path(directory) / "venv"
        _run(name, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(building))
        _run(name, "pip", "install", "--quiet", "--python", str(building / "bin" / "python"),
             "--require-hashes", "--no-deps", "-r", str(requirements))  # fmt: skip
        try:
            building.rename(target)
        except OSError:
            if not target.exists():  # else another run was first
                raise
    return target


def installed(python: Path, *packages: str) -> dict[str, str]:
    """Return the versions of packages in an environment."""
    code = "import importlib.metadata as m, sys; [print(p, m.version(p)) for p in sys.argv[1:]]"
    answer = subprocess.run(
        [python, "-c", code, *packages], capture_output=True, text=True, check=True, timeout=60
    )
    return dict(line.split() for line in answer.stdout.splitlines())


def _run(name: str, *arguments: str) -> None:
    try:
        answer = subprocess.run(
            [find_uv(), *arguments], capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotInstall(f"{name}: {error}") from error
    if answer.returncode:
        raise CannotInstall(f"{name}: {' '.join(answer.stderr.split())[-400:]}")
