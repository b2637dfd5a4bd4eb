"""Installs the Debian packages that the native cluster needs, and leaves no service running."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from perennial_localcluster.errors import CommandError, PreconditionError
from perennial_localcluster.shell import SYSTEM_PATH, build_environment, run

# Package -> a file or command that proves it is there.
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "iproute2": "ip",
    "iptables": "iptables-save",
    "conntrack": "conntrack",
    "mmdebstrap": "mmdebstrap",
    "buildah": "buildah",
    "ethtool": "ethtool",
    "socat": "socat",
    "ipset": "ipset",
}


def find_missing() -> list[str]:
    """Return the packages whose command or file is not there."""
    search_path = build_environment()["PATH"] + ":" + SYSTEM_PATH
    return [package for package, proof in PACKAGES.items() if not shutil.which(proof, path=search_path)]


def install(packages: Sequence[str]) -> None:
    """Install Debian packages, or say which ones somebody has to install by hand.

    Raises
    ------
    PreconditionError
        If that isn't possible here.
    """
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        run(["apt-get", "update", "-qq"], env=quiet)
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], env=quiet)
    except CommandError as error:
        raise PreconditionError(
            f"apt-get could not install {' '.join(packages)}. Install them by hand, then run again.\n{error}"
        ) from error


def install_missing() -> None:
    """Install what is missing; called by `up` before anything starts.

    Debian starts containerd on installation. Our cluster runs its own, so the
    service goes back to what it was: stopped and disabled if the package was not there.
    """
    missing = find_missing()
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise PreconditionError(
            f"These programs are missing: {', '.join(PACKAGES[name] for name in missing)}. "
            "Install them with this system's package manager; only Debian's apt-get is known here."
        )
    install(missing)
    if "containerd" in missing and Path("/run/systemd/system").exists():
        run(["systemctl", "disable", "--now", "containerd"])
