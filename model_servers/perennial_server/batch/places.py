"""Files wherever they are: found, told apart, and written whole or not at all."""

import json
import logging
import os
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from perennial_server.backoff import backoff_delays
from perennial_server.batch.errors import BatchError, StorageFailed, UnreadableInput
from perennial_server.batch.settings import BatchSettings

logger = logging.getLogger(__name__)

SCHEMES = frozenset({"file", "s3", "gs", "gcs", "az", "abfs", "abfss", "http", "https"})
# What stores call the version of a file's content, the best first.
_VERSIONS = ("ETag", "etag", "md5Hash", "crc32c", "mtime", "LastModified", "last_modified")
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_TEMPORARY = ".tmp-"

T = TypeVar("T")


@dataclass(frozen=True)
class Retry:
    """How often a store is asked, and how long is waited between."""

    attempts: int
    base_s: float
    cap_s: float

    def call(self, what: str, function: Callable[[], T]) -> T:
        """Call, again where the store may recover.

        Raises
        ------
        StorageFailed
            It didn't, or says no.
        """
        rng = random.Random()  # noqa: S311  jitter
        delays = backoff_delays(self.attempts, base_s=self.base_s, cap_s=self.cap_s, rng=rng)
        while True:
            try:
                return function()
            except _FINAL as error:
                raise StorageFailed(f"{what}: {type(error).__name__}: {error}") from error
            except (OSError, TimeoutError) as error:
                delay_s = next(delays, None)
                if delay_s is None:
                    raise StorageFailed(
                        f"{what} failed {self.attempts} times, last with {error!r}"
                    ) from error
                logger.warning("%s failed and is tried again error=%r", what, error)
                time.sleep(delay_s)


@dataclass(frozen=True)
class Place:
    """A path in a store."""

    fs: Any
    path: str
    retry: Retry

    @property
    def is_local(self) -> bool:
        """Whether it is this machine's own file system."""
        return "file" in self.fs.protocol

    def child(self, name: str) -> "Place":
        """Return what is in it under a name."""
        return Place(self.fs, f"{self.path.rstrip('/')}/{name}", self.retry)

    def exists(self) -> bool:
        """Whether there is something."""
        return bool(self.retry.call(f"look for {self.path}", lambda: self.fs.exists(self.path)))

    def read(self) -> bytes:
        """Read a whole file."""
        return bytes(self.retry.call(f"read {self.path}", lambda: self.fs.cat_file(self.path)))

    def names(self) -> list[str]:
        """Return the names in a directory, sorted; none if it isn't there."""

        def list_now() -> list[str]:
            self.fs.invalidate_cache()
            try:
                found = self.fs.ls(self.path, detail=False)
            except FileNotFoundError:
                return []
            return sorted(name for path in found if (name := path.rstrip("/").rsplit("/", 1)[-1]))

        return self.retry.call(f"list {self.path}", list_now)

    def commit(self, name: str, data: bytes) -> None:
        """Write a file so that there is either all of it under its name, or what was there before.

        A local file is renamed into place after it has reached the disk; stores of objects show an object only when it
        is whole.
        """
        target = self.child(name)

        def write() -> None:
            if self.is_local:
                _write_local(Path(target.path), data)
            else:
                self.fs.pipe_file(target.path, data)

        self.retry.call(f"write {target.path}", write)

    def clean(self) -> None:
        """Remove what a killed job left half written."""
        if self.is_local and Path(self.path).is_dir():
            for path in Path(self.path).glob(f"*{_TEMPORARY}*"):
                path.unlink(missing_ok=True)


def _write_local(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}{_TEMPORARY}{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def open_place(uri: str, settings: BatchSettings) -> Place:
    """Open a URI, or a path.

    Raises
    ------
    BatchError
        It is of a kind that isn't supported, or the storage options are wrong.
    """
    scheme = uri.split("://", 1)[0] if "://" in uri else "file"
    if scheme not in SCHEMES:
        raise BatchError(f"{uri}: {scheme}:// isn't supported; use one of {', '.join(sorted(SCHEMES))}")
    options: dict[str, Any] = {}
    if settings.storage_options is not None and scheme != "file":
        try:
            options = json.loads(settings.storage_options.get_secret_value())
        except ValueError as error:
            raise BatchError("PERENNIAL_STORAGE_OPTIONS isn't JSON") from error
    try:
        fs, path = import_module("fsspec.core").url_to_fs(uri, **options)
    except (ImportError, TypeError, ValueError) as error:
        raise BatchError(f"{uri} can't be opened: {error}") from error
    retry = Retry(settings.storage_attempts, settings.backoff_base_s, settings.backoff_cap_s)
    return Place(fs, path, retry)


def find_files(place: Place) -> list[tuple[str, int, str]]:
    """Find the input's files: path, size and version of each, by path. Hidden ones and markers (_x) don't count.

    Raises
    ------
    UnreadableInput
        There are none.
    """

    def find() -> dict[str, Any]:
        place.fs.invalidate_cache()
        if any(mark in place.path for mark in "*?["):
            found = place.fs.glob(place.path, detail=True)
        elif place.fs.isdir(place.path):
            found = place.fs.find(place.path, detail=True)
        elif place.fs.exists(place.path):
            info = place.fs.info(place.path)
            found = {place.path: info}
        else:
            found = {}
        return dict(found)

    base = place.path.split("*", 1)[0]
    files = []
    for path, info in sorted(place.retry.call(f"look for {place.path}", find).items()):
        inside = (
            path[len(base) :] if path.startswith(base) and path != place.path else path.rsplit("/", 1)[-1]
        )
        if info.get("type", "file") == "file" and not any(
            n.startswith((".", "_")) for n in inside.split("/")
        ):
            version = next((f"{key}:{info[key]}" for key in _VERSIONS if info.get(key) is not None), "")
            files.append((path, int(info.get("size") or 0), version))
    if not files:
        raise UnreadableInput(f"there is no file at {place.path}; is --input right?")
    return files
