"""Count the clients of sticky routes: how many each revision has served, and how many it has failed.

Where clients are bound to revisions, a client's requests fail together, so a gate that counted
requests would take one unlucky client for many failures. Only keyed hashes are kept, at most so many.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from perennial_gateway.access_logs import FROM_SERVER, GRPC_FAULTS, GRPC_TIME_UP
from perennial_gateway.agent_calls import BUFFER_BYTES, serve_calls
from perennial_gateway.clusters import cluster_name, fold_name
from perennial_gateway.files import write_atomically
from perennial_gateway.model import Route, RouteKey
from perennial_gateway.otlp import Record

SAVE_EVERY_S = 5.0
MOST_CALL_BYTES = 2 * BUFFER_BYTES
"""A full buffer with its last entry, whose client may have a name as long as a head may be."""

SERVER_ERROR = 500
_GRPC_FAULTS = frozenset(map(str, GRPC_FAULTS))

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClientCounts:
    """Distinct clients of one revision since the route's salt was set, and those with at least one 5xx."""

    users: int = 0
    failing: int = 0


@dataclass(slots=True)
class _Seen:
    salt: str
    users: set[int] = field(default_factory=set)
    failing: set[int] = field(default_factory=set)


class ClientCounter:
    """The clients of each sticky route's revisions.

    Parameters
    ----------
    path
        Where the counts outlive the agent.
    most
        Hashes kept over all routes; clients beyond are dropped and counted as such.
    """

    def __init__(self, path: Path, most: int) -> None:
        self._path = path
        self._most = most
        self._seen: dict[str, _Seen] = _load(path)
        self._kept = sum(len(seen.users) for seen in self._seen.values())
        self._changed = False
        self.taken = 0
        self.dropped = 0

    def follow(self, routes: Mapping[RouteKey, Route]) -> None:
        """Count for these routes; a revision that is new, or whose salt is, starts at zero."""
        salts = {
            cluster_name(route.key.namespace, backend.revision): route.sticky.salt
            for route in routes.values()
            if route.sticky
            for backend in route.backends
        }
        for cluster in [c for c, seen in self._seen.items() if salts.get(c) != seen.salt]:
            self._kept -= len(self._seen.pop(cluster).users)
            self._changed = True
        for cluster, salt in salts.items():
            self._seen.setdefault(cluster, _Seen(salt))

    def add(self, record: Record) -> None:
        """Count one finished request; one under an older salt counts no more."""
        self.taken += 1
        told = {name: value.decode("utf-8", "replace") for name, value in record.attributes.items()}
        seen = self._seen.get(fold_name(told.get("cluster", "")))
        status = told.get("status", "")
        # No status: the client went away before there was one.
        if seen is None or seen.salt != told.get("salt") or not status.isdecimal() or not int(status):
            return
        client = _hash(seen.salt, record.attributes.get("client", b""))
        if client not in seen.users:
            if self._kept >= self._most:
                self.dropped += 1
                return
            seen.users.add(client)
            self._kept += 1
            self._changed = True
        if (int(status) >= SERVER_ERROR or _has_failed(told)) and client not in seen.failing:
            seen.failing.add(client)
            self._changed = True

    def counts(self) -> dict[str, ClientCounts]:
        """Return the counts by cluster."""
        return {c: ClientCounts(len(seen.users), len(seen.failing)) for c, seen in self._seen.items()}

    async def run(self, socket: Path) -> None:
        """Take Envoy's records from a Unix socket, and save the counts now and then and at the end, until cancelled."""
        try:
            async with serve_calls(socket, self.add, MOST_CALL_BYTES):
                while True:
                    await asyncio.sleep(SAVE_EVERY_S)
                    await self._save()
        finally:
            await self._save()

    async def _save(self) -> None:
        """Save what has changed; a full disk costs these counts at the next restart, never the router."""
        if not self._changed:
            return
        self._changed = False
        try:
            await asyncio.to_thread(write_atomically, self._path, self._dump())
        except OSError as error:
            self._changed = True
            _LOG.warning("clients' counts not saved path=%s error=%s", self._path, error)

    def _dump(self) -> bytes:
        return json.dumps(
            {
                cluster: {"salt": s.salt, "users": _pack(s.users), "failing": _pack(s.failing)}
                for cluster, s in self._seen.items()
            }
        ).encode()


def _has_failed(told: Mapping[str, str]) -> bool:
    """Return whether a gRPC answer says that the server is at fault; its HTTP status never does."""
    statuses = {told.get(name) for name in ("grpc", "grpc_only")}
    if str(GRPC_TIME_UP) in statuses:
        had_routes_time = told.get("deadline") == f"{told.get('timeout_ms')}m"
        return told.get("from") != FROM_SERVER or had_routes_time
    return bool(statuses & _GRPC_FAULTS)


def _hash(salt: str, client: bytes) -> int:
    """Return 64 bits that stand for a client; two of a million clients share them once in 37 million cases."""
    digest = hashlib.blake2b(client, digest_size=8, key=salt.encode()).digest()
    return int.from_bytes(digest, "big")


def _pack(hashes: set[int]) -> str:
    return base64.b64encode(array("Q", hashes).tobytes()).decode()


def _unpack(text: str) -> set[int]:
    return set(array("Q", base64.b64decode(text)))


def _load(path: Path) -> dict[str, _Seen]:
    """Return what was saved, or nothing if that can't be read."""
    try:
        return {
            cluster: _Seen(saved["salt"], _unpack(saved["users"]), _unpack(saved["failing"]))
            for cluster, saved in json.loads(path.read_bytes()).items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
