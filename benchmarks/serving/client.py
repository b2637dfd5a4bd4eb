"""A load generator with next to nothing in its way: raw sockets, requests built beforehand, answers barely read.

Closed loop: each of some connections sends its next request when it has its answer. What it costs itself is measured
against `canned.py`, a server that answers without thinking.
"""

import asyncio
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import uvloop

HEAD_END = b"\r\n\r\n"


def build_request(path: str, body: bytes) -> bytes:
    """Build a whole HTTP/1.1 request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class BadAnswer(Exception):
    """An answer that this client can't read."""


class AnswerReader:
    """Cuts a stream of bytes into answers."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> tuple[int, bytes, bool] | None:
        """Add bytes; return status, body and whether the server closes, once one answer is whole."""
        if self._data:
            data = self._data + data
        end = data.find(HEAD_END)
        if end < 0:
            self._data = data
            return None
        head = data[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        if at < 0:
            raise BadAnswer(f"without a content-length: {head[:300]!r}")
        line_end = head.find(b"\r\n", at + 2)
        size = int(head[at + 17 : line_end if line_end > 0 else None])
        start = end + 4
        if len(data) < start + size:
            self._data = data
            return None
        self._data = b""
        return int(head[9:12]), data[start : start + size], b"\r\nconnection: close" in head


@dataclass
class Tally:
    """What one measurement saw; latencies in seconds, of answers with status 200. `cpu_s` is the server's."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    busy_share: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """Answers with status 200 per second."""
        return len(self.latencies_s) / self.seconds

    @property
    def cpu_us(self) -> float:
        """The server's CPU time for an answer, in microseconds; NaN if there is none."""
        return 1e6 * self.cpu_s / len(self.latencies_s) if self.latencies_s else float("nan")

    def latency_ms(self, share: float) -> float:
        """Return a quantile of the latencies, in ms; NaN if there are none."""
        ordered = sorted(self.latencies_s)
        return 1000 * ordered[int(share * (len(ordered) - 1))] if ordered else float("nan")


class ClosedLoop(asyncio.Protocol):
    """One connection that always waits for one answer."""

    def __init__(self, requests: list[bytes], at: int, tally: Tally) -> None:
        self._requests = requests
        self._at = at
        self._tally = tally
        self._reader = AnswerReader()
        self._sent_s = 0.0
        self._transport: asyncio.Transport | None = None
        self.lost: BaseException | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's isn't a subclass
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        self._at += 1
        self._sent_s = time.perf_counter()
        self._transport.write(self._requests[self._at % len(self._requests)])

    def data_received(self, data: bytes) -> None:
        answer = self._reader.feed(data)
        if answer is None:
            return
        status = answer[0]
        tally = self._tally
        if status == 200:
            tally.latencies_s.append(time.perf_counter() - self._sent_s)
        tally.statuses[status] = tally.statuses.get(status, 0) + 1
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc or ConnectionError("the server closed the connection")

    def start_over(self, tally: Tally) -> None:
        """Count into another tally from now on."""
        self._tally = tally

    def close(self) -> None:
        assert self._transport is not None
        self._transport.abort()


@dataclass(frozen=True)
class Load:
    """How a server is asked.

    Parameters
    ----------
    connections
        How many wait for an answer at any time.
    warm_up_s, seconds
        How long without and with counting.
    """

    connections: int
    warm_up_s: float
    seconds: float


async def _measure(port: int, requests: list[bytes], load: Load, read_cpu_s: Callable[[], float]) -> Tally:
    loop = asyncio.get_running_loop()
    warm_up, tally = Tally(), Tally()
    clients = []
    for i in range(load.connections):
        at = i * len(requests) // load.connections
        _, client = await loop.create_connection(
            lambda at=at: ClosedLoop(requests, at, warm_up), "127.0.0.1", port
        )
        clients.append(client)
    await asyncio.sleep(load.warm_up_s)
    cpu_s = read_cpu_s()
    for client in clients:
        client.start_over(tally)
    start_s, busy_s = time.perf_counter(), time.process_time()
    await asyncio.sleep(load.seconds)
    tally.seconds = time.perf_counter() - start_s
    tally.busy_share = (time.process_time() - busy_s) / tally.seconds
    for client in clients:
        client.start_over(warm_up)
    tally.cpu_s = read_cpu_s() - cpu_s
    lost = [client.lost for client in clients if client.lost is not None]
    for client in clients:
        client.close()
    if lost:
        raise BadAnswer(f"{len(lost)} of {load.connections} connections were lost, the first by {lost[0]!r}")
    return tally


def measure(
    port: int, requests: list[bytes], load: Load, read_cpu_s: Callable[[], float] = lambda: 0.0
) -> Tally:
    """Ask a server as fast as it answers; see the module.

    Parameters
    ----------
    read_cpu_s
        Tells the CPU time that the server has taken.

    Raises
    ------
    BadAnswer, OSError
        It doesn't speak HTTP/1.1 as expected, or closes connections.
    """
    gc.collect()
    gc.disable()
    try:
        return uvloop.run(_measure(port, requests, load, read_cpu_s))
    finally:
        gc.enable()
