"""Checks that this machine can hold the native cluster, before anything is changed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from perennial_localcluster.errors import PreconditionError
from perennial_localcluster.services import Port, Service

LISTEN_STATE = "0A"
IPV4_HEX_DIGITS = 8
INODE_FIELD = 9
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket of this machine; ``inode`` leads to the process that owns it."""

    address: str
    number: int
    inode: str


def check_machine(platform: str = sys.platform, user_id: int | None = None) -> None:
    """Raise PreconditionError where the native cluster cannot run at all."""
    if platform != "linux":
        raise PreconditionError(
            f"The native cluster needs Linux; this is {platform}. Start a Docker engine and install kind, or "
            "use a cluster that you have: `perennial-localcluster up --kubeconfig FILE`."
        )
    if (os.geteuid() if user_id is None else user_id) != 0:
        raise PreconditionError(
            "The native cluster needs root, for mounts, network devices and control groups. Run it with `sudo`, "
            "or start a Docker engine and install kind, or use a cluster that you have: "
            "`perennial-localcluster up --kubeconfig FILE`."
        )


def parse_listeners(text: str) -> list[Listener]:
    """Return the listening sockets of /proc/net/tcp or tcp6. Pure.

    IPv6 addresses are told apart only into the wildcard and others: our ports are IPv4.
    """
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > INODE_FIELD and fields[3] == LISTEN_STATE:
            address, port = fields[1].split(":")
            found.append(Listener(_parse_address(address), int(port, 16), fields[INODE_FIELD]))
    return found


def _parse_address(hexadecimal: str) -> str:
    if len(hexadecimal) > IPV4_HEX_DIGITS:
        return "::" if not hexadecimal.strip("0") else f"[{hexadecimal}]"
    octets = [hexadecimal[index : index + 2] for index in (6, 4, 2, 0)]
    return ".".join(str(int(octet, 16)) for octet in octets)


def find_conflict(port: Port, listeners: Iterable[Listener]) -> Listener | None:
    """Return the listener that makes a port unusable: the same number on the same or any address. Pure."""
    for listener in listeners:
        if listener.number == port.number and listener.address in (*WILDCARDS, port.address):
            return listener
    return None


def check_ports(services: Iterable[Service]) -> None:
    """Raise PreconditionError if a port of a component that is to be started is taken."""
    listeners = []
    for name in ("tcp", "tcp6"):
        path = Path("/proc/net") / name
        if path.exists():
            listeners += parse_listeners(path.read_text())
    for service in services:
        for port in service.ports:
            taken = find_conflict(port, listeners)
            if taken:
                raise PreconditionError(
                    f"Port {port.number} on {taken.address}, which {service.name} needs, is taken by "
                    f"{_describe_owner(taken.inode)}. Stop that program, then run `perennial-localcluster up` again."
                )


def _describe_owner(inode: str) -> str:
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(link.readlink()) == f"socket:[{inode}]":
                name = (link.parents[1] / "comm").read_text().strip()
                return f"{name} (pid {link.parents[1].name})"
        except OSError:
            continue
    return "another program"
