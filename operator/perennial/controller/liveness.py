"""Prove that every watch is alive by the bytes that it receives: the API server sends a bookmark every minute.

A watch task may die, or its connection stall, without a word. So the age of the last byte is kept for each watched
collection; a dead consumer is noticed as well, since no new request follows when the server ends the old one.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace

import aiohttp

__all__ = ["WatchMonitor"]


class WatchMonitor:
    """Knows for each watched collection, by URL path, when it was last heard of.

    Parameters
    ----------
    paths
        The collections that must be watched.
    """

    def __init__(self, paths: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard_at = dict.fromkeys(paths, clock())
        self._responses: dict[str, tuple[aiohttp.ClientResponse, int]] = {}

    def trace_config(self) -> aiohttp.TraceConfig:
        """Return what makes a session report its watch requests here."""
        config = aiohttp.TraceConfig()
        config.on_request_end.append(self._on_request_end)
        return config

    def ages_s(self) -> Mapping[str, float]:
        """Return for each collection how long ago it was heard of, in seconds. To be called often."""
        now = self._clock()
        for path, (response, seen_bytes) in list(self._responses.items()):
            received = response.content.total_bytes
            if received > seen_bytes:
                self._heard_at[path] = now
                self._responses[path] = (response, received)
        return {path: now - heard_at for path, heard_at in self._heard_at.items()}

    async def _on_request_end(
        self,
        _session: aiohttp.ClientSession,
        _context: SimpleNamespace,
        params: aiohttp.TraceRequestEndParams,
    ) -> None:
        url = params.response.url
        if url.query.get("watch") == "true" and url.path in self._heard_at and params.response.ok:
            self._heard_at[url.path] = self._clock()
            self._responses[url.path] = (params.response, 0)
