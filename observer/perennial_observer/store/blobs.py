"""Bundles and datasets as files named by their digest."""

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from perennial_observer.errors import DigestMismatch, InvalidRequest, NotFound, Overloaded, TooLarge

__all__ = ["BlobStore", "drop_leftovers"]

LEFT_AFTER_S = 3600.0

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class BlobStore:
    """A folder of files that never change once they are there.

    Parameters
    ----------
    root
        Folder on the volume.
    max_bytes
        Largest blob.
    min_free_bytes
        Space that must remain on the volume.
    """

    root: Path
    max_bytes: int
    min_free_bytes: int

    def prepare(self) -> None:
        """Make the folder and drop what interrupted uploads left."""
        self.root.mkdir(parents=True, exist_ok=True)
        drop_leftovers(self.root, ".upload-*")

    def find(self, digest: str) -> Path:
        """Return the file of `digest` (``sha256:<64 hex>``).

        Raises
        ------
        InvalidRequest
            If `digest` isn't spelled like one.
        NotFound
            If nothing of that digest was pushed.
        """
        path = self._path(digest)
        if not path.is_file():
            raise NotFound(f"there is no bundle {digest}: push it first", "BundleNotFound")
        return path

    def has(self, digest: str) -> bool:
        """Whether `digest` is there."""
        return self._path(digest).is_file()

    def _path(self, digest: str) -> Path:
        match = _DIGEST.fullmatch(digest)
        if match is None:
            raise InvalidRequest(f"{digest[:100]!r} is not sha256:<64 hex digits>", "InvalidDigest")
        return self.root / match.group(1)

    async def put(self, digest: str, chunks: AsyncIterator[bytes]) -> bool:
        """Store what `chunks` yields; False if it was there already (then nothing is read).

        The file appears under its name only when it is whole, on disk, and has the digest.

        Raises
        ------
        DigestMismatch, TooLarge, Overloaded
            Nothing is kept.
        """
        path = self._path(digest)
        if path.is_file():
            return False
        hasher, size = hashlib.sha256(), 0
        handle, name = tempfile.mkstemp(prefix=".upload-", dir=self.root)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    self._require_room(size, len(chunk))
                    hasher.update(chunk)
                    await anyio.to_thread.run_sync(file.write, chunk)
                file.flush()
                await anyio.to_thread.run_sync(os.fsync, file.fileno())
            if hasher.hexdigest() != path.name:
                raise DigestMismatch(f"the {size} bytes sent have the digest sha256:{hasher.hexdigest()}")
            await anyio.to_thread.run_sync(temporary.rename, path)
            await anyio.to_thread.run_sync(_sync_folder, self.root)
        finally:
            await anyio.to_thread.run_sync(lambda: temporary.unlink(missing_ok=True))
        return True

    def _require_room(self, size: int, coming: int) -> None:
        if size > self.max_bytes:
            raise TooLarge(f"a bundle may have at most {self.max_bytes} bytes")
        if shutil.disk_usage(self.root).free - coming < self.min_free_bytes:
            raise Overloaded("the observer's volume is full: enlarge it or delete old bundles", "VolumeFull")


def drop_leftovers(folder: Path, pattern: str) -> None:
    """Delete files that nobody has written to for an hour: younger ones may be another observer's, at work on them."""
    for left in folder.glob(pattern):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > LEFT_AFTER_S:
                left.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
