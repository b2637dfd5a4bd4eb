"""Calls to others, tried again within limits."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from perennial_server.backoff import backoff_delays

logger = logging.getLogger(__name__)


class Refused(Exception):
    """What was called refused for good; trying again would change nothing."""


class Undelivered(Exception):
    """All attempts failed."""


class Again(Exception):
    """An attempt failed in a way that may pass.

    Parameters
    ----------
    message
        What was wrong.
    retry_after_s
        How long the one who was called wants to be left alone, if he says so.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Patience:
    """How often a call is tried, and how long the waits in between are."""

    attempts: int
    base_s: float
    cap_s: float


async def attempt(
    call: Callable[[], Awaitable[None]], patience: Patience, what: str, rng: random.Random
) -> None:
    """Call until it succeeds.

    Raises
    ------
    Undelivered
        No attempt succeeded. What `call` raises beside Again and network errors goes through.
    """
    delays = backoff_delays(patience.attempts, base_s=patience.base_s, cap_s=patience.cap_s, rng=rng)
    while True:
        wanted_s: float | None = None
        try:
            await call()
        except Again as error:
            problem, wanted_s = str(error), error.retry_after_s
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            problem = f"{type(error).__name__} {error}".strip()
        else:
            return
        delay_s = next(delays, None)
        if delay_s is None:
            raise Undelivered(f"{what} failed {patience.attempts} times, last with {problem}")
        logger.debug("%s failed with %s", what, problem)
        await asyncio.sleep(max(delay_s, min(wanted_s or 0, patience.cap_s)))


def read_retry_after_s(answer: aiohttp.ClientResponse) -> float | None:
    """Read a Retry-After in seconds; None if there is none, or a date."""
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None
