"""Answers on the server's port while it is still loading: alive, not ready, and how far it is.

Without it a kubelet could not tell a long download from a server that hangs, and would have to kill either after the
same time.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from perennial_server.loading.progress import Progress

MAX_HEAD_BYTES = 16 * 1024
HEAD_TIMEOUT_S = 5.0
_REASONS = {200: "OK", 503: "Service Unavailable"}


@asynccontextmanager
async def answer_while_loading(sock: socket.socket, progress: Progress) -> AsyncIterator[None]:
    """Answer on a bound socket until the block ends; the socket itself stays open for the server that follows."""
    twin = sock.dup()
    twin.setblocking(False)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(render_answer(head, progress))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, sock=twin, limit=MAX_HEAD_BYTES)
    try:
        yield
    finally:
        server.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), HEAD_TIMEOUT_S)


def render_answer(head: bytes, progress: Progress) -> bytes:
    r"""Write the HTTP answer to a request's head.

    Examples
    --------
    >>> render_answer(b"GET /v2/health/live HTTP/1.1\r\n\r\n", Progress()).split(b"\r\n")[0]
    b'HTTP/1.1 200 OK'
    >>> render_answer(b"GET /v2/health/ready HTTP/1.1\r\n\r\n", Progress()).split(b"\r\n")[-1]
    b'{"ready": false, "loading": {"phase": "Fetching", "doneBytes": 0, "totalBytes": null}}'
    """
    path = head.split(b"\r\n", 1)[0].split(b" ")[1:2]
    status = 503
    body: dict[str, Any] = {"error": "the model is being loaded; see /v2/health/ready"}
    if path == [b"/v2/health/live"]:
        status, body = 200, {"live": True}
    elif path == [b"/v2/health/ready"]:
        body = {"ready": False, "loading": progress.render()}
    data = json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        "content-type: application/json",
        f"content-length: {len(data)}",
        "retry-after: 1",
        "connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + data
