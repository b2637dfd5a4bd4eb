"""Workers that take keys from the queue while this replica leads, and the resync that adds them all now and then."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

from perennial.cluster.client import Client
from perennial.controller.metrics import Metrics
from perennial.controller.queue import Key, WorkQueue
from perennial.errors import (
    ConflictError,
    LeaseLostError,
    NamespaceEndingError,
    NotFoundError,
    PerennialError,
)

__all__ = ["Workers"]

_log = logging.getLogger(__name__)

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 60.0
CONFLICT_RETRY_S = 0.1
LEASE_RETRY_S = 5.0


class Workers:
    """Runs passes.

    Parameters
    ----------
    reconcile
        One pass over a key; returns when to look again, in seconds, or None.
    count
        How many keys are worked on at a time.
    pass_timeout_s, resync_s
        Longest pass, and the time between two resyncs.
    """

    def __init__(
        self,
        client: Client,
        queue: WorkQueue,
        reconcile: Callable[[Key], Awaitable[float | None]],
        metrics: Metrics,
        *,
        count: int,
        pass_timeout_s: float,
        resync_s: float,
    ) -> None:
        self._client = client
        self._queue = queue
        self._reconcile = reconcile
        self._metrics = metrics
        self._count = count
        self._pass_timeout_s = pass_timeout_s
        self._resync_s = resync_s
        self._tasks: list[asyncio.Task[None]] = []
        self._failures: dict[Key, int] = {}

    def add(self, key: Key) -> None:
        """Have a key worked on soon; forgotten while another replica leads, since it will see the same event."""
        if self._tasks:
            self._queue.add(key)
            self._metrics.queue_depth.set(len(self._queue))

    async def start(self) -> None:
        """Begin to work: the lease was acquired."""
        self._metrics.is_leader.set(1)
        self._tasks = [asyncio.create_task(self._work(), name=f"worker-{i}") for i in range(self._count)]
        self._tasks.append(asyncio.create_task(self._resync(), name="resync"))

    async def stop(self) -> None:
        """Stop at once, in the middle of a pass if need be: the next leader goes on from there."""
        self._metrics.is_leader.set(0)
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._queue.clear()
        self._failures.clear()

    async def add_all(self) -> None:
        """Have every ModelDeployment worked on."""
        for stored in await self._client.list("ModelDeployment"):
            self.add(Key(stored["metadata"]["namespace"], stored["metadata"]["name"]))

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            self._metrics.queue_depth.set(len(self._queue))
            delay_s: float | None = None
            try:
                delay_s = await self._try(key)
            finally:
                self._queue.done(key)
            if delay_s is not None:
                self._queue.add_after(key, delay_s)

    async def _try(self, key: Key) -> float | None:
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._pass_timeout_s):
                delay_s = await self._reconcile(key)
        except (ConflictError, NotFoundError) as error:
            # Something changed or went since it was read: read again.
            _log.debug("conflict key=%s error=%s", key, error)
            return CONFLICT_RETRY_S
        except LeaseLostError:
            # Either another replica takes over and `stop` clears the queue, or this one renews after all.
            return LEASE_RETRY_S
        except NamespaceEndingError as error:
            _log.debug("left alone key=%s error=%s", key, error)
            return None
        except (PerennialError, TimeoutError) as error:
            _log.warning("pass failed key=%s error=%s", key, error or "timed out")
            return self._backoff_s(key, error)
        except Exception as error:  # noqa: BLE001 - the top of the loop
            # A bug in a pass over one deployment must not stop those over others.
            _log.exception("pass broke key=%s", key)
            return self._backoff_s(key, error)
        finally:
            self._metrics.pass_duration.observe(time.monotonic() - started)
        self._failures.pop(key, None)
        return delay_s

    def _backoff_s(self, key: Key, error: BaseException) -> float:
        self._metrics.pass_errors.labels(type(error).__name__).inc()
        failures = self._failures.get(key, 0)
        self._failures[key] = min(failures + 1, 16)
        backoff_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0**failures)
        return backoff_s * random.uniform(0.75, 1.25)  # noqa: S311 - no secret

    async def _resync(self) -> None:
        while True:
            try:
                await self.add_all()
            except PerennialError as error:
                _log.warning("resync failed error=%s", error)
                await asyncio.sleep(LONGEST_BACKOFF_S / 12)
                continue
            await asyncio.sleep(self._resync_s * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
