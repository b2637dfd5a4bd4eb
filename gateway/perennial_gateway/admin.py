"""Read Envoy's admin interface: what it has loaded, what it refused, what it counted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from perennial_gateway.access_logs import (
    CLIENTS_STAT,
    FAILED_STAT,
    INVALID_STAT,
    SLOW_STAT,
    UNSERVED_STAT,
)
from perennial_gateway.capture import CAPTURED_STAT
from perennial_gateway.clusters import fold_name, is_grpc_cluster
from perennial_gateway.errors import EnvoyUnavailable
from perennial_gateway.listeners import EPOCH_PREFIX, PIN_PREFIX, STAT_PREFIX
from perennial_gateway.resources import PIN_CONFIG_NAME, ROUTE_CONFIG_NAME

TIMEOUT_S = 5.0


class EnvoyFile(StrEnum):
    """What Envoy watches, by the stem of the file."""

    CLUSTERS = "cds"
    ROUTES = "rds"
    PINS = "pins"


_PREFIXES = {
    EnvoyFile.CLUSTERS: "cluster_manager.cds.",
    EnvoyFile.ROUTES: f"http.{STAT_PREFIX}.rds.{ROUTE_CONFIG_NAME}.",
    EnvoyFile.PINS: f"http.{PIN_PREFIX}.rds.{PIN_CONFIG_NAME}.",
}
_VERSIONS = r"(cds|rds\.[^.]+)\.version_text$"
_REFUSALS = r"(cds|rds\.[^.]+)\.(update_rejected|update_failure)$"
_LOGGED = {SLOW_STAT: "slow", FAILED_STAT: "failed", INVALID_STAT: "invalid"}
_STATS = "completed|5xx|active|400|422|pending_overflow|pending_failure_eject"
_ACTIVE = rf"http\.({STAT_PREFIX}|{PIN_PREFIX})\.downstream_rq_active"
_COUNTERS = (
    rf"^(cluster\.[^.]+\.upstream_rq_({_STATS})|({'|'.join(map(re.escape, (*_LOGGED, UNSERVED_STAT)))})[^.]+"
    rf"|{re.escape(CLIENTS_STAT)}|{re.escape(CAPTURED_STAT)}|{_ACTIVE}|listener\.{EPOCH_PREFIX}[^.]+\.downstream_cx_active)$"
)
_CLUSTER = re.compile(rf"cluster\.(?P<cluster>[^.]+)\.upstream_rq_(?P<stat>{_STATS})")
_EPOCH = re.compile(rf"listener\.{EPOCH_PREFIX}(?P<epoch>[^.]+)\.")


@dataclass(frozen=True, slots=True)
class ClusterCounters:
    """Of one cluster since Envoy started.

    Attributes
    ----------
    requests, errors, active
        Finished requests, those of them answered 5xx or not at all, and those under way; of gRPC, those that failed by
        the server's fault.
    slow, invalid
        Finished requests above the latency budget, and those answered 400, 422 or INVALID_ARGUMENT.
    dropped
        Requests that the circuit breaker let go nowhere or that got no connection, in none of the others if they are
        copies: what the shadow missed.
    """

    requests: int = 0
    errors: int = 0
    active: int = 0
    slow: int = 0
    invalid: int = 0
    dropped: int = 0

    def plus(self, other: ClusterCounters) -> ClusterCounters:
        """Return the sum."""
        return ClusterCounters(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class EnvoyCounters:
    """One reading of the counters, with the epoch that they belong to.

    Attributes
    ----------
    epoch
        Changes whenever Envoy's counters start at zero.
    clusters
        By cluster name; see `folded`.
    active_requests, active_connections
        Of clients.
    clients_offered
        Finished requests on sticky routes, of which the agent was to be told.
    unserved
        Requests that no server was ready to take, by route; they are in no cluster's counters.
    captured
        Exchanges that were to be handed to the agent for the prediction log.
    """

    epoch: str
    clusters: Mapping[str, ClusterCounters]
    active_requests: int
    active_connections: int
    clients_offered: int = 0
    unserved: Mapping[str, int] = field(default_factory=dict)
    captured: int = 0

    def folded(self) -> dict[str, ClusterCounters]:
        """Return the counters with those of gRPC added to those of the same traffic over HTTP/1.1."""
        sums: dict[str, ClusterCounters] = {}
        for name, counters in self.clusters.items():
            folded = fold_name(name)
            sums[folded] = sums[folded].plus(counters) if folded in sums else counters
        return sums


class EnvoyAdmin:
    """Client of Envoy's admin interface on a Unix socket; use it as an asynchronous context manager."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            base_url="http://envoy",
            connector=aiohttp.UnixConnector(path=str(self._socket), limit=4),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def read_versions(self) -> dict[EnvoyFile, str]:
        """Return which version of each file is in force; cheap, since Envoy has few texts."""
        query = {"type": "TextReadouts", "filter": _VERSIONS}
        stats = dict(_parse(await self._call("GET", "/stats", query)))
        return {file: stats.get(f"{prefix}version_text", "") for file, prefix in _PREFIXES.items()}

    async def read_refusals(self) -> dict[EnvoyFile, int]:
        """Return how many versions of each file Envoy would not take."""
        query = {"type": "Counters", "filter": _REFUSALS}
        stats = dict(_parse(await self._call("GET", "/stats", query)))
        return {
            file: int(stats.get(f"{prefix}update_rejected", 0)) + int(stats.get(f"{prefix}update_failure", 0))
            for file, prefix in _PREFIXES.items()
        }

    async def read_counters(self) -> EnvoyCounters:
        """Return all counters and their epoch, from one answer."""
        return parse_counters(await self._call("GET", "/stats", {"filter": _COUNTERS}))

    async def start_draining(self) -> None:
        """Ask Envoy to close connections as they fall idle, without closing the listener yet."""
        await self._call("POST", "/healthcheck/fail", {})
        await self._call("POST", "/drain_listeners", {"graceful": "", "skip_exit": ""})

    async def _call(self, method: str, path: str, query: Mapping[str, str]) -> str:
        if not self._session:
            raise EnvoyUnavailable("the admin client is not open")
        try:
            async with self._session.request(method, path, params=query) as response:
                response.raise_for_status()
                return await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise EnvoyUnavailable(f"Envoy's admin interface does not answer {path}: {error!r}") from error


