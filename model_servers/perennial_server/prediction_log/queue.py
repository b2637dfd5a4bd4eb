"""The prediction log: a queue bounded in bytes, and the task that sends it to the observer.

Predictions never wait for it. `put` is called in a prediction thread and takes a lock for a few instructions; when
the queue is full the oldest entries go, since monitoring wants the present.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from typing import Protocol

import orjson

from perennial_server.metrics import Metrics
from perennial_server.observer_client import Refused, Undelivered
from perennial_server.settings import Settings

logger = logging.getLogger(__name__)

ENTRY_OVERHEAD_BYTES = 64


class Poster(Protocol):
    """Sends JSON to the observer; see `ObserverClient.post`."""

    async def post(self, path: str, body: bytes, *, attempts: int) -> None:
        """Send, or raise Refused or Undelivered."""


class LogQueue:
    """Entries as JSON, at most `max_bytes` of them."""

    def __init__(self, max_bytes: int, metrics: Metrics) -> None:
        self._max_bytes = max_bytes
        self._metrics = metrics
        self._entries: deque[bytes] = deque()
        self._size_bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """Bytes held now."""
        return self._size_bytes

    def put(self, entry: bytes) -> None:
        """Add an entry at the end; never waits. Drops the oldest when full and counts them."""
        size = len(entry) + ENTRY_OVERHEAD_BYTES
        if size > self._max_bytes:
            self._metrics.log_dropped.labels("TooLarge").inc()
            return
        dropped = 0
        with self._lock:
            while self._size_bytes + size > self._max_bytes:
                self._size_bytes -= len(self._entries.popleft()) + ENTRY_OVERHEAD_BYTES
                dropped += 1
            self._entries.append(entry)
            self._size_bytes += size
            self._metrics.log_queue_bytes.set(self._size_bytes)
        if dropped:
            self._metrics.log_dropped.labels("QueueFull").inc(dropped)

    def take(self, *, max_bytes: int, max_entries: int) -> list[bytes]:
        """Remove and return the oldest entries: at least one if there is any, else within both limits."""
        taken: list[bytes] = []
        size = 0
        with self._lock:
            while self._entries and len(taken) < max_entries:
                size += len(self._entries[0]) + 1
                if taken and size > max_bytes:
                    break
                entry = self._entries.popleft()
                self._size_bytes -= len(entry) + ENTRY_OVERHEAD_BYTES
                taken.append(entry)
            self._metrics.log_queue_bytes.set(self._size_bytes)
        return taken


class LogSender:
    """Sends what is queued, batch by batch.

    Parameters
    ----------
    queue, poster, metrics, settings
        Its parts.
    """

    def __init__(self, queue: LogQueue, poster: Poster, metrics: Metrics, settings: Settings) -> None:
        self._queue = queue
        self._poster = poster
        self._metrics = metrics
        self._settings = settings
        self._closing = asyncio.Event()
        self._head = b'{"revision":' + orjson.dumps(settings.revision) + b',"entries":['
        self._task = asyncio.create_task(self._run(), name="prediction-log")

    async def close(self, timeout_s: float) -> None:
        """Send what is left, for at most `timeout_s`; count what had to be dropped."""
        self._closing.set()
        _, pending = await asyncio.wait([self._task], timeout=timeout_s)
        for task in pending:
            task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if left := len(self._queue):
            self._metrics.log_dropped.labels("Shutdown").inc(left)
            logger.warning("log entries dropped at shutdown entries=%d", left)

    async def _run(self) -> None:
        last_send = time.monotonic()
        while True:
            full = self._queue.size_bytes >= self._settings.log_batch_bytes
            due = time.monotonic() - last_send >= self._settings.log_interval_s
            if len(self._queue) and (full or due or self._closing.is_set()):
                last_send = time.monotonic()
                await self._send()
            elif self._closing.is_set():
                return
            else:
                await self._pause()

    async def _pause(self) -> None:
        """Wait a tenth of the interval, or until closing: `put` never has to wake anybody."""
        try:
            async with asyncio.timeout(self._settings.log_interval_s / 10):
                await self._closing.wait()
        except TimeoutError:
            return

    async def _send(self) -> None:
        batch = self._queue.take(
            max_bytes=self._settings.log_batch_bytes, max_entries=self._settings.log_batch_entries
        )
        body = self._head + b",".join(batch) + b"]}"
        reason = "Shutdown"
        try:
            await self._poster.post("/v1/log", body, attempts=self._settings.log_attempts)
            reason = ""
        except Refused as error:
            reason = "Refused"
            logger.warning("observer refused log entries entries=%d error=%s", len(batch), error)
        except Undelivered as error:
            reason = "Undelivered"
            logger.warning("log entries dropped entries=%d error=%s", len(batch), error)
        finally:
            # Also when cancelled in the middle of a retry: nothing is lost uncounted.
            if reason:
                self._metrics.log_dropped.labels(reason).inc(len(batch))
            else:
                self._metrics.log_sent.inc(len(batch))
