"""References that can't be read a second time as they were, put aside on the volume by this process for itself.

More rows of a stretch of the log may come, and retention deletes some; a file is far away. What was read once stays what
it was while its revision is in force, also when it had no room in memory for a while.
"""

import logging
import tempfile
import threading
import weakref
import zlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from perennial_observer.store.references import StoredReference, decode_reference, encode_reference

__all__ = ["Shelf"]

_LOG = logging.getLogger(__name__)


@dataclass
class Shelf:
    """One file without a name, which goes with the process.

    Parameters
    ----------
    folder
        On the volume; None for the system's own.
    max_bytes
        Of the file. What has no room is not put aside. There are two such files on a volume of 10 GiB.
    """

    folder: Path | None = None
    max_bytes: int = 256 << 20
    _file: IO[bytes] | None = None
    _places: dict[Hashable, tuple[str, str, int, int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, name: Hashable, reference: StoredReference) -> None:
        """Put a reference aside in place of an earlier one, if there is room and it is the same when it is read again."""
        body = zlib.compress(encode_reference(reference), 1)
        is_same = decode_reference(reference.revision, reference.digest, body) == reference
        try:
            with self._lock:
                self._places.pop(name, None)
                if is_same:
                    self._append(name, reference.revision, reference.digest, body)
        except OSError as error:
            _LOG.warning("reference not put aside error=%s", error)

    def get(self, name: Hashable) -> StoredReference | None:
        """Read a reference that was put aside; None if there is none, or it can't be read any more."""
        with self._lock:
            if name not in self._places or self._file is None:
                return None
            revision, digest, start, size = self._places[name]
            try:
                body = _read(self._file, start, size)
            except OSError as error:
                _LOG.warning("reference put aside is lost error=%s", error)
                del self._places[name]
                return None
        return decode_reference(revision, digest, body)

    def keep_only(self, is_wanted: Callable[[Hashable], bool]) -> None:
        """Forget those that are not wanted any more; the file is written anew once most of it is forgotten."""
        with self._lock:
            self._places = {name: place for name, place in self._places.items() if is_wanted(name)}
            if self._file is None:
                return
            used = sum(size for *_, size in self._places.values())
            try:
                if 2 * used < self._file.seek(0, 2):
                    self._rewrite()
            except OSError as error:
                _LOG.warning("references put aside not written anew error=%s", error)

    def _append(self, name: Hashable, revision: str, digest: str, body: bytes) -> None:
        if self._file is None:
            # Without a buffer: what couldn't be written would be tried again at every use of the file.
            self._file = tempfile.TemporaryFile(dir=self.folder, buffering=0)  # noqa: SIM115  open as long as the shelf
            weakref.finalize(self, self._file.close)
        start = self._file.seek(0, 2)
        if start + len(body) > self.max_bytes:
            return
        try:
            left = memoryview(body)
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            self._file.truncate(start)
            raise
        self._places[name] = (revision, digest, start, len(body))

    def _rewrite(self) -> None:
        old, places = self._file, self._places
        assert old is not None, "there is something to write anew"
        self._file, self._places = None, {}
        try:
            for name, (revision, digest, start, size) in places.items():
                self._append(name, revision, digest, _read(old, start, size))
        except OSError:
            if self._file is not None:
                self._file.close()
            self._file, self._places = old, places
            raise
        old.close()


def _read(file: IO[bytes], start: int, size: int) -> bytes:
    file.seek(start)
    body = b""
    while len(body) < size:
        part = file.read(size - len(body))
        if not part:
            raise OSError(f"{size - len(body)} bytes are missing")
        body += part
    return body
