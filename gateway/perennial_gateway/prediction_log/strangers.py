"""Messages for deployments that the observer doesn't know yet: its watch may be behind the gateway's. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from perennial_gateway.prediction_log.bodies import Message

MAX_BYTES = 8 * 2**20
MAX_MESSAGES = 64
"""Each is asked for anew with every batch, if it is its deployment's first."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    message: Message
    since_s: float


class Strangers:
    """Holds a bounded number of messages, each for a bounded time: one whose deployment is gone is never taken.

    Parameters
    ----------
    max_wait_s
        How long a message is kept.
    """

    def __init__(self, max_wait_s: float) -> None:
        self._max_wait_s = max_wait_s
        self._waiting: deque[_Waiting] = deque()
        self.size_bytes = 0

    @property
    def messages(self) -> tuple[Message, ...]:
        """What waits, the oldest first."""
        return tuple(waiting.message for waiting in self._waiting)

    @property
    def exchanges(self) -> int:
        """How many exchanges are in them."""
        return sum(message.exchanges for message in self.messages)

    def put(self, message: Message, now_s: float) -> None:
        """Add one at the end; `expire` takes what there is no room for."""
        self._waiting.append(_Waiting(message, now_s))
        self.size_bytes += len(message.body)

    def remove(self, message: Message) -> None:
        """Take one out, which was sent."""
        self._waiting = deque(waiting for waiting in self._waiting if waiting.message is not message)
        self.size_bytes -= len(message.body)

    def expire(self, now_s: float) -> list[Message]:
        """Take out and return those that have waited too long, and the oldest that are too many."""
        gone: list[Message] = []
        while self._waiting and (
            now_s - self._waiting[0].since_s >= self._max_wait_s
            or len(self._waiting) > MAX_MESSAGES
            or self.size_bytes > MAX_BYTES
        ):
            gone.append(self._waiting.popleft().message)
            self.size_bytes -= len(gone[-1].body)
        return gone
