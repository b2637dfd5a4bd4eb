"""Starts components detached, and ends only processes that are provably ours.

A pid alone proves nothing: after a crash or a reboot the number may belong to
somebody else. So a record holds the boot id and the process's start time too.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from perennial_localcluster.record import write_atomically
from perennial_localcluster.shell import build_environment

PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessRecord:
    """A process's identity; ``start_ticks`` is field 22 of /proc/PID/stat."""

    name: str
    pid: int
    start_ticks: int
    boot_id: str
    command: list[str]


def parse_start_ticks(stat: str) -> int:
    """Return field 22 of a /proc/PID/stat line; the name in field 2 may hold spaces and brackets."""
    return int(stat[stat.rindex(")") + 2 :].split()[19])


def parse_state(stat: str) -> str:
    """Return field 3 of a /proc/PID/stat line: Z is a zombie, which is as good as gone."""
    return stat[stat.rindex(")") + 2 :].split(maxsplit=1)[0]


def observe_boot_id() -> str:
    """Return the kernel's id of this boot."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def is_ours(record: ProcessRecord, *, boot_id: str, stat: str | None, command_line: str) -> bool:
    """Whether the process now at the recorded pid is the one that we started.

    Pure; ``stat`` is None where no such process exists.
    """
    if stat is None or boot_id != record.boot_id or parse_state(stat) == "Z":
        return False
    program = Path(record.command[0]).name
    # While the kernel replaces a fresh child's image, its command line is empty for a moment.
    return parse_start_ticks(stat) == record.start_ticks and (not command_line or program in command_line)


def is_alive(record: ProcessRecord) -> bool:
    """Whether a recorded process still runs."""
    try:
        stat = (PROC / str(record.pid) / "stat").read_text()
        command_line = read_command_line(record.pid)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return is_ours(record, boot_id=observe_boot_id(), stat=stat, command_line=command_line)


def read_command_line(pid: int) -> str:
    """Return a process's command line with spaces between the words; empty for a kernel thread."""
    return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def list_processes() -> Iterator[tuple[int, str]]:
    """Yield (pid, command line) of every process that is not a kernel thread or a zombie."""
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                command_line = read_command_line(int(entry.name))
                if command_line:
                    yield int(entry.name), command_line


def start(
    name: str, command: list[str], *, pids: Path, logs: Path, env: dict[str, str] | None = None
) -> ProcessRecord:
    """Start a component in a session of its own, with a log file and a pid record."""
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env=build_environment(env),
        )
    # It outlives us on purpose; without this, Popen warns that nobody waited for it.
    child.returncode = 0
    ticks = parse_start_ticks((PROC / str(child.pid) / "stat").read_text())
    record = ProcessRecord(name, child.pid, ticks, observe_boot_id(), command)
    write_atomically(pids / f"{name}.json", json.dumps(asdict(record)))
    return record


def find(name: str, *, pids: Path) -> ProcessRecord | None:
    """Return the record of a component if its process runs, else None."""
    try:
        record = ProcessRecord(**json.loads((pids / f"{name}.json").read_text()))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None
    return record if is_alive(record) else None


def stop(records: Iterable[ProcessRecord], *, grace_s: float = 3) -> None:
    """Ask the processes to end, wait, then kill those that are left."""
    remaining = [record for record in records if is_alive(record)]
    for ask in (signal.SIGTERM, signal.SIGKILL):
        for record in remaining:
            with contextlib.suppress(ProcessLookupError):
                os.kill(record.pid, ask)
        deadline = time.monotonic() + grace_s
        while remaining and time.monotonic() < deadline:
            remaining = [record for record in remaining if is_alive(record)]
            time.sleep(0.05)
        if not remaining:
            return


def kill_pids(pids: Iterable[int]) -> None:
    """Kill processes that were found by a mark of ours (cgroup, command line); used by the clean-up."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