def parse_counters(text: str) -> EnvoyCounters:
    """Return the counters in the answer of `/stats`.

    Raises
    ------
    EnvoyUnavailable
        If the answer holds no epoch: Envoy has not opened its listener yet.
    """
    epoch = ""
    clusters: dict[str, dict[str, int]] = {}
    unserved: dict[str, int] = {}
    requests = connections = told = captured = 0
    for name, value in _parse(text):
        if match := _CLUSTER.fullmatch(name):
            clusters.setdefault(match["cluster"], {})[match["stat"]] = int(value)
        elif prefix := next((p for p in _LOGGED if name.startswith(p)), None):
            clusters.setdefault(name.removeprefix(prefix), {})[_LOGGED[prefix]] = int(value)
        elif name.startswith(UNSERVED_STAT):
            unserved[name.removeprefix(UNSERVED_STAT)] = int(value)
        elif name == CLIENTS_STAT:
            told = int(value)
        elif name == CAPTURED_STAT:
            captured = int(value)
        elif match := _EPOCH.match(name):
            epoch = match["epoch"]
            connections += int(value)
        elif name.endswith("downstream_rq_active"):
            requests += int(value)
    if not epoch:
        raise EnvoyUnavailable("Envoy has not opened its listener yet")
    return EnvoyCounters(
        epoch=epoch,
        clusters={
            name: ClusterCounters(
                requests=values.get("completed", 0),
                # Envoy's own 5xx of a gRPC request is among those that have failed.
                errors=values.get("failed" if is_grpc_cluster(name) else "5xx", 0),
                active=values.get("active", 0),
                slow=values.get("slow", 0),
                invalid=values.get("400", 0) + values.get("422", 0) + values.get("invalid", 0),
                dropped=values.get("pending_overflow", 0) + values.get("pending_failure_eject", 0),
            )
            for name, values in clusters.items()
        },
        active_requests=requests,
        active_connections=connections,
        clients_offered=told,
        unserved=unserved,
        captured=captured,
    )


def _parse(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, separator, value = line.partition(": ")
        if separator:
            yield name, value.strip('"')
