"""Joins requests that are there at the same time into one call of the model, and never makes one wait for another.

What arrives in two turns of the event loop is one batch, and so is what arrives while the model is at work: a lone request
goes at once, and the busier the server, the larger the batches. Calls shorter than a switch of threads is worth run on
the event loop; longer ones in threads, so that the loop goes on answering health checks.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from perennial_server.engine.call_times import CallTimes, Measured, measure
from perennial_server.engine.job import Job
from perennial_server.engine.model_call import Outcome
from perennial_server.errors import TooLate


class Estimate(NamedTuple):
    """In how many seconds the model would begin with a job put now, and in how many it would have answered."""

    wait_s: float
    answer_s: float


AT_ONCE = Estimate(0.0, 0.0)
USUAL_WEIGHT = 0.05  # of the newest request in the moving average of rows


class Batcher:
    """Collects jobs, calls the model with batches of them, and hands on what became of each batch.

    Parameters
    ----------
    call
        Calls the model with jobs of one kind; blocks and never raises.
    settle
        Gives each job its answer; called on the event loop.
    max_rows, max_call_s
        Of a batch: its rows, and how long the model is expected to work on them; a single job may have more.
    threads
        Calls in threads at once.
    inline_below_s
        Calls expected to be shorter run on the event loop.
    """

    def __init__(
        self,
        call: Callable[[Sequence[Job]], Outcome],
        settle: Callable[[Outcome], None],
        *,
        max_rows: int,
        max_call_s: float,
        threads: int,
        inline_below_s: float,
    ) -> None:
        self._call = call
        self._settle = settle
        self._max_rows = max_rows
        self._max_call_s = max_call_s
        self._threads = threads
        self._inline_below_s = inline_below_s
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._lanes: dict[Hashable, deque[Job]] = {}
        self._times = CallTimes()
        self._busy_times = CallTimes()
        self._waiting_rows = 0
        self._usual_rows = 1.0
        self._running = 0
        self._flush_is_due = False
        self._sweep: asyncio.TimerHandle | None = None
        self._sweep_s = 0.0

    def put(self, kind: Hashable, job: Job) -> None:
        """Let a job wait for the next batch of its kind."""
        lane = self._lanes.get(kind)
        if lane is None:
            lane = self._lanes[kind] = deque()
        lane.append(job)
        self._waiting_rows += job.rows.n
        self._usual_rows += USUAL_WEIGHT * (job.rows.n - self._usual_rows)
        if job.deadline_s is not None:
            self._sweep_by(job.deadline_s)
        self._flush_soon()

    @property
    def has_waiting(self) -> bool:
        """Whether jobs wait for a batch."""
        return bool(self._lanes)

    def estimate(self, coming: int = 0) -> Estimate:
        """Estimate what a job put now would wait for; no time at all if nothing is before it.

        `coming` is how many jobs are on their way here before it, of which nobody knows yet how large they are.

        Nothing is refused for the model's slowness alone: if nobody were let in, nobody would notice that it has
        become fast again.
        """
        if not self._running and not self._lanes and not coming:
            return AT_ONCE
        most_rows = self._most_rows()
        waiting_rows = self._waiting_rows + coming * self._usual_rows
        call_s = self._times.estimate_s(min(max(1, int(waiting_rows)), most_rows))
        if call_s == math.inf:
            return AT_ONCE
        batches = self._running + waiting_rows / most_rows + 1
        wait_s = max(0.0, batches / self._threads - 1) * call_s
        return Estimate(wait_s, wait_s + call_s)

    def close(self) -> None:
        """Let the threads end after the work in hand, without waiting for it."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _most_rows(self) -> int:
        return max(1, self._times.rows_within(self._max_call_s, self._max_rows))

    def _flush_soon(self) -> None:
        if self._lanes and not self._flush_is_due and self._running < self._threads:
            self._flush_is_due = True
            asyncio.get_running_loop().call_soon(self._wait_a_turn)

    def _wait_a_turn(self) -> None:
        """Let in what lies in the sockets by now: with many clients the batches grow by a third, for some microseconds."""
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Start one batch; the next one waits for the next turn, so that answers go out in between."""
        self._flush_is_due = False
        if not self._lanes:  # all deadlines have passed in the meantime
            return
        try:
            jobs, n_rows = self._take()
            if not jobs:
                return
            if self._busy_times.estimate_s(n_rows) < self._inline_below_s:
                self._end_call(measure(self._call, jobs), n_rows)
            else:
                self._run_in_thread(jobs, n_rows)
        finally:
            self._flush_soon()

    def _take(self) -> tuple[list[Job], int]:
        """Take a batch from the lane that has waited longest; late jobs are answered on the way."""
        kind, lane = next(iter(self._lanes.items()))
        now_s = time.monotonic()
        jobs: list[Job] = []
        late: list[Job] = []
        n_rows = 0
        most_rows = self._most_rows()
        while lane and (not jobs or n_rows + lane[0].rows.n <= most_rows):
            job = lane.popleft()
            self._waiting_rows -= job.rows.n
            if job.deadline_s is not None and job.deadline_s <= now_s:
                late.append(job)
            elif not job.future.done():
                jobs.append(job)
                n_rows += job.rows.n
        del self._lanes[kind]
        if lane:
            self._lanes[kind] = lane  # behind the others
        if late:
            self._settle(too_late(late))
        return jobs, n_rows

    def _run_in_thread(self, jobs: list[Job], n_rows: int) -> None:
        self._running += 1
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._pool, measure, self._call, jobs)
        future.add_done_callback(lambda done: self._end_thread(done, n_rows))

    def _end_thread(self, done: asyncio.Future[Measured], n_rows: int) -> None:
        self._running -= 1
        self._flush_soon()
        if done.cancelled():  # only `close` does that, when nobody waits any more
            return
        self._end_call(done.result(), n_rows)

    def _end_call(self, measured: Measured, n_rows: int) -> None:
        self._times.add(n_rows, measured.duration_s)
        self._busy_times.add(n_rows, measured.busy_s)
        self._settle(measured.outcome)

    def _sweep_by(self, deadline_s: float) -> None:
        """Have late jobs answered by then, even if the model is still at work on others."""
        if self._sweep is None or deadline_s < self._sweep_s:
            if self._sweep is not None:
                self._sweep.cancel()
            self._sweep_s = deadline_s
            delay_s = max(0.0, deadline_s - time.monotonic())
            self._sweep = asyncio.get_running_loop().call_later(delay_s, self._answer_late)

    def _answer_late(self) -> None:
        self._sweep = None
        now_s = time.monotonic()
        late: list[Job] = []
        next_s = math.inf
        for kind, lane in list(self._lanes.items()):
            late += [job for job in lane if job.deadline_s is not None and job.deadline_s <= now_s]
            kept = deque(job for job in lane if job.deadline_s is None or job.deadline_s > now_s)
            next_s = min((job.deadline_s for job in kept if job.deadline_s is not None), default=next_s)
            if kept:
                self._lanes[kind] = kept
            else:
                del self._lanes[kind]
        self._waiting_rows -= sum(job.rows.n for job in late)
        if late:
            self._settle(too_late(late))
        if next_s < math.inf:
            self._sweep_by(next_s)


def too_late(jobs: Sequence[Job]) -> Outcome:
    """Refuse jobs for which nobody waits any more."""
    return Outcome(failed=tuple((job, TooLate()) for job in jobs))
