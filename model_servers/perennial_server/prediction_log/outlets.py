"""Where the log goes: the observer, and any sink of CloudEvents."""

import random
from collections.abc import Sequence
from typing import Protocol

import aiohttp

from perennial_server.attempts import Again, Patience, Refused, attempt, read_retry_after_s
from perennial_server.prediction_log import columnar, events
from perennial_server.prediction_log.tables import Table
from perennial_server.settings import Settings

RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})


class Outlet(Protocol):
    """One place where the log goes."""

    def render(self, tables: Sequence[Table]) -> bytes:
        """Write a message; called in a thread."""

    async def send(self, body: bytes) -> None:
        """Send it, or raise Refused or Undelivered."""

    async def close(self) -> None:
        """Close connections."""


class Poster(Protocol):
    """Sends to the observer; see `ObserverClient.post`."""

    async def post(
        self, path: str, body: bytes, *, attempts: int, content_type: str = "application/json"
    ) -> None:
        """Send, or raise Refused or Undelivered."""


class ObserverOutlet:
    """The observer's ``POST /v1/log``.

    Parameters
    ----------
    poster
        Stays its owner's to close.
    """

    def __init__(self, poster: Poster, settings: Settings) -> None:
        self._poster = poster
        self._settings = settings

    def render(self, tables: Sequence[Table]) -> bytes:
        """Write a message."""
        return columnar.render_log_body(
            tables, revision=self._settings.revision, percent=self._settings.log_percent
        )

    async def send(self, body: bytes) -> None:
        """Send it."""
        await self._poster.post(
            "/v1/log", body, content_type=columnar.CONTENT_TYPE, attempts=self._settings.log_attempts
        )

    async def close(self) -> None:
        """Do nothing: the client serves others, too."""


class SinkOutlet:
    """A sink of CloudEvents at ``sink_url``: no redirects are followed, and no credentials are sent."""

    def __init__(self, settings: Settings, rng: random.Random) -> None:
        assert settings.sink_url is not None
        self._url = settings.sink_url
        self._settings = settings
        self._rng = rng
        self._source = f"/{settings.namespace}/{settings.deployment}/{settings.revision}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1),
            timeout=aiohttp.ClientTimeout(total=settings.sink_timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def render(self, tables: Sequence[Table]) -> bytes:
        """Write a batch of events."""
        return events.render_events(tables, source=self._source)

    async def send(self, body: bytes) -> None:
        """Send it; the sink's answer is its status."""

        async def call() -> None:
            headers = {"Content-Type": events.CONTENT_TYPE}
            async with self._session.post(
                self._url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                if answer.status in RETRYABLE:
                    raise Again(f"status {answer.status}", read_retry_after_s(answer))
                if answer.status >= 300:  # noqa: PLR2004
                    raise Refused(f"status {answer.status}")

        settings = self._settings
        patience = Patience(settings.sink_attempts, settings.backoff_base_s, settings.backoff_cap_s)
        await attempt(call, patience, "POST to the sink", self._rng)

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()
