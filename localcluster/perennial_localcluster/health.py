"""Asks components whether they are healthy, and waits until they are."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from perennial_localcluster import processes
from perennial_localcluster.errors import StartError
from perennial_localcluster.paths import Paths
from perennial_localcluster.services import Service

START_PATIENCE_S = 90.0


def is_healthy(service: Service, authority: Path) -> bool:
    """Whether a component answers that it is well; an empty ``health`` asks nothing."""
    if service.health.startswith("unix:"):
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
            client.settimeout(2)
            client.connect(service.health.removeprefix("unix:"))
            return True
        return False
    return not service.health or _answers(service.health, authority)


def _answers(url: str, authority: Path) -> bool:
    try:
        tls = ssl.create_default_context(cafile=str(authority)) if url.startswith("https") else None
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if tls:
            handlers.append(urllib.request.HTTPSHandler(context=tls))
        with urllib.request.build_opener(*handlers).open(url, timeout=2) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (OSError, ValueError, urllib.error.URLError):
        return False


def wait_until_healthy(service: Service, paths: Paths) -> None:
    """Wait for one component.

    Raises
    ------
    StartError
        As soon as its process ends, or after a minute and a half.
    """
    deadline = time.monotonic() + START_PATIENCE_S
    while True:
        # The process first: somebody else's at the same address must not pass for ours.
        if processes.find(service.name, pids=paths.pids) is None:
            raise _describe(service, paths, "ended")
        if is_healthy(service, paths.pki / "ca.crt"):
            return
        if time.monotonic() > deadline:
            raise _describe(service, paths, f"was not healthy after {START_PATIENCE_S:.0f} s")
        time.sleep(0.1)


def wait_for(what: str, condition: Callable[[], bool], paths: Paths, log_of: str) -> None:
    """Wait for a condition that a component brings about; its log explains a failure."""
    deadline = time.monotonic() + START_PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            log = paths.logs / f"{log_of}.log"
            raise StartError(log_of, f"did not bring about: {what}", str(log), read_tail(log))
        time.sleep(0.1)


def _describe(service: Service, paths: Paths, problem: str) -> StartError:
    log = paths.logs / f"{service.name}.log"
    return StartError(service.name, problem, str(log), read_tail(log))


def read_tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log file."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no log)"
