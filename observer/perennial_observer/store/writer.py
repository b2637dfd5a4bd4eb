"""The one thread that writes: bounded queues before it, many jobs to a transaction behind it."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from perennial_observer.errors import Overloaded, Unavailable
from perennial_observer.store.engine import begin_writing
from perennial_observer.store.failures import is_outage, translate

__all__ = ["Jobs", "Writer"]

_LOG = logging.getLogger(__name__)

MAX_JOBS_PER_COMMIT = 64
# What is urgent waits for one commit at most, so none may take long: a lease ends after seconds.
MAX_BYTES_PER_COMMIT = 8 << 20
# As long as others wait, so many jobs of a commit are theirs.
MIN_OTHER_JOBS = MAX_JOBS_PER_COMMIT // 2
MAX_URGENT_JOBS = 1_024

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class _Job:
    work: Callable[[Connection], Any]
    size_bytes: int
    future: "Future[Any]"


@dataclass(frozen=True)
class _Failure:
    """Why a transaction wrote nothing; `is_common`: any other would have fared the same."""

    error: Exception
    is_common: bool


class Jobs(Protocol):
    """Where write jobs are queued."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes in the queue now."""
        ...

    def submit(self, work: Callable[[Connection], _Result], size_bytes: int) -> "Future[_Result]":
        """Queue `work`; of size 0 is what goes before all that servers and users send."""
        ...

    def close(self) -> None:
        """Finish what is queued and take no more."""
        ...


class Writer:
    """Runs write jobs one after another; a job's future resolves only after its commit.

    A job may look first and insert then: nobody else writes meanwhile, also no other observer (see `engine.py`).

    There are two queues, each in its order. Jobs of size 0 are the observer's own, few and urgent: behind the log
    entries of a busy hour, leases would run out and health checks fail. They go first.

    Parameters
    ----------
    max_bytes
        Sum of the waiting jobs' sizes beyond which :meth:`submit` raises Overloaded.
    """

    def __init__(self, engine: Engine, max_bytes: int) -> None:
        self._engine = engine
        self._max_bytes = max_bytes
        self._urgent: deque[_Job] = deque()
        self._others: deque[_Job] = deque()
        self._waiting_bytes = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        """Bytes in the queue now."""
        return self._waiting_bytes

    def submit(self, work: Callable[[Connection], _Result], size_bytes: int) -> "Future[_Result]":
        """Queue `work`.

        Raises
        ------
        Overloaded
            If the queue is full; nothing was queued.
        """
        future: Future[_Result] = Future()
        with self._changed:
            if self._closed:
                raise Unavailable("the observer is shutting down: send it again", "ShuttingDown")
            if self._is_full(size_bytes):
                raise Overloaded("the write queue is full: send it again later", "WriteQueueFull")
            self._waiting_bytes += size_bytes
            (self._others if size_bytes else self._urgent).append(_Job(work, size_bytes, future))
            self._changed.notify()
        return future

    def _is_full(self, size_bytes: int) -> bool:
        if size_bytes == 0:
            return len(self._urgent) >= MAX_URGENT_JOBS
        return self._waiting_bytes > 0 and self._waiting_bytes + size_bytes > self._max_bytes

    def close(self, timeout_s: float = 20.0) -> None:
        """Finish what is queued and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while batch := self._take():
            # A caller that went away before its turn has nothing written; after this line it can't cancel.
            if wanted := [item for item in batch if item.future.set_running_or_notify_cancel()]:
                self._commit(wanted)
            with self._changed:
                self._waiting_bytes -= sum(item.size_bytes for item in batch)

    def _take(self) -> list[_Job]:
        """Wait for jobs and return the next transaction's; none when all is done and no more will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._urgent or self._others or self._closed)
            n_urgent = MAX_JOBS_PER_COMMIT - min(len(self._others), MIN_OTHER_JOBS)
            batch = [self._urgent.popleft() for _ in range(min(len(self._urgent), n_urgent))]
            size_bytes = 0
            while self._others and len(batch) < MAX_JOBS_PER_COMMIT:
                size_bytes += self._others[0].size_bytes
                # However large it is, the first one comes along: it never fits better.
                if size_bytes > MAX_BYTES_PER_COMMIT and size_bytes > self._others[0].size_bytes:
                    break
                batch.append(self._others.popleft())
            return batch

    def _commit(self, batch: list[_Job]) -> None:
        failure = self._attempt(batch)
        if failure is None:
            return
        if failure.is_common or len(batch) == 1:
            self._refuse(batch, failure)
            return
        # One job spoils the transaction of all: run them one by one, so that only its caller is told.
        _LOG.warning("batch of %d writes failed, retrying one by one", len(batch), exc_info=failure.error)
        for place, job in enumerate(batch):
            failure = self._attempt([job])
            if failure is not None and failure.is_common:
                self._refuse(batch[place:], failure)
                return
            if failure is not None:
                self._refuse([job], failure)

    def _attempt(self, jobs: list[_Job]) -> _Failure | None:
        """Run jobs in one transaction and answer their callers, or say why nothing was written."""
        has_turn = False
        try:
            with begin_writing(self._engine) as connection:
                has_turn = True
                results = [job.work(connection) for job in jobs]
        except Exception as error:  # noqa: BLE001  the top of the writer's loop: the callers get it, the thread lives
            # Before the turn has come no job is at fault, and each would wait for it in vain as long again.
            return _Failure(error, is_common=not has_turn or is_outage(error))
        for job, result in zip(jobs, results, strict=True):
            job.future.set_result(result)
        return None

    def _refuse(self, jobs: list[_Job], failure: _Failure) -> None:
        told = failure.error
        if isinstance(told, SQLAlchemyError):
            told = translate(told)
            # One line while the database is away, the traceback for what nobody expected.
            _LOG.error("write failed: %s", told, exc_info=None if failure.is_common else failure.error)
        for job in jobs:
            job.future.set_exception(told)
