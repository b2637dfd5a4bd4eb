"""Batches that wait to be sent, bounded in bytes. Predictions never wait for it."""

import threading
from collections import deque

from perennial_server.prediction_log.batch import LoggedBatch
from perennial_server.prediction_log.counts import LogCounts
from perennial_server.prediction_log.picking import halve
from perennial_server.prediction_log.sizes import estimate_bytes


class LogQueue:
    """A PredictionLog of at most `max_bytes`; when it is full the oldest go, since monitoring wants the present.

    Parameters
    ----------
    max_bytes
        Of all batches in it, by estimate.
    counts
        Of the outlet that it is for.
    """

    def __init__(self, max_bytes: int, counts: LogCounts) -> None:
        self._max_bytes = max_bytes
        self._counts = counts
        self._batches: deque[tuple[int, LoggedBatch]] = deque()
        self._size_bytes = 0
        self._requests = 0
        self._lock = threading.Lock()
        counts.queue_bytes.set_function(lambda: self._size_bytes)

    def __len__(self) -> int:
        """How many requests wait."""
        return self._requests

    @property
    def size_bytes(self) -> int:
        """Bytes held now."""
        return self._size_bytes

    def put(self, batch: LoggedBatch) -> None:
        """Add a batch at the end; never waits. Drops the oldest when full, and counts them."""
        size = estimate_bytes(batch)
        self._counts.taken.inc(len(batch.sizes))
        if size > self._max_bytes:
            self._counts.drop("TooLarge", len(batch.sizes))
            return
        dropped = 0
        with self._lock:
            while self._size_bytes + size > self._max_bytes:
                dropped += len(self._pop().sizes)
            self._push((size, batch))
        if dropped:
            self._counts.drop("QueueFull", dropped)

    def take(self, *, max_bytes: int, max_requests: int) -> list[LoggedBatch]:
        """Remove and return the oldest: at least one request if there is any, else within both limits.

        A batch over a limit is cut, for whoever is sent it has limits, too.
        """
        taken: list[LoggedBatch] = []
        size_left, requests_left = max_bytes, max_requests
        with self._lock:
            while self._batches:
                size, batch = self._batches[0]
                if (size <= size_left and len(batch.sizes) <= requests_left) or (
                    not taken and len(batch.sizes) == 1
                ):
                    taken.append(self._pop())
                    size_left -= size
                    requests_left -= len(batch.sizes)
                elif taken:
                    break
                else:
                    first, rest = halve(self._pop())
                    self._push((estimate_bytes(rest), rest), first=True)
                    self._push((estimate_bytes(first), first), first=True)
        return taken

    def _pop(self) -> LoggedBatch:
        size, batch = self._batches.popleft()
        self._size_bytes -= size
        self._requests -= len(batch.sizes)
        return batch

    def _push(self, item: tuple[int, LoggedBatch], *, first: bool = False) -> None:
        (self._batches.appendleft if first else self._batches.append)(item)
        self._size_bytes += item[0]
        self._requests += len(item[1].sizes)
