"""Exchanges that wait to be sent, bounded in bytes, and the counts of what became of all."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from perennial_gateway.prediction_log.exchanges import Exchange


@dataclass
class LogCounts:
    """Exchanges that Envoy has handed over: taken = sent + left out + dropped + those that wait.

    Attributes
    ----------
    left_out
        Not to be logged: not in the sample.
    dropped
        Lost, by reason.
    """

    taken: int = 0
    sent: int = 0
    left_out: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


class ExchangeQueue:
    """Holds at most `max_bytes`; when it is full the oldest go, since monitoring wants the present.

    Only the event loop touches it.
    """

    def __init__(self, max_bytes: int, counts: LogCounts) -> None:
        self._max_bytes = max_bytes
        self._counts = counts
        self._waiting: deque[Exchange] = deque()
        self.size_bytes = 0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def put(self, exchange: Exchange) -> None:
        """Add one at the end, and drop the oldest that it leaves no room for."""
        if exchange.size_bytes > self._max_bytes:
            self._counts.dropped["TooLarge"] += 1
            return
        while self.size_bytes + exchange.size_bytes > self._max_bytes:
            self._pop()
            self._counts.dropped["QueueFull"] += 1
        self._waiting.append(exchange)
        self.size_bytes += exchange.size_bytes

    def take(self, max_bytes: int) -> list[Exchange]:
        """Remove and return the oldest, at least one if any waits."""
        taken: list[Exchange] = []
        left = max_bytes
        while self._waiting and (not taken or self._waiting[0].size_bytes <= left):
            taken.append(self._pop())
            left -= taken[-1].size_bytes
        return taken

    def _pop(self) -> Exchange:
        exchange = self._waiting.popleft()
        self.size_bytes -= exchange.size_bytes
        return exchange
