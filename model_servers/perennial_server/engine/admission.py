"""Who is let in: bounded in requests and in bytes, so that a flood costs refusals and never memory."""

import math
from collections.abc import Callable

LONGEST_RETRY_S = 30
MEMORY_S = 10.0  # busy seconds after which what was measured counts half


class Admission:
    """Places for requests, and how fast they become free.

    The rate is measured over the time in which somebody was in: it says what the server can do, not what was asked
    of it.

    Parameters
    ----------
    max_requests, max_bytes
        Of bodies, held at once.
    clock
        Monotonic, in seconds.
    """

    def __init__(self, max_requests: int, max_bytes: int, clock: Callable[[], float]) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._clock = clock
        self._mark_s = 0.0
        self._busy_s = 0.0
        self._left = 0.0
        self.requests = 0
        self.size_bytes = 0

    def is_full_with(self, coming: int) -> bool:
        """Whether there is no place for anybody more than so many who are on their way."""
        return self.requests + coming >= self._max_requests or self.size_bytes >= self._max_bytes

    def take(self, size_bytes: int) -> bool:
        """Take a place for a body of this size; false if there is none."""
        if self.requests >= self._max_requests or self.size_bytes + size_bytes > self._max_bytes:
            return False
        if not self.requests:
            self._mark_s = self._clock()
        self.requests += 1
        self.size_bytes += size_bytes
        return True

    def resize(self, before_bytes: int, after_bytes: int) -> bool:
        """Keep a place for a body of another size than it was taken with; false if there is no room for it."""
        size_bytes = self.size_bytes - before_bytes + after_bytes
        if after_bytes > before_bytes and size_bytes > self._max_bytes:
            return False
        self.size_bytes = size_bytes
        return True

    def give_back(self, size_bytes: int) -> None:
        """Give a place back, with the size that it was taken with."""
        now_s = self._clock()
        self._busy_s += now_s - self._mark_s
        self._mark_s = now_s
        self._left += 1
        if self._busy_s > MEMORY_S:
            self._busy_s /= 2
            self._left /= 2
        self.requests -= 1
        self.size_bytes -= size_bytes

    def retry_after_s(self) -> int:
        """Return after how many whole seconds those who are in now will have left, at least 1."""
        if not self.requests or not self._left:
            return 1
        busy_s = self._busy_s + self._clock() - self._mark_s
        return min(max(1, math.ceil(self.requests * busy_s / self._left)), LONGEST_RETRY_S)
