"""How many rows come in a second, and which share of them may be kept. Pure."""

import math
from dataclasses import dataclass

__all__ = ["Rate", "choose_share"]

# A rate is an average whose weights fall by 1/e in so many seconds: servers send every second or so, and the share that
# follows from the rate shall not swing with each of their batches.
MEMORY_S = 10.0


@dataclass(frozen=True)
class Rate:
    """Rows a second, as of a time by a clock that nobody sets.

    Examples
    --------
    >>> rate = Rate()
    >>> for second in range(100):
    ...     rate = rate.after(500, now=float(second))
    >>> round(rate.per_s)
    525
    """

    per_s: float = 0.0
    time_s: float = 0.0

    def after(self, rows: int, *, now: float) -> "Rate":
        """Return the rate when `rows` have come.

        Parameters
        ----------
        now
            Monotonic seconds. Batches are counted when they are written, and so not always in the order of their times:
            one that is late changes no time.
        """
        time_s = max(now, self.time_s)
        return Rate(self.per_s * math.exp((self.time_s - time_s) / MEMORY_S) + rows / MEMORY_S, time_s)


def choose_share(rate: Rate, max_rows_per_s: float | None) -> float:
    """Return the share of the rows that keeps them within `max_rows_per_s`; None: there is no limit."""
    if max_rows_per_s is None or rate.per_s <= max_rows_per_s:
        return 1.0
    return max_rows_per_s / rate.per_s
