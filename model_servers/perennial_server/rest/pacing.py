"""Bounds what refusing costs: a connection that was refused is read again in its turn, and not at once.

Whoever heeds ``Retry-After`` doesn't notice. Of whoever doesn't, the next request waits in the kernel, where it costs
nothing, until refusals have had their share of the time; so most of the time is left for answers however many come.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

# Turns that come sooner aren't waited for, and those that come together end together: a refusal beside a busy model costs
# some 130 us when it comes alone, as the caches have to be filled again, and less in company.
GRAIN_S = 0.25


class Readable(Protocol):
    """A connection's reading side, as uvicorn's flow control has it."""

    def pause_reading(self) -> None:
        """Read no more."""

    def resume_reading(self) -> None:
        """Read again; does nothing on a closed connection."""


class Pacer:
    """Gives refused connections their turns.

    Parameters
    ----------
    per_second
        Turns in a second.
    longest_s
        That one waits for its turn: with more connections than that allows, turns come faster.
    is_busy
        Whether the server still refuses; as soon as it doesn't, everybody is read.
    """

    def __init__(self, per_second: float, longest_s: float, is_busy: Callable[[], bool]) -> None:
        self._pause_s = 1 / per_second
        self._longest_s = longest_s
        self._is_busy = is_busy
        self._held: deque[tuple[float, Readable]] = deque()
        self._next_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many connections wait for their turn."""
        return len(self._held)

    def hold(self, connection: Readable) -> None:
        """Read a connection that has been refused no more until its turn comes."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        self._next_s = max(now_s, min(self._next_s + self._pause_s, now_s + self._longest_s))
        if self._next_s - now_s < GRAIN_S:
            return
        connection.pause_reading()
        self._held.append((self._next_s, connection))
        if self._timer is None:
            self._timer = loop.call_later(GRAIN_S, self._release)

    def _release(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        is_busy = self._is_busy()
        while self._held and (self._held[0][0] <= now_s or not is_busy):
            self._held.popleft()[1].resume_reading()
        if not is_busy:
            self._next_s = 0.0
        self._timer = loop.call_later(GRAIN_S, self._release) if self._held else None
