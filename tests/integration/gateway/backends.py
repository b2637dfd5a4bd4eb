"""Tiny model servers and observers on loopback that answer with what they were sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from perennial_gateway.model import Endpoint


@dataclass
class Backend:
    """One running server; `status` is what it answers, after `delay_s`; `seen` is what it was sent."""

    name: str
    status: int = 200
    delay_s: float = 0.0
    port: int = 0
    requests: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    seen: list[dict[str, Any]] = field(default_factory=list, repr=False)
    runner: web.AppRunner | None = field(default=None, repr=False)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self.port)

    def __post_init__(self) -> None:
        self.released.set()

    def hold(self) -> None:
        """Let every request hang until `released` is set."""
        self.released.clear()

    async def answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        body = await request.read()
        sent = {
            "backend": self.name,
            "path": request.path_qs,
            "method": request.method,
            "headers": {k.lower(): v for k, v in request.headers.items()},
            "size_bytes": len(body),
        }
        self.seen.append(sent)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        await self.released.wait()
        return web.json_response(
            sent,
            status=self.status,
            # A server that forges the gateway's headers must not get through.
            headers={"x-model-revision": "forged", "x-prediction-id": "forged"},
        )

    async def start(self) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self.answer)
        self.runner = web.AppRunner(app, shutdown_timeout=2)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.released.set()
        if self.runner:
            await self.runner.cleanup()
            self.runner = None


@asynccontextmanager
async def running(name: str, status: int = 200, delay_s: float = 0.0) -> AsyncIterator[Backend]:
    backend = Backend(name, status, delay_s)
    await backend.start()
    try:
        yield backend
    finally:
        await backend.stop()
