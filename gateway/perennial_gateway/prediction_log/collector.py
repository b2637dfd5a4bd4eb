"""Takes exchanges from Envoy over a Unix socket, chooses those that are logged, and has them sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from perennial_gateway.agent_calls import BUFFER_BYTES, serve_calls
from perennial_gateway.capture import MOST_BYTES, NOTHING
from perennial_gateway.model import RecordedPart, Route, RouteKey
from perennial_gateway.otlp import Record
from perennial_gateway.prediction_log.choosing import is_sampled, name_client
from perennial_gateway.prediction_log.exchanges import Exchange, Told, read_told
from perennial_gateway.prediction_log.queue import ExchangeQueue, LogCounts
from perennial_gateway.prediction_log.sender import LogSender, SenderOptions
from perennial_gateway.settings import AgentSettings

MOST_MESSAGE_BYTES = BUFFER_BYTES + 2 * MOST_BYTES
"""A full buffer with the last exchange, whose bodies may be written as text."""

FLUSH_S = 5.0


class Collector:
    """The agent's part of the log; use `run` as a task.

    Parameters
    ----------
    options
        How the observer is reached.
    max_bytes
        Of exchanges that wait.
    clock
        Seconds since 1970.
    """

    def __init__(
        self,
        options: SenderOptions,
        max_bytes: int,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.counts = LogCounts()
        self._queue = ExchangeQueue(max_bytes, self.counts)
        self._sender = LogSender(options, self._queue, self.counts)
        self._logs: Mapping[tuple[RouteKey, str], RecordedPart] = {}
        self._before: Mapping[tuple[RouteKey, str], RecordedPart] = {}
        self._clock = clock

    @property
    def queue_bytes(self) -> int:
        """What waits now."""
        return self._queue.size_bytes + self._sender.held_bytes

    def follow(self, routes: Mapping[RouteKey, Route]) -> None:
        """Take note of what is recorded; what a revision that has just gone still answers is recorded as before."""
        logs = {(r.key, b.revision): b.log for r in routes.values() for b in r.backends if b.log}
        if logs != self._logs:
            self._logs, self._before = logs, self._logs

    async def run(self, socket: Path) -> None:
        """Take and send until cancelled, and then send what is left."""
        try:
            async with serve_calls(socket, self._put, MOST_MESSAGE_BYTES):
                await self._sender.run()
        finally:
            await self._sender.flush(FLUSH_S)

    def _put(self, record: Record) -> None:
        """Queue an exchange if it is to be logged; count it in any case."""
        self.counts.taken += 1
        found = record.attributes
        route, _, asked = found.get("asked", b"").partition(b"\n")
        answered = found.get("answered", b"")
        told = read_told(route.decode(errors="replace"), found.get("told", b"").decode(errors="replace"))
        place = told.route, told.revision
        log = self._logs.get(place) or self._before.get(place)
        if log is None:
            self.counts.dropped["UnknownRevision"] += 1
        elif not is_sampled(told.prediction_id, log.percent):
            self.counts.left_out += 1
        elif NOTHING.encode() in {asked, answered}:
            self.counts.dropped["TooLarge"] += 1
        else:
            self._queue.put(_build(told, log, record.time_s or self._clock(), asked, answered))


def _build(told: Told, log: RecordedPart, time_s: float, asked: bytes, answered: bytes) -> Exchange:
    return Exchange(
        route=told.route,
        revision=told.revision,
        log=log,
        prediction_id=told.prediction_id,
        time_s=time_s,
        client=None if told.client is None else name_client(told.client, str(told.route)),
        is_shadow=told.is_shadow,
        request=asked,
        response=answered,
        request_encoding=told.request_encoding,
        response_encoding=told.response_encoding,
        request_json_bytes=told.request_json_bytes,
        response_json_bytes=told.response_json_bytes,
    )


def build_collector(settings: AgentSettings) -> Collector:
    """Build it as the settings say."""
    options = SenderOptions(
        url=settings.observer_url,
        token_file=settings.token_file,
        timeout_s=settings.log_timeout_s,
        attempts=settings.log_attempts,
        interval_s=settings.log_interval_s,
        batch_bytes=settings.log_batch_bytes,
        unknown_s=settings.log_unknown_s,
    )
    return Collector(options, settings.log_queue_bytes)
