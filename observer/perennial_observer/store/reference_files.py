"""Fetches a reference's Parquet file and takes rows from it; its digest is checked before anything is parsed."""

import hashlib
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from perennial_observer.errors import ObserverError

__all__ = ["FileUnusable", "fetch_file", "take_rows"]

MAX_FILE_BYTES = 256 << 20
# Of one row group, unpacked: Parquet packs well.
MAX_GROUP_BYTES = 1 << 30
CHUNK_BYTES = 4 << 20
FETCH_S = 60.0
CONNECT_S, REQUEST_S, ATTEMPTS = 5.0, 15.0, 2


class FileUnusable(ObserverError):
    """The file can't be reached, isn't the one that was meant, or isn't what a reference needs."""


@dataclass(frozen=True)
class _Deadline:
    at: float
    clock: Callable[[], float]

    def check(self) -> None:
        if self.clock() > self.at:
            raise FileUnusable(f"the file didn't come within {FETCH_S:g} s", "ReferenceUnavailable")


def fetch_file(uri: str, sha256: str, *, clock: Callable[[], float] = time.monotonic) -> bytes:
    """Read a file whole, if it is the one of this digest.

    Parameters
    ----------
    uri
        ``s3://bucket/key`` or ``file:///path``.
    sha256
        Hex. That a file with another one exists is all that a caller learns of it.

    Raises
    ------
    FileUnusable
        ``ReferenceUnavailable`` or ``ReferenceDigestMismatch``.
    """
    deadline = _Deadline(clock() + FETCH_S, clock)
    content = bytearray()
    try:
        with _open(uri) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                content += chunk
                if len(content) > MAX_FILE_BYTES:
                    raise FileUnusable(
                        f"the reference is over {MAX_FILE_BYTES >> 20} MiB: take fewer rows",
                        "ReferenceUnavailable",
                    )
                deadline.check()
    except (OSError, pa.ArrowException) as error:
        raise FileUnusable(f"{uri} can't be read: {error}", "ReferenceUnavailable") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise FileUnusable(
            f"{uri} doesn't have the sha256 that reference.uri.sha256 says: correct the one or restore the other",
            "ReferenceDigestMismatch",
        )
    return bytes(content)


@contextmanager
def _open(uri: str) -> Iterator[IO[bytes]]:
    scheme, _, path = uri.partition("://")
    if scheme == "file":
        place = Path(unquote(path))
        # A pipe or a device would never end.
        if not stat.S_ISREG(place.stat().st_mode):
            raise FileUnusable(f"{uri} is no regular file", "ReferenceUnavailable")
        with place.open("rb") as stream:
            yield stream
        return
    # Made here and not from the URI, whose query could name another endpoint to send the credentials to.
    store = fs.S3FileSystem(
        connect_timeout=CONNECT_S,
        request_timeout=REQUEST_S,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
    )
    with store.open_input_stream(path) as stream:
        yield stream


def take_rows(content: bytes, names: Collection[str], most_rows: int) -> Mapping[str, Sequence[Any]]:
    """Take at most `most_rows` rows, evenly spread, of the columns in `names` that the file has.

    Raises
    ------
    FileUnusable
        ``ReferenceUnreadable``: it isn't Parquet, holds no row, or unpacks to too much.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        return _take(file, [name for name in file.schema_arrow.names if name in names], most_rows)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FileUnusable(
            f"the reference isn't readable as Parquet: {error}", "ReferenceUnreadable"
        ) from error


def _take(file: pq.ParquetFile, names: Sequence[str], most_rows: int) -> Mapping[str, Sequence[Any]]:
    total = file.metadata.num_rows
    if not names or not total:
        raise FileUnusable(
            "the reference holds no row, or none of the model's columns", "ReferenceUnreadable"
        )
    wanted = np.unique(np.linspace(0, total - 1, min(total, most_rows)).astype(np.int64))
    columns: dict[str, list[Any]] = {name: [] for name in names}
    start = 0
    for group in range(file.num_row_groups):
        about = file.metadata.row_group(group)
        if about.total_byte_size > MAX_GROUP_BYTES:
            raise FileUnusable(
                f"a row group of the reference unpacks to more than {MAX_GROUP_BYTES >> 20} MiB: write smaller ones",
                "ReferenceUnreadable",
            )
        inside = wanted[(wanted >= start) & (wanted < start + about.num_rows)] - start
        start += about.num_rows
        if len(inside):
            rows = file.read_row_group(group, columns=list(names)).take(pa.array(inside))
            for name in names:
                columns[name] += rows.column(name).to_pylist()
    return columns
