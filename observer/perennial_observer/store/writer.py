"""The one thread that writes: a queue bounded in bytes before it, many jobs to a transaction behind it."""

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from perennial_observer.errors import Overloaded, Unavailable

__all__ = ["Writer"]

_LOG = logging.getLogger(__name__)

MAX_JOBS_PER_COMMIT = 64

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class _Job:
    work: Callable[[Connection], Any]
    size_bytes: int
    future: "Future[Any]"


class Writer:
    """Runs write jobs one after another; a job's future resolves only after its commit.

    One writer is also what lets jobs look first and insert then, without SQL that only one database knows.

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
                with self._engine.begin() as connection:
                    results = [job.work(connection) for job in batch]
            except Exception:  # noqa: BLE001  see below
                # One job spoils the transaction of all: run them one by one, so that only its caller is told.
                _LOG.warning("batch of %d writes failed, retrying one by one", len(batch), exc_info=True)
            else:
                for job, result in zip(batch, results, strict=True):
                    job.future.set_result(result)
                return
        for job in batch:
            self._commit_one(job)

    def _commit_one(self, job: _Job) -> None:
        try:
            with self._engine.begin() as connection:
                result = job.work(connection)
        except SQLAlchemyError as error:
            _LOG.exception("write failed")
            job.future.set_exception(
                Unavailable(f"the database refused: {error.__class__.__name__}", "DatabaseError")
            )
        except Exception as error:  # noqa: BLE001  the top of the writer's loop: the caller gets it, the thread lives
            job.future.set_exception(error)
        else:
            job.future.set_result(result)
