"""The node's place in the network: address ranges, the bridge that holds its address, two firewall rules."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from pathlib import Path

from perennial_localcluster.errors import CommandError, PreconditionError
from perennial_localcluster.record import Record
from perennial_localcluster.shell import run, succeeds

# This kernel family often has no `dummy` device; a bridge without ports holds an address just as well.
BRIDGE = "perennial0"
RULE_COMMENT = "perennial-localcluster"
POD_CIDRS = ("10.213.0.0/16", "10.171.0.0/16", "172.29.0.0/16")
SERVICE_CIDRS = ("10.96.0.0/16", "10.172.0.0/16", "172.28.0.0/16")
LEAST_MTU = 1280


def choose_cidr(candidates: Iterable[str], taken: Iterable[str]) -> str:
    """Return the first candidate range that overlaps nothing in use. Pure; called by `up` on a new cluster.

    Parameters
    ----------
    taken
        Destinations of the machine's routes and addresses of its resolvers, as networks.
    """
    used = [ipaddress.ip_network(network, strict=False) for network in taken]
    for candidate in candidates:
        network = ipaddress.ip_network(candidate)
        if not any(network.overlaps(other) for other in used if other.version == network.version):
            return candidate
    raise PreconditionError(
        f"All address ranges that the cluster could use ({', '.join(candidates)}) overlap this machine's "
        "routes. Remove one of those routes (`ip route`), for example by leaving a VPN, and run again."
    )


def observe_taken() -> list[str]:
    """Return the networks this machine routes to and its resolvers' addresses, without our own."""
    taken = [
        str(route["dst"])
        for route in json.loads(run(["ip", "-j", "route"]) or "[]")
        if route.get("dst") != "default" and route.get("dev") != BRIDGE
    ]
    for line in Path("/etc/resolv.conf").read_text().splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver" and ":" not in words[1]:
            taken.append(words[1])
    return taken


def observe_mtu() -> int:
    """Return the MTU of the device with the default route; pods' packets leave through it."""
    routes = json.loads(run(["ip", "-j", "route", "show", "default"]) or "[]")
    if not routes:
        return 1500
    link = json.loads(run(["ip", "-j", "link", "show", "dev", routes[0]["dev"]]))
    return max(int(link[0]["mtu"]), LEAST_MTU)


def build_addresses() -> tuple[str, str, str]:
    """Return (node address, pod range, Service range) for a new cluster."""
    taken = observe_taken()
    pods = choose_cidr(POD_CIDRS, taken)
    services = choose_cidr(SERVICE_CIDRS, [*taken, pods])
    return str(ipaddress.ip_network(pods)[1]), pods, services


def apply_bridge(record: Record) -> None:
    """Create the bridge with the node's address, unless it is there."""
    if not succeeds(["ip", "link", "show", "dev", BRIDGE]):
        run(["ip", "link", "add", BRIDGE, "mtu", str(record.mtu), "type", "bridge"])
    prefix_length = record.pod_cidr.split("/")[1]
    run(["ip", "addr", "replace", f"{record.node_ip}/{prefix_length}", "dev", BRIDGE])
    run(["ip", "link", "set", BRIDGE, "up"])


def build_rules(record: Record) -> list[list[str]]:
    """Return the rules that are ours: pods reach the world through the host's address, and are forwarded."""
    comment = ["-m", "comment", "--comment", RULE_COMMENT]
    pods = record.pod_cidr
    return [
        ["-t", "nat", "POSTROUTING", "-s", pods, "!", "-d", pods, *comment, "-j", "MASQUERADE"],
        ["-t", "filter", "FORWARD", "-s", pods, *comment, "-j", "ACCEPT"],
        ["-t", "filter", "FORWARD", "-d", pods, *comment, "-j", "ACCEPT"],
    ]


def apply_rules(record: Record) -> None:
    """Add our rules, each only once."""
    for _, table, chain, *rest in build_rules(record):
        try:
            run(["iptables", "-w", "-t", table, "-C", chain, *rest])
        except CommandError:
            run(["iptables", "-w", "-t", table, "-A", chain, *rest])


def find_pod_links(node_ip: str) -> list[str]:
    """Return the host ends of pods' links: each carries the gateway's address."""
    links = json.loads(run(["ip", "-j", "addr"]) or "[]")
    return [
        link["ifname"]
        for link in links
        if link["ifname"] != BRIDGE
        and any(address.get("local") == node_ip for address in link.get("addr_info", []))
    ]
