"""How long a call of the model takes, by its number of rows: what decides where a batch runs, and who may still wait."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from perennial_server.engine.job import Job
from perennial_server.engine.model_call import Outcome

WEIGHT = 0.1  # of the newest call in the moving average
SHORTEST_S = 1e-6  # clocks have grains
WAITING_FACTOR = 20  # a call whose duration is more than so many times its CPU time waits for something


class CallTimes:
    """Moving averages of call durations, one for each power of two of rows.

    Examples
    --------
    >>> times = CallTimes()
    >>> times.add(16, 0.001)
    >>> times.estimate_s(20), times.estimate_s(64), times.estimate_s(1)
    (0.001, 0.004, 0.001)
    """

    def __init__(self) -> None:
        self._by_size: dict[int, float] = {}
        self._guesses: dict[int, float] = {}

    def add(self, n_rows: int, duration_s: float) -> None:
        """Take a call into account."""
        size = n_rows.bit_length()
        duration_s = max(duration_s, SHORTEST_S)
        before = self._by_size.get(size)
        self._by_size[size] = duration_s if before is None else before + WEIGHT * (duration_s - before)
        self._guesses.clear()

    def estimate_s(self, n_rows: int) -> float:
        """Estimate the duration of a call; infinite before the first one.

        A size never seen takes as long as the next larger one seen, or as the next smaller in proportion to its
        rows, whichever is less.
        """
        size = n_rows.bit_length()
        known = self._by_size.get(size)
        if known is None:
            known = self._guesses.get(size)
        if known is None:
            known = self._guesses[size] = self._guess_s(size)
        return known

    def rows_within(self, duration_s: float, most: int) -> int:
        """Return how many rows, at most `most`, a call may have that isn't expected to take longer.

        Nor is a call refused that takes no longer than two of the shortest one. Since a guess in proportion is too high
        for many models, one size more than what fits is tried once; and a size whose own figure is old is let in again
        as soon as a smaller one's, in proportion, fits.

        Examples
        --------
        >>> times = CallTimes()
        >>> times.rows_within(0.1, 1000)
        1000
        >>> times.add(16, 0.001)
        >>> times.rows_within(0.005, 1000), times.rows_within(0.1, 1000)
        (255, 1000)
        """
        if self.estimate_s(most) <= duration_s or not self._by_size:
            return most
        limit_s = max(duration_s, 2 * min(self._by_size.values()))
        size = max(
            seen + int(math.log2(limit_s / seen_s))
            for seen, seen_s in self._by_size.items()
            if seen_s <= limit_s
        )
        if size + 1 not in self._by_size:
            size += 1
        return min(most, (1 << size) - 1)

    def _guess_s(self, size: int) -> float:
        return min(
            (seen_s * max(1.0, 2.0 ** (size - seen)) for seen, seen_s in self._by_size.items()),
            default=math.inf,
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """A call of the model, and what it took."""

    outcome: Outcome
    duration_s: float
    cpu_s: float

    @property
    def busy_s(self) -> float:
        """How long it would hold up the event loop.

        What a call that computes takes beyond its CPU time is the fault of others: of threads that hold the
        interpreter, of processes, of a CPU limit. They hold up the event loop all the same, so that a switch of threads
        would only add to it. A call that hardly computes waits for something of its own.
        """
        return self.cpu_s if self.cpu_s * WAITING_FACTOR >= self.duration_s else self.duration_s


def measure(call: Callable[[Sequence[Job]], Outcome], jobs: Sequence[Job]) -> Measured:
    """Call the model, in whatever thread this is."""
    start_s, cpu_start_s = time.perf_counter(), time.thread_time()
    outcome = call(jobs)
    return Measured(outcome, time.perf_counter() - start_s, time.thread_time() - cpu_start_s)
