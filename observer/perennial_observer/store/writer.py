"""The one thread that writes: a queue bounded in bytes before it, many jobs to a transaction behind it."""

import logging
import queue
import threading
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

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class _Job:
    work: Callable[[Connection], Any]
    size_bytes: int
    future: "Future[Any]"


class Jobs(Protocol):
    """Where write jobs are queued."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes in the queue now."""
        ...

    def submit(self, work: Callable[[Connection], _Result], size_bytes: int) -> "Future[_Result]":
        """Queue `work`."""
        ...

    def close(self) -> None:
        """Finish what is queued and take no more."""
        ...


class Writer:
    """Runs write jobs one after another; a job's future resolves only after its commit.

    A job may look first and insert then: nobody else writes meanwhile, also no other observer (see `engine.py`).

    Parameters
    ----------
    max_bytes
        Sum of the waiting jobs' sizes beyond which :meth:`submit` raises Overloaded.
    """

    def __init__(self, engine: Engine, max_bytes: int) -> None:
        self._engine = engine
        self._max_bytes = max_bytes
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._waiting_bytes = 0
        self._closed = False
        self._lock = threading.Lock()
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
        with self._lock:
            if self._closed:
                raise Unavailable("the observer is shutting down: send it again", "ShuttingDown")
            if self._waiting_bytes and self._waiting_bytes + size_bytes > self._max_bytes:
                raise Overloaded("the write queue is full: send it again later", "WriteQueueFull")
            self._waiting_bytes += size_bytes
            self._jobs.put(_Job(work, size_bytes, future))
        return future

    def close(self, timeout_s: float = 20.0) -> None:
        """Finish what is queued and end the thread."""
        with self._lock:
            self._closed = True
            self._jobs.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        closing = False
        while not closing:
            batch: list[_Job] = []
            job = self._jobs.get()
            while job is not None:
                batch.append(job)
                if len(batch) >= MAX_JOBS_PER_COMMIT or self._jobs.empty():
                    break
                job = self._jobs.get()
            closing = job is None
            if batch:
                # A caller that went away before its turn has nothing written; after this line it can't cancel.
                self._commit([item for item in batch if item.future.set_running_or_notify_cancel()])
                with self._lock:
                    self._waiting_bytes -= sum(item.size_bytes for item in batch)

    def _commit(self, batch: list[_Job]) -> None:
        if len(batch) > 1:
            try:
                with begin_writing(self._engine) as connection:
                    results = [job.work(connection) for job in batch]
            except Exception as error:  # noqa: BLE001  see below
                if is_outage(error):
                    self._refuse(batch, error)
                    return
                # One job spoils the transaction of all: run them one by one, so that only its caller is told.
                _LOG.warning("batch of %d writes failed, retrying one by one", len(batch), exc_info=True)
            else:
                for job, result in zip(batch, results, strict=True):
                    job.future.set_result(result)
                return
        for place, job in enumerate(batch):
            failure = self._commit_one(job)
            if failure is not None and is_outage(failure):
                self._refuse(batch[place + 1 :], failure)
                return

    def _commit_one(self, job: _Job) -> Exception | None:
        try:
            with begin_writing(self._engine) as connection:
                result = job.work(connection)
        except Exception as error:  # noqa: BLE001  the top of the writer's loop: the caller gets it, the thread lives
            self._refuse([job], error)
            return error
        job.future.set_result(result)
        return None

    def _refuse(self, jobs: list[_Job], error: Exception) -> None:
        told = error
        if isinstance(error, SQLAlchemyError):
            told = translate(error)
            # One line while the database is away, the traceback for what nobody expected.
            _LOG.error("write failed: %s", told, exc_info=None if is_outage(error) else error)
        for job in jobs:
            job.future.set_exception(told)
