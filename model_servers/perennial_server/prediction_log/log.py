"""The prediction log as a whole: each outlet with a queue of its own, so that none is in another's way."""

import asyncio
import random

from perennial_bundle import Schema

from perennial_server.metrics import Metrics
from perennial_server.prediction_log.batch import LoggedBatch
from perennial_server.prediction_log.counts import LogCounts
from perennial_server.prediction_log.outlets import ObserverOutlet, Outlet, Poster, SinkOutlet
from perennial_server.prediction_log.queue import LogQueue
from perennial_server.prediction_log.selection import build_selection
from perennial_server.prediction_log.sender import LogSender
from perennial_server.settings import Settings


class Log:
    """A PredictionLog with its outlets; needs a running event loop."""

    def __init__(self) -> None:
        self._queues: list[LogQueue] = []
        self._senders: list[LogSender] = []

    def add(self, queue: LogQueue, sender: LogSender) -> None:
        """Add an outlet."""
        self._queues.append(queue)
        self._senders.append(sender)

    def put(self, batch: LoggedBatch) -> None:
        """Queue a batch for each outlet."""
        for queue in self._queues:
            queue.put(batch)

    async def close(self, timeout_s: float) -> None:
        """Send what is left, for at most `timeout_s`."""
        await asyncio.gather(*(sender.close(timeout_s) for sender in self._senders))


def build_log(
    settings: Settings, schema: Schema, metrics: Metrics, observer: Poster | None, rng: random.Random
) -> Log | None:
    """Build the log that the settings ask for; None if predictions go nowhere."""
    outlets: list[tuple[str, Outlet, int]] = []
    if settings.log_mode != "None":
        if observer is not None:
            outlets.append(("Observer", ObserverOutlet(observer, settings), settings.log_queue_bytes))
        if settings.sink_url is not None:
            outlets.append(("Sink", SinkOutlet(settings, rng), settings.sink_queue_bytes))
    if not outlets:
        return None
    log = Log()
    selection = build_selection(
        schema, percent=settings.log_percent, mode=settings.log_mode, exclude=settings.log_exclude
    )
    for name, outlet, max_bytes in outlets:
        counts = LogCounts(metrics, name)
        queue = LogQueue(max_bytes, counts)
        sender = LogSender(name, queue, outlet, selection=selection, counts=counts, settings=settings)
        log.add(queue, sender)
    return log
