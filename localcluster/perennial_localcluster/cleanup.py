"""Takes away what dead components leave: processes, mounts, links, rules, control groups, files.

Used by `down`, and by `up` when it finds that the container runtime is dead: then no
container has a parent that could end it, and all of them go, by their marks (control
group, socket path on the command line, mount point, link address, chain name).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from perennial_localcluster import network, snapshot
from perennial_localcluster.configs import CNI_NETWORK
from perennial_localcluster.errors import CommandError, LocalClusterError
from perennial_localcluster.paths import Paths
from perennial_localcluster.processes import kill_pids, list_processes
from perennial_localcluster.record import Record
from perennial_localcluster.shell import run, succeeds

POD_CGROUP = "kubepods"
OUR_CHAINS = re.compile(r"^(KUBE-|CNI-)")
PATIENCE_S = 20.0

Item = TypeVar("Item")


def clean_node(paths: Paths, record: Record) -> None:
    """End every container and remove its traces; images and the API server's data stay."""
    _until_none("container processes", lambda: find_container_pids(paths), kill_pids)
    unmount_below(paths.state)
    for link in network.find_pod_links(record.node_ip):
        succeeds(["ip", "link", "del", "dev", link])
    remove_cgroups()
    remove_shim_sockets(paths)
    shutil.rmtree(paths.run, ignore_errors=True)
    shutil.rmtree(paths.cni / "addresses", ignore_errors=True)
    for result in Path("/var/lib/cni/results").glob(f"{CNI_NETWORK}-*"):
        result.unlink(missing_ok=True)


def clean_machine(paths: Paths, before: snapshot.Snapshot) -> None:
    """Remove the rest for good: bridge, rules, fixed paths; called by `down` after `clean_node`."""
    succeeds(["ip", "link", "del", "dev", network.BRIDGE])
    remove_rules(before)
    for path in map(Path, snapshot.FIXED_PATHS):
        if str(path) not in before.paths and path.exists():
            unmount_below(path)
            shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(paths.state, ignore_errors=True)


def find_container_pids(paths: Paths) -> list[int]:
    """Return pids in pods' control groups and of shims that serve our containerd."""
    pids = {
        int(pid)
        for group in find_cgroups()
        for pid in _read_lines(group / "cgroup.procs")
        # A process of another pid namespace shows as 0.
        if pid != "0"
    }
    marks = (f"-address {paths.containerd_socket}", f"--root {paths.run}/runc")
    pids |= {pid for pid, command in list_processes() if any(mark in command for mark in marks)}
    return sorted(pids - {os.getpid(), os.getppid()})


def find_cgroups() -> list[Path]:
    """Return pods' control groups in every hierarchy, children before parents."""
    roots = [*snapshot.CGROUP_ROOT.glob(f"*/{POD_CGROUP}"), snapshot.CGROUP_ROOT / POD_CGROUP]
    found = [Path(folder) for root in roots for folder, _, _ in os.walk(root, topdown=False)]
    return [group for group in found if group.is_dir()]


def remove_cgroups() -> None:
    """Remove pods' control groups; the kernel may need a moment after the last process ended."""

    def remove(groups: Iterable[Path]) -> None:
        for group in groups:
            with contextlib.suppress(OSError):
                group.rmdir()

    _until_none("control groups", find_cgroups, remove)


def unmount_below(folder: Path) -> None:
    """Unmount everything at or below a folder, the latest first; a mount may be stacked."""

    def find() -> list[str]:
        prefix = f"{folder}/"
        return [point for point in reversed(snapshot.observe_mounts()) if f"{point}/".startswith(prefix)]

    def unmount(points: Iterable[str]) -> None:
        for point in points:
            succeeds(["umount", "--lazy", "--no-canonicalize", point])

    _until_none("mounts", find, unmount)


def remove_shim_sockets(paths: Paths) -> None:
    """Remove the sockets of our shims, which containerd keeps below /run whatever its state directory."""
    for address in (paths.run / "containerd").glob("io.containerd.runtime.v2.task/*/*/address"):
        socket = Path(address.read_text().strip().removeprefix("unix://"))
        if socket.is_relative_to("/run/containerd/s"):
            socket.unlink(missing_ok=True)


def build_rule_removal(saved: str, kept: Iterable[str] = ()) -> str:
    """Return input for `iptables-restore --noflush` that removes the cluster's rules and chains.

    Pure. Removed are chains named KUBE-* and CNI-*, the rules that jump to them, and rules with
    our comment; never what is in ``kept`` (normalised rules from before `up`).
    """
    keep = set(kept)
    tables: dict[str, tuple[list[str], list[str]]] = {}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
            tables[table] = ([], [])
        elif line.startswith(":"):
            name = line[1:].split()[0]
            if OUR_CHAINS.match(name) and f"{table} :{name} -" not in keep:
                tables[table][1].append(name)
        elif line.startswith("-A ") and f"{table} {line}" not in keep:
            words = line.split()
            target = words[words.index("-j") + 1] if "-j" in words else ""
            ours = OUR_CHAINS.match(target) or f"--comment {network.RULE_COMMENT}" in line.replace('"', "")
            if ours and not OUR_CHAINS.match(words[1]):
                tables[table][0].append("-D " + line.removeprefix("-A "))
    parts = []
    for name, (rules, chains) in tables.items():
        if rules or chains:
            # Every chain is emptied before any is deleted: they refer to each other.
            lines = [*rules, *(f"-F {chain}" for chain in chains), *(f"-X {chain}" for chain in chains)]
            parts.append("\n".join([f"*{name}", *lines, "COMMIT", ""]))
    return "".join(parts)


def remove_rules(before: snapshot.Snapshot) -> None:
    """Remove the cluster's firewall rules of both address families."""
    for family, prefix in (("4", "iptables"), ("6", "ip6tables")):
        try:
            saved = run([f"{prefix}-save"])
        except CommandError:
            continue
        kept = [rule[2:] for rule in before.rules if rule.startswith(family)]
        script = build_rule_removal(saved, kept)
        if script:
            run([f"{prefix}-restore", "-w", "--noflush"], input_text=script)


def _until_none(what: str, find: Callable[[], list[Item]], remove: Callable[[list[Item]], None]) -> None:
    """Repeat a removal until nothing is found any more; things may appear while others go."""
    deadline = time.monotonic() + PATIENCE_S
    while left := find():
        if time.monotonic() > deadline:
            raise LocalClusterError(
                f"Some {what} could not be removed in {PATIENCE_S:.0f} s: {', '.join(map(str, left[:5]))}. "
                "Find what holds them (`fuser -vm`), end it, and run `perennial-localcluster down` again."
            )
        remove(left)
        time.sleep(0.05)


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
