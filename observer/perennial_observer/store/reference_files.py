"""Fetches a reference's Parquet file and takes rows from it.

Whoever may write a ModelDeployment names the file, and the observer reads it with its own rights. So only what the
installation allows is opened, its digest is checked before anything is parsed, and no more is held than a few rows.
"""

import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from perennial_observer.errors import ObserverError

__all__ = ["FileUnusable", "ReferenceFiles", "is_allowed_reference"]

MAX_FILE_BYTES = 64 << 20
# Of the rows that are taken, and of one batch while it is looked through.
MAX_DENSE_BYTES = 64 << 20
# Of the model's columns in one row group, before their encoding is undone: a page of it is held at once.
MAX_GROUP_BYTES = 256 << 20
MAX_FOOTER_TEXT_BYTES = 8 << 20
BATCH_ROWS = 4096
CHUNK_BYTES = 1 << 20
READ_S = 60.0
CONNECT_S, REQUEST_S, ATTEMPTS = 5.0, 15.0, 2


class FileUnusable(ObserverError):
    """The file may not be read, can't be reached, isn't the one that was meant, or isn't what a reference needs."""


@dataclass(frozen=True)
class _Deadline:
    at: float
    clock: Callable[[], float]

    def check(self) -> None:
        if self.clock() > self.at:
            raise FileUnusable(f"the reference wasn't read within {READ_S:g} s", "ReferenceUnavailable")


@dataclass(frozen=True)
class ReferenceFiles:
    """Reads the files that the installation allows; none unless it is said.

    Parameters
    ----------
    allowed
        Prefixes, ``s3://bucket/folder`` or ``file:///folder``, each with all that is below it.
    folder
        Where a file stands without a name while it is read; None for the system's own folder.
    """

    allowed: tuple[str, ...] = ()
    folder: Path | None = None
    clock: Callable[[], float] = time.monotonic

    def read_rows(
        self, uri: str, sha256: str, names: Collection[str], most_rows: int
    ) -> Mapping[str, Sequence[Any]]:
        """Take at most `most_rows` rows, evenly spread, of the columns in `names` that the file has.

        Parameters
        ----------
        uri
            ``s3://bucket/key`` or ``file:///path``.
        sha256
            Hex. That a file with another one exists is all that a caller learns of it.

        Raises
        ------
        FileUnusable
            ``ReferenceNotAllowed``, ``ReferenceUnavailable``, ``ReferenceTooLarge``, ``ReferenceDigestMismatch`` or
            ``ReferenceUnreadable``: it isn't Parquet or holds no row.
        """
        deadline = _Deadline(self.clock() + READ_S, self.clock)
        with self._make_copy() as copy:
            self._fetch(uri, sha256, copy, deadline)
            try:
                return _take(copy, names, most_rows, deadline)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise FileUnusable(
                    f"the reference isn't readable as Parquet: {error}", "ReferenceUnreadable"
                ) from error

    @contextmanager
    def _make_copy(self) -> Iterator[IO[bytes]]:
        with ExitStack() as stack:
            try:
                copy = stack.enter_context(tempfile.TemporaryFile(dir=self.folder))
            except OSError as error:
                raise FileUnusable(
                    f"there is no place to keep the file: {error}", "ReferenceUnavailable"
                ) from error
            yield copy

    def _fetch(self, uri: str, sha256: str, copy: IO[bytes], deadline: _Deadline) -> None:
        digest, size_bytes = hashlib.sha256(), 0
        try:
            with self._open(uri) as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    digest.update(chunk)
                    size_bytes += len(chunk)
                    if size_bytes > MAX_FILE_BYTES:
                        raise FileUnusable(
                            f"the reference is over {MAX_FILE_BYTES >> 20} MiB: take fewer rows",
                            "ReferenceTooLarge",
                        )
                    copy.write(chunk)
                    deadline.check()
        except (OSError, pa.ArrowException) as error:
            raise FileUnusable(f"{uri} can't be read: {error}", "ReferenceUnavailable") from error
        if digest.hexdigest() != sha256:
            raise FileUnusable(
                f"{uri} doesn't have the sha256 that reference.uri.sha256 says: correct the one or restore the other",
                "ReferenceDigestMismatch",
            )
        copy.seek(0)

    @contextmanager
    def _open(self, uri: str) -> Iterator[IO[bytes]]:
        if not is_allowed_reference(uri, self.allowed):
            raise _not_allowed(uri)
        scheme, place = _split(uri)
        if scheme == "file":
            with _open_file(uri, self._resolve(uri, place)) as stream:
                yield stream
            return
        # Made here and not from the URI, whose query could name another endpoint to send the credentials to.
        store = fs.S3FileSystem(
            connect_timeout=CONNECT_S,
            request_timeout=REQUEST_S,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        )
        with store.open_input_stream(place) as stream:
            yield stream

    def _resolve(self, uri: str, place: str) -> Path:
        """Follow links; one that leads out of what is allowed is refused as if there were nothing."""
        try:
            # Not strictly: of what a link points at outside, it must not be told whether it exists.
            real = Path(place).resolve()
            roots = [Path(root).resolve() for scheme, root in map(_split, self.allowed) if scheme == "file"]
        except (OSError, RuntimeError) as error:
            raise _not_allowed(uri) from error
        if not any(real.is_relative_to(root) for root in roots):
            raise _not_allowed(uri)
        return real


