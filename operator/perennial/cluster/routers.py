"""Ask the router agents of the gateway's pods what they have applied and counted."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from perennial.cluster.client import Client
from perennial.rollout.observed import RouterCounters, RouterView, ShadowCounters

__all__ = ["RouterSnapshot", "Routers"]

_log = logging.getLogger(__name__)

MOST_BYTES = 16 * 1024 * 1024


class _Route(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    uid: str = ""
    generation: int = 0
    state: str = ""
    message: str = ""


class _Shadow(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    requests: int = Field(default=0, ge=0)
    errors: int = Field(default=0, ge=0)
    slow: int = Field(default=0, ge=0)


class _Counters(BaseModel):
    """What an agent counts of one revision; an older one leaves the later fields out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    requests: int = Field(ge=0)
    errors: int = Field(ge=0)
    active: int = Field(default=0, ge=0)
    slow: int = Field(default=0, ge=0)
    invalid: int = Field(default=0, ge=0)
    users: int = Field(default=0, ge=0)
    failing_users: int = Field(default=0, ge=0, alias="failingUsers")
    shadow: _Shadow = _Shadow()

    def to_view(self) -> RouterCounters:
        """Return them as decisions read them."""
        return RouterCounters(
            requests=self.requests,
            errors=self.errors,
            active=self.active,
            slow=self.slow,
            invalid=self.invalid,
            users=self.users,
            failing_users=self.failing_users,
            shadow=ShadowCounters(self.shadow.requests, self.shadow.errors, self.shadow.slow),
        )


class _Status(BaseModel):
    """The agent's `/status`, keys `<namespace>/<name>`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    epoch: str = ""
    routes: dict[str, _Route] = {}
    counters: dict[str, _Counters] = {}


@dataclass(frozen=True, slots=True)
class RouterSnapshot:
    """All gateway pods at one moment; None for those whose agent didn't answer."""

    ready: Mapping[str, bool] = field(default_factory=dict)
    statuses: Mapping[str, _Status | None] = field(default_factory=dict)

    def view(self, namespace: str, name: str) -> tuple[RouterView, ...]:
        """Cut out what concerns one deployment."""
        return tuple(self._view_one(pod, namespace, name) for pod in sorted(self.ready))

    def _view_one(self, pod: str, namespace: str, name: str) -> RouterView:
        status = self.statuses.get(pod)
        if status is None:
            return RouterView(pod, self.ready[pod])
        route = status.routes.get(f"{namespace}/{name}", _Route())
        prefix = f"{namespace}/{name}-"
        counters = {
            key.removeprefix(f"{namespace}/"): c.to_view()
            for key, c in status.counters.items()
            if key.startswith(prefix)
        }
        return RouterView(
            pod=pod,
            ready=self.ready[pod],
            reachable=True,
            epoch=status.epoch,
            route_uid=route.uid,
            route_generation=route.generation,
            state=route.state,
            message=route.message,
            counters=counters,
        )


class Routers:
    """Reads all routers at once, and again only after a moment, however many deployments ask.

    Parameters
    ----------
    namespace, selector
        Where the gateway's pods are, and their labels.
    port, timeout_s
        Of the agents.
    max_age_s
        How old an answer may be. An old one only makes a rollout see its weights applied that much later.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        selector: str,
        port: int,
        timeout_s: float,
        max_age_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._selector = selector
        self._port = port
        self._timeout_s = timeout_s
        self._max_age_s = max_age_s
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._snapshot = RouterSnapshot()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def observe(self) -> RouterSnapshot:
        """Read all routers, or return what was read a moment ago."""
        async with self._lock:
            if self._clock() - self._read_at > self._max_age_s:
                self._snapshot = await self._read()
                self._read_at = self._clock()
            return self._snapshot

    async def _read(self) -> RouterSnapshot:
        pods = await self._client.list("Pod", self._namespace, self._selector)
        ready: dict[str, bool] = {}
        addresses: dict[str, str] = {}
        for pod in pods:
            status = pod.get("status") or {}
            if status.get("phase") in {"Succeeded", "Failed"}:
                continue
            name = pod["metadata"]["name"]
            conditions = {c["type"]: c["status"] for c in status.get("conditions") or []}
            ready[name] = conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]
            if status.get("podIP"):
                addresses[name] = status["podIP"]
        answers = await asyncio.gather(*(self._ask(address) for address in addresses.values()))
        return RouterSnapshot(ready, dict(zip(addresses, answers, strict=True)))

    async def _ask(self, address: str) -> _Status | None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout_s))
        host = f"[{address}]" if ":" in address else address
        try:
            async with self._session.get(f"http://{host}:{self._port}/status") as response:
                if response.status != 200:  # noqa: PLR2004 - HTTP
                    return None
                body = await response.content.read(MOST_BYTES)
                # A body may come in several pieces; read() returns the first.
                while len(body) < MOST_BYTES and (
                    more := await response.content.read(MOST_BYTES - len(body))
                ):
                    body += more
                return _Status.model_validate_json(body)
        except (aiohttp.ClientError, TimeoutError, ValidationError) as error:
            _log.debug("router unreachable address=%s error=%r", address, error)
            return None
