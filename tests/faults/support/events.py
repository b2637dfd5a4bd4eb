"""Watch events held back or dropped, by the kind that is watched."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator


class EventFilter:
    """Decides for each event of a watch whether and when it goes on. Bookmarks are events, too, but never touched."""

    def __init__(self) -> None:
        self._open: defaultdict[str, asyncio.Event] = defaultdict(_opened)
        self._to_drop: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def hold(self, plural: str) -> None:
        self._open[plural].clear()

    def release(self, plural: str) -> None:
        self._open[plural].set()

    def drop(self, plural: str, count: int) -> None:
        self._to_drop[plural] += count

    async def let_through(self, plural: str, line: bytes) -> bool:
        """Wait while the kind is held; return whether the event goes on."""
        if b'"type":"BOOKMARK"' in line[:40]:
            return True
        await self._open[plural].wait()
        if self._to_drop[plural] > 0:
            self._to_drop[plural] -= 1
            self.dropped[plural] += 1
            return False
        return True


async def split_lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield whole lines, of any length, with their newline."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"
    if rest:
        yield rest


def _opened() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