def is_allowed_reference(uri: str, allowed: Sequence[str]) -> bool:
    """Whether a file is one of the allowed or below one: same scheme, same bucket, and a path that goes on.

    Links aren't followed here.
    """
    scheme, place = _split(uri)
    if not place.isprintable() or "\\" in place or ".." in place.split("/"):
        return False
    if scheme not in {"file", "s3"} or place.startswith("/") != (scheme == "file"):
        return False
    for prefix_scheme, prefix in map(_split, allowed):
        root = prefix.rstrip("/")
        # An S3 prefix without a bucket would be all buckets.
        names_something = bool(root) or scheme == "file"
        if names_something and scheme == prefix_scheme and (place == root or place.startswith(root + "/")):
            return True
    return False


def _split(uri: str) -> tuple[str, str]:
    """Split a URI into its scheme and the place as it is opened: nothing of it is a query or a host."""
    scheme, _, place = uri.partition("://")
    return scheme, unquote(place) if scheme == "file" else place


def _not_allowed(uri: str) -> FileUnusable:
    return FileUnusable(
        f"the installation doesn't allow {uri}: have it added to observer.referenceUris",
        "ReferenceNotAllowed",
    )


@contextmanager
def _open_file(uri: str, place: Path) -> Iterator[IO[bytes]]:
    # A pipe would hold up the opening, a link put there meanwhile would lead elsewhere.
    handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as stream:
        # A device would never end.
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise FileUnusable(f"{uri} is no regular file", "ReferenceUnavailable")
        yield stream


def _take(
    copy: IO[bytes], names: Collection[str], most_rows: int, deadline: _Deadline
) -> Mapping[str, Sequence[Any]]:
    file = pq.ParquetFile(copy, thrift_string_size_limit=MAX_FOOTER_TEXT_BYTES)
    fields = [field for field in file.schema_arrow if field.name in names]
    total = file.metadata.num_rows
    if not fields or not total:
        raise FileUnusable(
            "the reference holds no row, or none of the model's columns", "ReferenceUnreadable"
        )
    for field in fields:
        if not _is_single(field.type):
            raise FileUnusable(
                f"column {field.name!r} of the reference holds no single values", "ReferenceUnreadable"
            )
    kept = [field.name for field in fields]
    _check_groups(file.metadata, set(kept))
    # Texts stay in their dictionary: one long text that a million rows repeat is held once.
    texts = [field.name for field in fields if _is_text(field.type)]
    copy.seek(0)
    file = pq.ParquetFile(copy, metadata=file.metadata, read_dictionary=texts, buffer_size=CHUNK_BYTES)
    wanted = np.unique(np.linspace(0, total - 1, min(total, most_rows)).astype(np.int64))
    columns: dict[str, list[Any]] = {name: [] for name in kept}
    start = dense_bytes = 0
    for batch in file.iter_batches(BATCH_ROWS, columns=kept, use_threads=False):
        deadline.check()
        _check_dense(batch.nbytes)
        inside = wanted[(wanted >= start) & (wanted < start + batch.num_rows)] - start
        start += batch.num_rows
        rows = batch.take(pa.array(inside))
        dense_bytes += sum(_dense_bytes(column) for column in rows.columns)
        _check_dense(dense_bytes)
        for name in kept:
            columns[name] += rows.column(name).to_pylist()
    return columns


def _check_groups(about: pq.FileMetaData, names: Collection[str]) -> None:
    for number in range(about.num_row_groups):
        group = about.row_group(number)
        columns = (group.column(i) for i in range(group.num_columns))
        needed = [column for column in columns if column.path_in_schema in names]
        for column in needed:
            # A few bytes of it may stand for gigabytes: each text repeats the one before.
            if "DELTA_BYTE_ARRAY" in column.encodings:
                raise FileUnusable(
                    f"column {column.path_in_schema!r} of the reference is encoded as DELTA_BYTE_ARRAY:"
                    " write it plain or with a dictionary",
                    "ReferenceUnreadable",
                )
        if sum(column.total_uncompressed_size for column in needed) > MAX_GROUP_BYTES:
            raise FileUnusable(
                f"a row group of the reference unpacks to more than {MAX_GROUP_BYTES >> 20} MiB: write smaller ones",
                "ReferenceTooLarge",
            )


def _check_dense(size_bytes: int) -> None:
    if size_bytes > MAX_DENSE_BYTES:
        raise FileUnusable(
            f"the reference unpacks to more than {MAX_DENSE_BYTES >> 20} MiB: shorten its texts",
            "ReferenceTooLarge",
        )


def _dense_bytes(column: pa.Array) -> int:
    """Size of a column once its dictionary is undone."""
    if not pa.types.is_dictionary(column.type) or not _is_text(column.type.value_type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).take(column.indices)
    return int(pc.sum(lengths).as_py() or 0)


def _is_single(kind: pa.DataType) -> bool:
    """Whether values are single and their size in a batch is bounded by what is checked here."""
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(
        _is_text(kind) or pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)
    )


def _is_text(kind: pa.DataType) -> bool:
    return any(
        check(kind)
        for check in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_binary,
            pa.types.is_large_binary,
        )
    )
