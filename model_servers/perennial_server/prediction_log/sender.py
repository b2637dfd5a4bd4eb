"""Sends what is queued for one outlet, message by message. Nothing of it happens on a request's road."""

import asyncio
import logging
import time
from collections.abc import Sequence

from perennial_server.attempts import Refused, Undelivered
from perennial_server.prediction_log.batch import LoggedBatch
from perennial_server.prediction_log.counts import LogCounts
from perennial_server.prediction_log.outlets import Outlet
from perennial_server.prediction_log.queue import LogQueue
from perennial_server.prediction_log.selection import Selection
from perennial_server.prediction_log.tables import build_tables
from perennial_server.settings import Settings

logger = logging.getLogger(__name__)


class LogSender:
    """The task that empties a queue into an outlet.

    Parameters
    ----------
    name
        Of the outlet, for the log.
    queue, outlet, selection, counts, settings
        Its parts.
    """

    def __init__(
        self,
        name: str,
        queue: LogQueue,
        outlet: Outlet,
        *,
        selection: Selection,
        counts: LogCounts,
        settings: Settings,
    ) -> None:
        self._name = name
        self._queue = queue
        self._outlet = outlet
        self._selection = selection
        self._counts = counts
        self._settings = settings
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"log-to-{name}")

    async def close(self, timeout_s: float) -> None:
        """Send what is left, for at most `timeout_s`; count what had to be dropped."""
        self._closing.set()
        _, pending = await asyncio.wait([self._task], timeout=timeout_s)
        for task in pending:
            task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if left := len(self._queue):
            self._counts.drop("Shutdown", left)
            logger.warning("requests not logged at shutdown to=%s requests=%d", self._name, left)
        await self._outlet.close()

    async def _run(self) -> None:
        last_send = time.monotonic()
        while True:
            full = self._queue.size_bytes >= self._settings.log_batch_bytes
            due = time.monotonic() - last_send >= self._settings.log_interval_s
            if len(self._queue) and (full or due or self._closing.is_set()):
                last_send = time.monotonic()
                await self._send()
            elif self._closing.is_set():
                return
            else:
                await self._pause()

    async def _pause(self) -> None:
        """Wait a tenth of the interval, or until closing: `put` never has to wake anybody."""
        try:
            async with asyncio.timeout(self._settings.log_interval_s / 10):
                await self._closing.wait()
        except TimeoutError:
            return

    async def _send(self) -> None:
        batches = self._queue.take(
            max_bytes=self._settings.log_batch_bytes, max_requests=self._settings.log_batch_entries
        )
        waiting = sum(len(batch.sizes) for batch in batches)
        reason = "Shutdown"
        try:
            body, chosen = await asyncio.to_thread(self._render, batches)
            self._counts.left_out.inc(waiting - chosen)
            waiting = chosen
            if chosen:
                await self._outlet.send(body)
            reason = ""
        except (Refused, Undelivered) as error:
            reason = type(error).__name__
            logger.warning("requests not logged to=%s requests=%d error=%s", self._name, waiting, error)
        except Exception:
            # The top of the sender's loop: what can't be written is lost, and the next message goes all the same.
            reason = "Unwritable"
            logger.exception("requests not logged to=%s requests=%d", self._name, waiting)
        finally:
            # Also when cancelled in the middle of a retry: nothing is lost uncounted.
            if reason:
                self._counts.drop(reason, waiting)
            else:
                self._counts.sent.inc(waiting)

    def _render(self, batches: Sequence[LoggedBatch]) -> tuple[bytes, int]:
        """Write a message; also return how many requests are in it."""
        tables = build_tables(batches, self._selection)
        chosen = sum(len(table.origins) for table in tables)
        return (self._outlet.render(tables) if chosen else b""), chosen
