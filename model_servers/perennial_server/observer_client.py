"""Calls to the observer: every one with a timeout, a limit of attempts, and the token as it is now."""

import asyncio
import gzip
import logging
import random
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from perennial_bundle import BundleNotFound, InvalidBundle

from perennial_server.backoff import backoff_delays
from perennial_server.errors import ObserverUnavailable
from perennial_server.settings import Settings

logger = logging.getLogger(__name__)

RETRYABLE = frozenset({401, 403, 408, 425, 429, 500, 502, 503, 504})
CHUNK_BYTES = 1 << 20


class Refused(Exception):
    """The observer refused for good; trying again would change nothing."""


class Undelivered(Exception):
    """All attempts failed."""


class ObserverClient:
    """A client for the observer's HTTP API.

    Parameters
    ----------
    settings
        With ``observer_url`` set.
    rng
        Source of jitter.
    """

    def __init__(self, settings: Settings, rng: random.Random) -> None:
        assert settings.observer_url is not None
        self._settings = settings
        self._rng = rng
        self._base = settings.observer_url.rstrip("/")
        # One connection at a time is enough, and a hanging observer can't collect more.
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def post(self, path: str, body: bytes, *, attempts: int) -> None:
        """Send JSON, compressed.

        Raises
        ------
        Refused
            The observer says that the body is wrong.
        Undelivered
            No attempt succeeded.
        """
        packed = await asyncio.to_thread(gzip.compress, body, 1, mtime=0)
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        timeout = aiohttp.ClientTimeout(total=self._settings.log_timeout_s)

        async def call() -> float | None:
            async with self._session.post(
                self._base + path, data=packed, headers=headers | self._authorization(), timeout=timeout
            ) as answer:
                if answer.status in RETRYABLE:
                    raise _Again(f"status {answer.status}", _retry_after_s(answer))
                if answer.status >= 300:  # noqa: PLR2004
                    raise Refused(f"{path}: status {answer.status}: {(await answer.text())[:500]}")
                return None

        await self._attempt(call, attempts, f"POST {path}")

    async def download_bundle(self, digest: str, target: Path, *, max_bytes: int) -> None:
        """Fetch a bundle's tar into a file.

        Raises
        ------
        BundleNotFound, InvalidBundle
            The observer hasn't got it, or it is too large.
        ObserverUnavailable
            No attempt succeeded.
        """
        timeout = aiohttp.ClientTimeout(
            total=self._settings.bundle_timeout_s, sock_connect=self._settings.log_timeout_s, sock_read=30
        )

        async def call() -> None:
            async with self._session.get(
                f"{self._base}/v1/bundles/{digest}", headers=self._authorization(), timeout=timeout
            ) as answer:
                if answer.status == 404:  # noqa: PLR2004
                    raise BundleNotFound(
                        f"the observer has no bundle {digest}; push it with kubectl perennial push"
                    )
                if answer.status != 200:  # noqa: PLR2004
                    raise _Again(f"status {answer.status}", _retry_after_s(answer))
                size = 0
                with target.open("wb") as file:
                    async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                        size += len(chunk)
                        if size > max_bytes:
                            raise InvalidBundle(f"the bundle {digest} is larger than {max_bytes} bytes")
                        file.write(chunk)

        try:
            await self._attempt(call, self._settings.bundle_attempts, f"GET bundle {digest}")
        except Undelivered as error:
            raise ObserverUnavailable(f"the bundle can't be fetched: {error}") from error

    def _authorization(self) -> dict[str, str]:
        token = self._settings.read_token()
        return {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}

    async def _attempt(self, call: Callable[[], object], attempts: int, what: str) -> None:
        delays = backoff_delays(
            attempts, base_s=self._settings.backoff_base_s, cap_s=self._settings.backoff_cap_s, rng=self._rng
        )
        while True:
            wanted_s: float | None = None
            try:
                await call()  # type: ignore[misc]
            except _Again as error:
                problem, wanted_s = str(error), error.retry_after_s
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                problem = f"{type(error).__name__} {error}".strip()
            else:
                return
            delay_s = next(delays, None)
            if delay_s is None:
                raise Undelivered(f"{what} failed {attempts} times, last with {problem}")
            logger.debug("%s failed with %s", what, problem)
            await asyncio.sleep(max(delay_s, min(wanted_s or 0, self._settings.backoff_cap_s)))


class _Again(Exception):
    def __init__(self, message: str, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def _retry_after_s(answer: aiohttp.ClientResponse) -> float | None:
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None
