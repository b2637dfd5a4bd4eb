"""Ask the other gateway pods whether they know newer routes, once the API server has gone silent.

A router that is cut off from the API server serves the weights it knows. If nobody knows newer ones
that is right; if a peer does, a rollback has passed this router by, and it must take no more traffic.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError

POLL_S = 2.0
TIMEOUT_S = 2.0

_LOG = logging.getLogger(__name__)


class Knowledge(BaseModel):
    """What a gateway pod knows of the routes.

    Attributes
    ----------
    watching
        Whether it hears the API server; only then is it newer, or the same.
    digest
        Of all routes and endpoints.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    watching: bool
    digest: str


class Peers:
    """Knows whether another gateway pod has newer routes.

    Parameters
    ----------
    host, port
        Name of all gateway pods, and their agents' port; no name asks nobody.
    own
        What this pod knows.
    silent_s
        For how long the API server has been silent.
    stale_after_s
        Silence that makes it ask.
    """

    def __init__(
        self,
        host: str,
        port: int,
        own: Callable[[], Knowledge],
        silent_s: Callable[[], float],
        stale_after_s: float,
    ) -> None:
        self._host = host
        self._port = port
        self._own = own
        self._silent_s = silent_s
        self._stale_after_s = stale_after_s
        self.newer = False

    async def run(self) -> None:
        """Keep `newer` true to the facts until cancelled."""
        if not self._host:
            return
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
            while True:
                await self._check(session)
                await asyncio.sleep(POLL_S)

    async def _check(self, session: aiohttp.ClientSession) -> None:
        if self._silent_s() < self._stale_after_s:
            newer = False
        else:
            answers = await asyncio.gather(
                *(self._ask(session, address) for address in await self._resolve())
            )
            heard = [peer for peer in answers if peer is not None and peer.watching]
            # Peers that are cut off as well say nothing new; the last word stands.
            newer = any(peer.digest != self._own().digest for peer in heard) if heard else self.newer
        if newer != self.newer:
            _LOG.warning("peers newer=%s silent_s=%.0f", newer, self._silent_s())
        self.newer = newer

    async def _resolve(self) -> set[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM
            )
        except OSError:
            return set()
        return {str(address[0]) for *_, address in found}

    async def _ask(self, session: aiohttp.ClientSession, address: str) -> Knowledge | None:
        host = f"[{address}]" if ":" in address else address
        try:
            async with session.get(f"http://{host}:{self._port}/knowledge") as response:
                return Knowledge.model_validate_json(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValidationError):
            return None
