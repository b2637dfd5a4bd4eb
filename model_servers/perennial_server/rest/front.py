"""Sends each request to its part: the v2 protocol, the metrics, the sample, or BentoML for everything else."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from perennial_server.metrics import CONTENT_TYPE
from perennial_server.origin import PREDICTION_ID_HEADER
from perennial_server.protocol.metadata import render_error
from perennial_server.rest.asgi import Receive, Scope, Send
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
            await _respond(send, 200, body, CONTENT_TYPE)
        elif path == "/sample":
            await _respond(send, *answer_sample(scope, self._runtime.sample), "application/json")
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


def answer_sample(scope: Scope, sample: bytes | None) -> tuple[int, bytes]:
    """Answer ``GET /sample`` with an inference request that the model answers: status and body.

    The operator asks for it, pod by pod. Whatever came through the gateway, which gives every request an id, is a
    client's and gets nothing: the values are of the training data.
    """
    if any(name == PREDICTION_ID_HEADER.encode() for name, _ in scope["headers"]):
        return 404, render_error("/sample: there is nothing here")
    if scope["method"] not in {"GET", "HEAD"}:
        return 405, render_error(f"{scope['method']} isn't allowed here; use GET")
    if sample is None:
        return 404, render_error(
            "the model has no reference sample, or refuses rows mixed of it; see the server's log"
        )
    return 200, sample


async def _respond(send: Send, status: int, body: bytes, content_type: str) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _build_bento(runtime: Runtime) -> Any:
    from perennial_server.service import build_service

    return build_service(runtime).to_asgi()
