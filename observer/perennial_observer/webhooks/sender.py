"""Posts what is in the outbox, until it arrived or too many attempts failed. Looks never wait for it."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from typing import TypeVar

import aiohttp
import anyio.to_thread
from sqlalchemy import Connection

from perennial_observer.errors import ObserverError, Unavailable
from perennial_observer.registry import Registry
from perennial_observer.store.store import Store
from perennial_observer.webhooks.outbox import (
    Due,
    address_notes,
    claim_due,
    drop,
    has_due,
    has_unaddressed,
    postpone,
)
from perennial_observer.webhooks.targets import WebhookTarget

__all__ = ["Outcome", "Sender", "judge_answer", "pause_s"]

_LOG = logging.getLogger(__name__)

TIMEOUT_S = 10.0
# Twelve attempts with pauses that double up to ten minutes take about an hour.
MAX_ATTEMPTS = 12
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 600.0
# Of one receiver.
BATCH = 32
AT_ONCE = 4
# Longer than a batch takes: a replica that died leaves its events to the others after that.
CLAIM_S = 120.0
POLL_S = 1.0
WRITE_TIMEOUT_S = 60.0

_Result = TypeVar("_Result")

_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class Outcome(StrEnum):
    """What became of one attempt, or of an event that none was made for any more."""

    DELIVERED = "delivered"
    FAILED = "failed"
    REFUSED = "refused"
    GIVEN_UP = "given_up"
    DROPPED = "dropped"


def judge_answer(status: int, attempts: int) -> Outcome:
    """Tell from a status (0 for none) and the attempts made, this one counted, what becomes of an event."""
    if 200 <= status < 300:  # noqa: PLR2004
        return Outcome.DELIVERED
    if status and status < 500 and status not in _PASSING:  # noqa: PLR2004
        return Outcome.REFUSED
    return Outcome.GIVEN_UP if attempts >= MAX_ATTEMPTS else Outcome.FAILED


def pause_s(attempts: int, jitter: float) -> float:
    """Pause after so many failed attempts; `jitter` from 0 to 1 takes off up to a half."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (attempts - 1))
    return longest * (1 - jitter / 2)


@dataclass
class Sender:
    """Sends events to the receivers that the installation names.

    Parameters
    ----------
    clock
        Seconds since the epoch.
    count
        Told the result of each attempt, and of each event that too many others pushed out.
    """

    store: Store
    registry: Registry
    targets: Sequence[WebhookTarget]
    clock: Callable[[], float]
    count: Callable[[str], None]

    async def run(self) -> None:
        """Send until cancelled, to each receiver by itself: one that hangs holds up no other."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            sending = (partial(self.send_due, session, target) for target in self.targets)
            await asyncio.gather(self._repeat(self.address), *map(self._repeat, sending))

    async def _repeat(self, work: Callable[[], Awaitable[int]]) -> None:
        while True:
            done = 0
            try:
                # Until it is known which deployments there are, changes would be taken for those of deleted ones.
                if self.registry.synced:
                    done = await work()
            except ObserverError as error:
                _LOG.warning("webhooks wait reason=%s message=%s", error.reason, error.message)
            except Exception:  # noqa: BLE001  the top of a loop: the process judges on without webhooks
                _LOG.exception("webhooks failed")
            if done < BATCH:
                await asyncio.sleep(POLL_S)

    async def address(self) -> int:
        """Turn notes into events for the receivers; return 0, for it does all there is at once."""
        dropped = await anyio.to_thread.run_sync(self._address)
        for _ in range(dropped):
            self.count(Outcome.DROPPED.value)
        if dropped:
            _LOG.warning("webhooks dropped=%d: too many wait for a receiver", dropped)
        return 0

    async def send_due(self, session: aiohttp.ClientSession, target: WebhookTarget) -> int:
        """Send one receiver a batch of what is due; return how many attempts were made."""
        due = await anyio.to_thread.run_sync(lambda: self._claim(target))
        if not due:
            return 0
        places = asyncio.Semaphore(AT_ONCE)
        url = target.url.get_secret_value()
        outcomes = await asyncio.gather(*(self._send(session, places, url, item) for item in due))
        now = self.clock()
        gone, later = [], {}
        for item, outcome in zip(due, outcomes, strict=True):
            self.count(outcome.value)
            if outcome is Outcome.FAILED:
                later[item.id] = now + pause_s(item.attempts + 1, random.random())  # noqa: S311  jitter
            else:
                gone.append(item.id)
        await anyio.to_thread.run_sync(lambda: self._settle(gone, later))
        return len(due)

    def _address(self) -> int:
        with self.store.read() as connection:
            # Nothing is written while nothing is to be done.
            if not has_unaddressed(connection, self.targets):
                return 0
        now = self.clock()
        get, is_gone = self.registry.get, self.registry.is_gone
        return self._write(lambda c: address_notes(c, get, self.targets, is_gone=is_gone, now=now))

    def _claim(self, target: WebhookTarget) -> list[Due]:
        now, digest = self.clock(), target.digest
        with self.store.read() as connection:
            if not has_due(connection, digest, now=now):
                return []
        return self._write(lambda c: claim_due(c, digest, now=now, until=now + CLAIM_S, limit=BATCH))

    def _settle(self, gone: Sequence[int], later: Mapping[int, float]) -> None:
        def work(connection: Connection) -> None:
            drop(connection, gone)
            postpone(connection, later)

        self._write(work)

    def _write(self, work: Callable[[Connection], _Result]) -> _Result:
        future = self.store.writer.submit(work, 0)
        try:
            return future.result(WRITE_TIMEOUT_S)
        except TimeoutError as error:
            # What is claimed later would wait unsent until the claim ends.
            future.cancel()
            raise Unavailable(
                f"the database took no write within {WRITE_TIMEOUT_S:g} s", "DatabaseStuck"
            ) from error

    async def _send(
        self, session: aiohttp.ClientSession, places: asyncio.Semaphore, url: str, due: Due
    ) -> Outcome:
        async with places:
            status, why = await _post(session, url, due.body)
        outcome = judge_answer(status, due.attempts + 1)
        if outcome is not Outcome.DELIVERED:
            # Without the address, which may hold a secret.
            _LOG.warning(
                "webhook %s event=%s target=%s attempt=%d answer=%s",
                outcome.value,
                due.event_id,
                due.target[:8],
                due.attempts + 1,
                why,
            )
        return outcome


async def _post(session: aiohttp.ClientSession, url: str, body: str) -> tuple[int, str]:
    """Post one event; return the status, 0 if there is none, and what to write into the log."""
    headers = {"content-type": "application/cloudevents+json; charset=utf-8"}
    try:
        async with session.post(url, data=body.encode(), headers=headers, allow_redirects=False) as answer:
            return answer.status, str(answer.status)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return 0, type(error).__name__
