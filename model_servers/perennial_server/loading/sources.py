"""Bytes from any store into a file: in pieces, hashed as they come, resumed where they broke off, within limits."""

import asyncio
import hashlib
import logging
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import aiohttp

from perennial_server.attempts import Again
from perennial_server.backoff import backoff_delays
from perennial_server.loading.errors import StoreUnavailable, TooLarge
from perennial_server.loading.progress import Progress

logger = logging.getLogger(__name__)

PIECE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Reading:
    """A file that is being read.

    Attributes
    ----------
    start
        Where the pieces begin: where it was asked for, or at 0 from a store that can't do better.
    total
        The file's size in bytes, where the store says it.
    """

    start: int
    total: int | None
    pieces: AsyncIterator[bytes]


class Source(Protocol):
    """A store, seen from the bundle's place in it."""

    def open(self, name: str, start: int) -> AbstractAsyncContextManager[Reading]:
        """Begin to read a file from a byte on; "" is the place itself.

        Raises `Again` for what may pass, BundleNotFound, AccessDenied or StoreUnavailable for what won't.
        """

    async def close(self) -> None:
        """Close the connections."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a store is waited for.

    Attributes
    ----------
    attempts
        So many in a row may bring nothing; one that gets further begins the count anew.
    stall_s
        A connection that brings nothing for so long is given up.
    base_s, cap_s
        First and longest wait between attempts.
    """

    attempts: int
    stall_s: float
    base_s: float
    cap_s: float


class Downloader:
    """Fetches files from one source.

    Parameters
    ----------
    max_bytes
        For all files together.
    """

    def __init__(
        self, source: Source, patience: Patience, progress: Progress, rng: random.Random, *, max_bytes: int
    ) -> None:
        self._source = source
        self._patience = patience
        self._progress = progress
        self._rng = rng
        self._left_bytes = max_bytes
        self.last_problem = ""

    async def fetch(self, name: str, target: Path, *, max_bytes: int | None = None) -> str:
        """Write a file of the store to a new one here; return its SHA-256 in hex.

        Raises
        ------
        BundleNotFound, AccessDenied, StoreUnavailable, TooLarge
        """
        limit = self._left_bytes if max_bytes is None else min(self._left_bytes, max_bytes)
        with target.open("xb") as file:
            copy = _Copy(file, limit, self._progress, name or "the bundle")
            delays = self._delays()
            while True:
                furthest = copy.furthest
                wanted_s: float | None = None
                try:
                    await self._read(name, copy)
                except Again as error:
                    self.last_problem, wanted_s = str(error), error.retry_after_s
                except TimeoutError:
                    self.last_problem = f"nothing came for {self._patience.stall_s:g} s"
                except (aiohttp.ClientError, OSError) as error:
                    # Not the library's own text, which may quote what is secret.
                    self.last_problem = type(error).__name__
                else:
                    break
                if copy.furthest > furthest:
                    delays = self._delays(1)
                delay_s = next(delays, None)
                if delay_s is None:
                    raise StoreUnavailable(
                        f"{self._patience.attempts} attempts in a row brought nothing, the last: {self.last_problem}"
                    )
                logger.warning("fetching broke off at_bytes=%d problem=%s", copy.done, self.last_problem)
                await asyncio.sleep(max(delay_s, min(wanted_s or 0, self._patience.cap_s)))
        self._left_bytes -= copy.done
        return copy.sha256.hexdigest()

    def _delays(self, more: int = 0) -> Iterator[float]:
        patience = self._patience
        attempts = patience.attempts + more
        return backoff_delays(attempts, base_s=patience.base_s, cap_s=patience.cap_s, rng=self._rng)

    async def _read(self, name: str, copy: "_Copy") -> None:
        loop = asyncio.get_running_loop()
        async with (
            asyncio.timeout(self._patience.stall_s) as timer,
            self._source.open(name, copy.done) as reading,
        ):
            copy.begin(reading)
            async for piece in reading.pieces:
                copy.write(piece)
                timer.reschedule(loop.time() + self._patience.stall_s)
        if reading.total is not None and copy.done != reading.total:
            raise Again(f"{copy.done} of {reading.total} bytes came")


class _Copy:
    """A file that grows, and what is known of it."""

    def __init__(self, file: IO[bytes], limit: int, progress: Progress, name: str) -> None:
        self._file = file
        self._limit = limit
        self._progress = progress
        self._name = name
        self.done = 0
        self.furthest = 0
        self.sha256 = hashlib.sha256()

    def begin(self, reading: Reading) -> None:
        """Go back to the start, if the store begins there again; refuse what is too large before a byte comes."""
        if reading.total is not None:
            self._check(reading.total)
            if not self.furthest and self._progress.total_bytes is None:
                self._progress.total_bytes = reading.total
        if reading.start != self.done:
            self._progress.advance(-self.done)
            self._file.seek(0)
            self._file.truncate()
            self.done, self.sha256 = 0, hashlib.sha256()

    def write(self, piece: bytes) -> None:
        """Append a piece."""
        self._check(self.done + len(piece))
        try:
            self._file.write(piece)
        except OSError as error:
            # It is this machine that fails, and no other attempt would help.
            raise TooLarge(f"{self._name} doesn't fit here: {error.strerror}") from None
        self.sha256.update(piece)
        self.done += len(piece)
        self.furthest = max(self.furthest, self.done)
        self._progress.advance(len(piece))

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self._limit:
            raise TooLarge(f"{self._name} is larger than the {self._limit} bytes that the server takes")
