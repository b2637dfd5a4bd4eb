"""Sends each request to its part: the v2 protocol, the metrics, or BentoML for everything else."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from perennial_server.app import Receive, Scope, Send
from perennial_server.metrics import CONTENT_TYPE
from perennial_server.runtime import Runtime


class Front:
    """The ASGI application that `perennial-server` runs.

    Parameters
    ----------
    runtime
        Started.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._bento: Any = None
        self._lock = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path.startswith("/v2/") or path == "/v2":
            await self._runtime.v2(scope, receive, send)
        elif path == "/metrics":
            body = self._runtime.predictor.metrics.render()
            headers = [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        else:
            await (await self._get_bento())(scope, receive, send)

    async def _get_bento(self) -> Any:
        async with self._lock:
            if self._bento is None:
                bento = await asyncio.to_thread(_build_bento, self._runtime)
                await self._stack.enter_async_context(bento.router.lifespan_context(bento))
                self._bento = bento
            return self._bento

    async def close(self) -> None:
        """End BentoML's application, if it was built."""
        await self._stack.aclose()


def _build_bento(runtime: Runtime) -> Any:
    from perennial_server.service import build_service

    return build_service(runtime).to_asgi()
