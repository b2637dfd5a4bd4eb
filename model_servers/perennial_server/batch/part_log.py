"""A part's predictions on their way to whoever watches, by the same log as a server's; but a job can wait for it.

Each part has a log of its own, closed before the part is committed: what a kill cuts off is sent again with the same
ids. An observer that stays away costs the job `log_wait_s` once, not for every part.
"""

import asyncio
import logging
import random
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise

from perennial_bundle import Bundle, Flag

from perennial_server.batch.scoring import Scored
from perennial_server.batch.settings import BatchSettings
from perennial_server.metrics import Metrics
from perennial_server.observer_client import ObserverClient
from perennial_server.origin import Origin
from perennial_server.prediction_log.batch import LoggedBatch
from perennial_server.prediction_log.log import build_log
from perennial_server.prediction_log.sizes import estimate_bytes

logger = logging.getLogger(__name__)

BATCH_ROWS = 1000


class PartLog:
    """Logs parts, one after the other.

    Parameters
    ----------
    settings
        With somewhere to log to.
    bundle
        Whose predictions they are.
    """

    def __init__(self, settings: BatchSettings, bundle: Bundle) -> None:
        self._settings = settings
        self._bundle = bundle
        self._wait_s = settings.log_wait_s
        self.dropped = 0

    def send(self, scored: Scored) -> None:
        """Log a part; returns when it is taken, or dropped and counted."""
        if not scored.ids:
            return
        dropped = asyncio.run(self._send(scored))
        self.dropped += dropped
        if dropped:
            logger.warning("log entries dropped rows=%d; the job goes on", dropped)
        self._wait_s = min(1.0, self._settings.log_wait_s) if dropped else self._settings.log_wait_s

    async def _send(self, scored: Scored) -> int:
        metrics, rng = Metrics(), random.Random()  # noqa: S311  jitter
        now_s = time.time()
        if self._settings.observer_url is None:
            await self._put(scored, metrics, None, rng, now_s)
        else:
            async with ObserverClient(self._settings, rng) as client:
                await self._put(scored, metrics, client, rng, now_s)
        return count_dropped(metrics)

    async def _put(
        self,
        scored: Scored,
        metrics: Metrics,
        client: ObserverClient | None,
        rng: random.Random,
        now_s: float,
    ) -> None:
        for wave in build_waves(cut_batches(scored, now_s), self._settings.log_queue_bytes // 2):
            log = build_log(self._settings, self._bundle.schema, metrics, client, rng)
            assert log is not None
            for batch in wave:
                log.put(batch)
            await log.close(self._wait_s)


def cut_batches(scored: Scored, time_s: float) -> list[LoggedBatch]:
    """Cut a part into the log's batches, in which each row is a request of its own."""
    n = len(scored.ids)
    flags: dict[int, list[Flag]] = {}
    for flag in scored.flags:
        start = flag.row // BATCH_ROWS * BATCH_ROWS
        flags.setdefault(start, []).append(Flag(flag.row - start, flag.column, flag.kind, flag.action))
    return [
        LoggedBatch(
            time_s=time_s,
            origins=tuple(Origin(prediction_id) for prediction_id in scored.ids[start:stop]),
            sizes=(1,) * (stop - start),
            rows=scored.rows.cut(start, stop),
            outputs={name: values[start:stop] for name, values in scored.outputs.items()},
            flags=tuple(flags.get(start, ())),
        )
        for start, stop in pairwise([*range(0, n, BATCH_ROWS), n])
    ]


def build_waves(batches: Iterable[LoggedBatch], max_bytes: int) -> Iterator[list[LoggedBatch]]:
    """Group batches so that each group fits into the log's queue, which would drop the oldest."""
    wave: list[LoggedBatch] = []
    size_bytes = 0
    for batch in batches:
        batch_bytes = estimate_bytes(batch)
        if wave and size_bytes + batch_bytes > max_bytes:
            yield wave
            wave, size_bytes = [], 0
        wave.append(batch)
        size_bytes += batch_bytes
    if wave:
        yield wave


def count_dropped(metrics: Metrics) -> int:
    """Return how many rows the log has dropped, whatever the reason."""
    return int(
        sum(
            sample.value
            for family in metrics.registry.collect()
            for sample in family.samples
            if sample.name == "perennial_server_log_dropped_total"
        )
    )
