"""A stand-in for the observer that takes the log and keeps nothing: ``python -m benchmarks.serving.observer PORT MODE``.

Modes: ``up`` answers 202, ``error`` 500, ``slow`` 202 after `SLOW_S`. It counts bytes only, so that it hardly costs the
client's core anything; what the server itself counts as sent and dropped is in its metrics.
"""

import asyncio
import sys
from typing import cast

import uvloop

SLOW_S = 8
MODES = ("up", "slow", "error")


class Observer(asyncio.Protocol):
    """One connection: a request's head, then as many bytes as it says."""

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._head = b""
        self._missing_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's isn't a subclass

    def data_received(self, data: bytes) -> None:
        if self._missing_bytes:
            self._missing_bytes -= len(data)
        else:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, got = self._head[:end].lower(), len(self._head) - end - 4
            self._head = b""
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self._missing_bytes = size - got
        if self._missing_bytes <= 0:
            self._missing_bytes = 0
            delay_s = SLOW_S if self._mode == "slow" else 0
            asyncio.get_running_loop().call_later(delay_s, self._answer)

    def _answer(self) -> None:
        status = b"500 Internal Server Error" if self._mode == "error" else b"202 Accepted"
        if not self._transport.is_closing():
            self._transport.write(
                b"HTTP/1.1 " + status + b"\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
            )


async def _serve(port: int, mode: str) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Observer(mode), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), sys.argv[2]))
