"""Progress lines: how much is done, how fast, and how long it takes yet."""

import logging
import time
from collections.abc import Callable

from perennial_server.batch.plan import Plan
from perennial_server.batch.record import Counts

logger = logging.getLogger(__name__)


class Progress:
    """Counts parts and tells of them now and then.

    Parameters
    ----------
    plan
        All there is to do.
    done
        Counts of the parts that an earlier start has done.
    interval_s
        Least time between two lines.
    clock
        Monotonic, in seconds.
    """

    def __init__(
        self, plan: Plan, done: list[Counts], interval_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._plan = plan
        self._interval_s = interval_s
        self._clock = clock
        self._start_s = self._told_s = clock()
        self.counts = sum(done, Counts())
        self._before_rows = self.counts.rows
        self._parts = len(done)

    def add(self, counts: Counts) -> None:
        """Count a part; tell of it if it is time."""
        self.counts += counts
        self._parts += 1
        if self._clock() - self._told_s >= self._interval_s:
            self.tell()

    def tell(self) -> None:
        """Write a line."""
        self._told_s = self._clock()
        logger.info("progress %s", self.render())

    def render(self) -> str:
        """Return the line's key-values."""
        elapsed_s = max(self._clock() - self._start_s, 1e-9)
        rows_per_s = (self.counts.rows - self._before_rows) / elapsed_s
        left = self._plan.rows - self.counts.rows
        eta = f"{left / rows_per_s:.0f}" if rows_per_s else "unknown"
        return (
            f"rows={self.counts.rows}/{self._plan.rows} rejected={self.counts.rejected} flags={self.counts.flags} "
            f"parts={self._parts}/{self._plan.parts} rows_per_s={rows_per_s:.0f} eta_s={eta}"
        )
