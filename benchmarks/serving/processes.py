"""Processes pinned to one core, with all that they start: begun, found ready, weighed, ended."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

READY_TIMEOUT_S = 120
END_TIMEOUT_S = 15


class CannotStart(Exception):
    """A server that didn't get ready, with the end of what it printed."""


@dataclass(frozen=True)
class Command:
    """How a server is started.

    Parameters
    ----------
    arguments, environment, directory
        Of the process; the environment comes on top of a clean one.
    ready
        Path that answers 200 once it is ready; empty: it is when its port takes connections.
    """

    arguments: list[str]
    environment: dict[str, str]
    directory: Path
    ready: str
    unset: tuple[str, ...] = field(default=("PYTHONPATH", "VIRTUAL_ENV"))


@cache
def cores() -> tuple[int, int]:
    """Return the server's core and the client's: the same one where there is only one.

    Kept from the first call: the client itself is bound to its core later.
    """
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[-1], allowed[0]


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def running(command: Command, port: int, core: int, output: Path) -> Iterator[int]:
    """Run a server on one core until the end of the block; yield its process id.

    Raises
    ------
    CannotStart
        It ended, or wasn't ready in time.
    """
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in command.unset and not name.startswith(("PERENNIAL_", "MLSERVER_", "BENTOML_"))
    }
    # One core has no use for more threads, and OpenBLAS counts the machine's.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with output.open("w") as file:
        process = subprocess.Popen(
            command.arguments,
            env=clean | threads | command.environment,
            cwd=command.directory,
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509  no thread of ours is running
        )
    try:
        _wait_ready(process, port, command.ready, output)
        yield process.pid
    finally:
        _end(process)


def _wait_ready(process: subprocess.Popen[bytes], port: int, path: str, output: Path) -> None:
    end = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise CannotStart(f"ended with {process.returncode}: {_tail(output)}")
        if _is_ready(port, path):
            return
        time.sleep(0.1)
    raise CannotStart(f"wasn't ready after {READY_TIMEOUT_S} s: {_tail(output)}")


def _is_ready(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.connect()
        if not path:
            return True
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _tail(output: Path) -> str:
    return " | ".join(output.read_text(errors="replace").splitlines()[-5:])[-800:]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it started: they are a session of their own."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sig)
        except ProcessLookupError:
            break
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue
        if sig == signal.SIGTERM:
            continue  # the leader is gone; its children may linger


def tree(pid: int) -> list[int]:
    """Return a process and its descendants."""
    found = [pid]
    for parent in found:
        try:
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found += [int(child) for child in children.read_text().split()]
        except OSError:
            continue
    return found


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process and its descendants have taken, in seconds."""
    ticks = 0
    for member in tree(pid):
        try:
            # The name, in brackets, may hold anything; what follows it are numbers.
            numbers = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(numbers[11]) + int(numbers[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int) -> float:
    """Return what a process and its descendants hold in memory, pages that they share counted once, in MiB."""
    total_kib = 0
    for member in tree(pid):
        try:
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total_kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total_kib / 1024
