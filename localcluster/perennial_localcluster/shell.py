"""Runs external commands and turns their failures into :class:`CommandError`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from perennial_localcluster.errors import CommandError

# Debian keeps iptables and friends here, and a non-login shell may not look there.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def build_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment with the system directories on PATH; used for every child."""
    environment = dict(os.environ)
    environment["PATH"] = f"{environment.get('PATH', '')}:{SYSTEM_PATH}".lstrip(":")
    environment.update(extra or {})
    return environment


def run(
    command: list[str],
    *,
    input_text: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float = 1800,
) -> str:
    """Run a command to its end and return its standard output.

    Raises
    ------
    CommandError
        If it cannot be started, fails, or runs longer than ``timeout_s``.
    """
    try:
        done = subprocess.run(
            command,
            input=input_text,
            env=build_environment(env),
            cwd=cwd,
            timeout=timeout_s,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandError(command, -1, f"{error.filename or command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(command, -1, f"still running after {timeout_s:.0f} s") from error
    if done.returncode != 0:
        raise CommandError(command, done.returncode, done.stderr or done.stdout)
    return done.stdout


def succeeds(command: list[str]) -> bool:
    """Whether a command exists and ends with status 0; for questions such as "is this rule there?"."""
    try:
        run(command, timeout_s=60)
    except CommandError:
        return False
    return True
