"""What a machine looks like, in the respects in which a cluster changes it.

`up` stores one before it changes anything; `down` restores to it; a test compares.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from perennial_localcluster import sysctls
from perennial_localcluster.errors import CommandError
from perennial_localcluster.processes import list_processes
from perennial_localcluster.shell import run

CGROUP_ROOT = Path("/sys/fs/cgroup")
# Paths that components use whatever they are told.
FIXED_PATHS = (
    "/run/containerd",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/pods",
    "/var/log/containers",
    "/var/run/kubernetes",
    "/opt/containerd",
    "/usr/libexec/kubernetes",
)


@dataclass(frozen=True)
class Snapshot:
    """Sorted lists, so that two snapshots compare; ``processes`` are those with the state directory's path."""

    processes: list[str]
    mounts: list[str]
    links: list[str]
    rules: list[str]
    cgroups: list[str]
    sysctls: dict[str, str]
    paths: list[str]


def normalise_rules(saved: str) -> list[str]:
    """Return the rules and own chains of `iptables-save` output: no comments, counters, empty built-in chains.

    Pure. A line is prefixed with its table.
    """
    table = ""
    lines = []
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            chain, policy = line[1:].split()[:2]
            if policy != "ACCEPT":
                lines.append(f"{table} :{chain} {policy}")
        elif line.startswith("-"):
            lines.append(f"{table} {line}")
    return sorted(lines)


def parse_mounts(text: str) -> list[str]:
    """Return the mount points of /proc/self/mountinfo; they escape spaces in octal. Pure."""
    points = [line.split()[4] for line in text.splitlines() if line]
    return [re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point) for point in points]


def observe_mounts() -> list[str]:
    """Return this machine's mount points in the order of mounting."""
    return parse_mounts(Path("/proc/self/mountinfo").read_text())


def observe_rules() -> list[str]:
    """Return IPv4 and IPv6 firewall rules; empty where iptables is not installed."""
    found = []
    for family, command in (("4", "iptables-save"), ("6", "ip6tables-save")):
        try:
            saved = run([command])
        except CommandError:
            continue
        found += [f"{family} {rule}" for rule in normalise_rules(saved)]
    return found


def observe_cgroups() -> list[str]:
    """Return the control groups, at most two levels deep below each hierarchy: pods' are all below one."""
    found = [path for pattern in ("*/", "*/*/") for path in CGROUP_ROOT.glob(pattern)]
    return sorted(str(path) for path in found)


def observe(state: Path) -> Snapshot:
    """Look at this machine; changes nothing."""
    return Snapshot(
        processes=sorted(command for _, command in list_processes() if f"{state}/" in command),
        mounts=sorted(observe_mounts()),
        links=sorted(path.name for path in Path("/sys/class/net").iterdir()),
        rules=observe_rules(),
        cgroups=observe_cgroups(),
        sysctls=sysctls.read_all(),
        paths=[path for path in FIXED_PATHS if Path(path).exists()],
    )


def render(snapshot: Snapshot) -> str:
    """Return the JSON form that `up` stores."""
    return json.dumps(asdict(snapshot), indent=1)


def parse(text: str) -> Snapshot:
    """Read what :func:`render` wrote."""
    return Snapshot(**json.loads(text))


def compare(before: Snapshot, after: Snapshot) -> list[str]:
    """Return one line per difference, ``added`` or ``gone`` first; empty when the machine is as it was. Pure.

    A setting that did not exist before (its kernel module was not in use) is no difference.
    """
    lines = []
    for field in fields(Snapshot):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if field.name == "sysctls":
            lines += [
                f"changed sysctl {key}: {old[key]} -> {new.get(key)}"
                for key in old
                if new.get(key) != old[key]
            ]
            continue
        lines += [f"added {field.name}: {item}" for item in _subtract(new, old)]
        lines += [f"gone {field.name}: {item}" for item in _subtract(old, new)]
    return lines


def _subtract(items: Iterable[str], others: Iterable[str]) -> list[str]:
    return sorted(set(items) - set(others))
