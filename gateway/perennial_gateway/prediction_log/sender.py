"""Sends what waits to the observer, message by message, each with limited attempts."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from perennial_gateway.model import RouteKey
from perennial_gateway.prediction_log.bodies import Message, render_messages
from perennial_gateway.prediction_log.queue import ExchangeQueue, LogCounts
from perennial_gateway.prediction_log.strangers import Strangers

HEADERS = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
UNKNOWN = 404
RETRYABLE = frozenset({401, 403, 408, 425, 429, 500, 502, 503, 504})
SUCCESS_ENDS = 300
BACKOFF_BASE_S = 0.2
BACKOFF_CAP_S = 5.0

_LOG = logging.getLogger(__name__)


class _Refused(Exception):
    """The observer says that the message is wrong: sent again it would be refused again."""


class _UnknownDeployment(Exception):
    """The observer doesn't know the deployment, or not yet."""


class _Undelivered(Exception):
    """All attempts failed."""


@dataclass(frozen=True, slots=True)
class SenderOptions:
    """How the observer is reached.

    Attributes
    ----------
    token_file
        The gateway's own token, which gives the right to log for any deployment; None sends none.
    unknown_s
        How long a message waits for the observer to hear of its deployment.
    """

    url: str
    token_file: Path | None
    timeout_s: float
    attempts: int
    interval_s: float
    batch_bytes: int
    unknown_s: float


class LogSender:
    """Empties the queue; use `run` as a task.

    Parameters
    ----------
    options, queue, counts
        Its parts.
    """

    def __init__(self, options: SenderOptions, queue: ExchangeQueue, counts: LogCounts) -> None:
        self._options = options
        self._queue = queue
        self._counts = counts
        self._strangers = Strangers(options.unknown_s)

    @property
    def held_bytes(self) -> int:
        """Of messages whose deployments the observer doesn't know yet."""
        return self._strangers.size_bytes

    async def run(self) -> None:
        """Send what has come every so often, and at once what is more than a batch, until cancelled."""
        async with self._connect() as session:
            while True:
                await self._send(session)
                if self._queue.size_bytes < self._options.batch_bytes:
                    await asyncio.sleep(self._options.interval_s)

    async def flush(self, timeout_s: float) -> None:
        """Send what is left, for at most `timeout_s`, and count what had to be dropped."""
        try:
            async with asyncio.timeout(timeout_s), self._connect() as session:
                await self._send(session)
                while len(self._queue):
                    await self._send(session)
        except TimeoutError:
            _LOG.warning("exchanges not logged at shutdown exchanges=%d", len(self._queue))
        self._counts.dropped["Shutdown"] += len(self._queue) + self._strangers.exchanges

    def _connect(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            # One at a time is enough, and a hanging observer can't collect more.
            connector=aiohttp.TCPConnector(limit=1),
            timeout=aiohttp.ClientTimeout(total=self._options.timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def _send(self, session: aiohttp.ClientSession) -> None:
        batch = deque(self._queue.take(self._options.batch_bytes))
        waiting, reason = len(batch), "Shutdown"
        try:
            while batch:
                rendered = await asyncio.to_thread(render_messages, batch)
                self._counts.left_out += rendered.left_out
                self._counts.dropped.update(rendered.dropped)
                waiting -= rendered.left_out + sum(rendered.dropped.values())
                for message in rendered.messages:
                    if not await self._deliver(session, message):
                        self._strangers.put(message, asyncio.get_running_loop().time())
                    waiting -= message.exchanges
            await self._deliver_strangers(session)
        except Exception:  # noqa: BLE001  the top of a loop
            # What can't be written is lost, and the next batch goes all the same.
            reason = "Unwritable"
            _LOG.exception("exchanges not logged exchanges=%d", waiting)
        finally:
            # Also when cancelled in the middle of a retry: nothing is lost uncounted.
            self._counts.dropped[reason] += waiting

    async def _deliver_strangers(self, session: aiohttp.ClientSession) -> None:
        """Send again what the observer didn't know, in no request's and no other deployment's way."""
        unknown: set[RouteKey] = set()
        for message in self._strangers.messages:
            if message.route in unknown:
                continue
            if await self._deliver(session, message):
                self._strangers.remove(message)
            else:
                unknown.add(message.route)
        for message in self._strangers.expire(asyncio.get_running_loop().time()):
            self._drop(message, _UnknownDeployment("the observer knows no such ModelDeployment"))

    async def _deliver(self, session: aiohttp.ClientSession, message: Message) -> bool:
        """Send one message, and count its exchanges unless cancelled; tell whether the observer knows its deployment."""
        try:
            await self._post(session, message)
        except _UnknownDeployment:
            return False
        except (_Refused, _Undelivered) as error:
            self._drop(message, error)
        else:
            self._counts.sent += message.exchanges
        return True

    def _drop(self, message: Message, error: Exception) -> None:
        self._counts.dropped[type(error).__name__.removeprefix("_")] += message.exchanges
        _LOG.warning(
            "exchanges not logged route=%s exchanges=%d error=%s", message.route, message.exchanges, error
        )

    async def _post(self, session: aiohttp.ClientSession, message: Message) -> None:
        delay_s, problem = BACKOFF_BASE_S, ""
        for attempt in range(self._options.attempts):
            if attempt:
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                delay_s = min(2 * delay_s, BACKOFF_CAP_S)
            try:
                headers = HEADERS | await asyncio.to_thread(self._authorize)
                url = self._options.url.rstrip("/") + message.path
                async with session.post(
                    url, data=message.body, headers=headers, allow_redirects=False
                ) as got:
                    if got.status < SUCCESS_ENDS:
                        return
                    problem = f"status {got.status}: {(await got.text())[:300]}"
                    if got.status == UNKNOWN:
                        raise _UnknownDeployment(problem)
                    if got.status not in RETRYABLE:
                        raise _Refused(problem)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                problem = f"{type(error).__name__} {error}".strip()
        raise _Undelivered(f"{self._options.attempts} attempts failed, the last with {problem}")

    def _authorize(self) -> dict[str, str]:
        """Read the token anew each time: the kubelet replaces it."""
        if self._options.token_file is None:
            return {}
        return {"Authorization": f"Bearer {self._options.token_file.read_text().strip()}"}
