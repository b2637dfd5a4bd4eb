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
from perennial_gateway.clusters import cluster_name, fold_name
from perennial_gateway.files import write_atomically
from perennial_gateway.fluentd import Malformed, Record, RecordReader
from perennial_gateway.model import Route, RouteKey

SAVE_EVERY_S = 5.0
READ_BYTES = 65_536
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
        self._connections: set[asyncio.StreamWriter] = set()
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
        seen = self._seen.get(fold_name(str(record.get("cluster"))))
        status = record.get("status")
        if seen is None or seen.salt != record.get("salt") or not isinstance(status, int) or not status:
            return
        client = _hash(seen.salt, str(record.get("client")))
        if client not in seen.users:
            if self._kept >= self._most:
                self.dropped += 1
                return
            seen.users.add(client)
            self._kept += 1
            self._changed = True
        if (status >= SERVER_ERROR or _has_failed(record)) and client not in seen.failing:
            seen.failing.add(client)
            self._changed = True

    def counts(self) -> dict[str, ClientCounts]:
        """Return the counts by cluster."""
        return {c: ClientCounts(len(seen.users), len(seen.failing)) for c, seen in self._seen.items()}

    async def run(self, socket: Path) -> None:
        """Take Envoy's records from a Unix socket, and save the counts now and then and at the end, until cancelled."""
        await asyncio.to_thread(socket.unlink, missing_ok=True)
        server = await asyncio.start_unix_server(self._receive, socket)
        try:
            while True:
                await asyncio.sleep(SAVE_EVERY_S)
                await self._save()
        finally:
            server.close()
            for connection in tuple(self._connections):
                connection.close()
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

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        records = RecordReader()
        self._connections.add(writer)
        try:
            while data := await reader.read(READ_BYTES):
                for record in records.feed(data):
                    self.add(record)
        except (Malformed, OSError) as error:
            _LOG.warning("clients' log broken error=%s", error)
        finally:
            self._connections.discard(writer)
            writer.close()

    def _dump(self) -> bytes:
        return json.dumps(
            {
                cluster: {"salt": s.salt, "users": _pack(s.users), "failing": _pack(s.failing)}
                for cluster, s in self._seen.items()
            }
        ).encode()


def _has_failed(record: Record) -> bool:
    """Return whether a gRPC answer says that the server is at fault; its HTTP status never does."""
    statuses = {str(record.get(name)) for name in ("grpc", "grpc_only")}
    if str(GRPC_TIME_UP) in statuses:
        had_routes_time = record.get("deadline") == f"{record.get('timeout_ms')}m"
        return record.get("from") != FROM_SERVER or had_routes_time
    return bool(statuses & _GRPC_FAULTS)


def _hash(salt: str, client: str) -> int:
    """Return 64 bits that stand for a client; two of a million clients share them once in 37 million cases."""
    digest = hashlib.blake2b(client.encode(), digest_size=8, key=salt.encode()).digest()
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
