"""Ask the router agents of all gateway pods what they have counted.

They are found by the name of the gateway's headless Service, as the agents find each other: no right in the cluster is
needed for it, and pods that are on their way out still answer.
"""

import asyncio
import logging
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from perennial_observer.errors import Unavailable
from perennial_observer.service_level.counting import RouterReading, Tally
from perennial_observer.store.rows import DeploymentKey

__all__ = ["RouterStatus", "Routers", "cut_out"]

_LOG = logging.getLogger(__name__)

MOST_BYTES = 16 << 20
MOST_ROUTERS = 64

# `<deployment>-<8 hex>`: so `wine` has no part in what `wine-red` is asked.
_HASH = r"-[0-9a-f]{8}"
_UNSERVED = ""


class _Counters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    requests: int = Field(ge=0)
    errors: int = Field(ge=0)
    slow: int = Field(default=0, ge=0)


class RouterStatus(BaseModel):
    """What the agent's `/status` says, keys `<namespace>/<name>`; what a later release adds is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pod: str = Field(min_length=1)
    epoch: str = Field(min_length=1)
    unserved: Mapping[str, NonNegativeInt] = {}
    counters: Mapping[str, _Counters] = {}


def cut_out(statuses: Sequence[RouterStatus], key: DeploymentKey) -> tuple[RouterReading, ...]:
    """Cut out what concerns one deployment: all its revisions, and what found no server ready."""
    mine = re.compile(re.escape(f"{key.namespace}/{key.name}") + _HASH)
    readings = []
    for status in statuses:
        counters = {
            name.partition("/")[2]: Tally(requests=c.requests, failed=c.errors, slow=c.slow)
            for name, c in status.counters.items()
            if mine.fullmatch(name)
        }
        if unserved := status.unserved.get(f"{key.namespace}/{key.name}"):
            counters[_UNSERVED] = Tally(requests=unserved, failed=unserved)
        readings.append(RouterReading(status.pod, status.epoch, counters))
    return tuple(readings)


@dataclass
class Routers:
    """Reads all routers.

    Parameters
    ----------
    host, port
        Name of all gateway pods, and their agents' port.
    timeout_s
        Longest wait for one of them.
    """

    host: str
    port: int
    timeout_s: float
    _silent: dict[str, str] = field(default_factory=dict)

    async def read(self) -> tuple[RouterStatus, ...]:
        """Return what those say that answer.

        Raises
        ------
        Unavailable
            If the name leads nowhere.
        """
        addresses = sorted(await self._resolve())[:MOST_ROUTERS]
        timeout = aiohttp.ClientTimeout(total=self.timeout_s)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            answers = await asyncio.gather(*(self._ask(session, address) for address in addresses))
        statuses = {answer.pod: answer for answer in answers if answer is not None}
        return tuple(statuses[pod] for pod in sorted(statuses))

    async def _resolve(self) -> set[str]:
        loop = asyncio.get_running_loop()
        try:
            # Resolvers have timeouts of their own, which may be long.
            found = await asyncio.wait_for(
                loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM), self.timeout_s
            )
        except (OSError, TimeoutError) as error:
            raise Unavailable(
                f"no gateway is known by the name {self.host}: correct PERENNIAL_ROUTER_HOST ({error!r})",
                "NoRouters",
            ) from error
        return {str(address[0]) for *_, address in found}

    async def _ask(self, session: aiohttp.ClientSession, address: str) -> RouterStatus | None:
        host = f"[{address}]" if ":" in address else address
        try:
            async with session.get(f"http://{host}:{self.port}/status") as response:
                response.raise_for_status()
                status = RouterStatus.model_validate_json(await _read_bounded(response))
        except (aiohttp.ClientError, TimeoutError, OSError, ValidationError, ValueError) as error:
            self._tell(address, f"{type(error).__name__}: {error}"[:300])
            return None
        self._tell(address, "")
        return status

    def _tell(self, address: str, problem: str) -> None:
        """Log one line when a router falls silent, and none while it stays so."""
        if problem and address not in self._silent:
            _LOG.warning("router does not answer address=%s error=%s", address, problem)
            self._silent[address] = problem
        elif not problem:
            self._silent.pop(address, None)
        while len(self._silent) > MOST_ROUTERS:
            self._silent.pop(next(iter(self._silent)))


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    body: Any = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > MOST_BYTES:
            raise ValueError(f"its answer is over {MOST_BYTES} bytes")
    return bytes(body)
