"""The tar of a bundle: written the same on every machine, read without trusting it."""

import hashlib
import os
import stat
import tarfile
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO

from perennial_bundle.errors import BundleNotFound, DigestMismatch, InvalidBundle, UnsafeModel
from perennial_bundle.manifest import MANIFEST_FILE, MAX_MANIFEST_BYTES, parse_manifest

CHUNK_BYTES = 1 << 20
# First bytes of what people send in place of a bundle: pickle protocols 2 to 5, and joblib's compressed ones.
PICKLE_MAGIC = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"ZF")
_HEAD_BYTES = 2
# tarfile takes a long name or a comment into memory whole, however long the archive says it is.
MAX_HEADER_BYTES = 4 * CHUNK_BYTES


@dataclass(frozen=True)
class Limits:
    """What `unpack` accepts at most."""

    files: int = 17
    file_bytes: int = 8 * 2**30
    total_bytes: int = 8 * 2**30


class _HashingWriter:
    """A file that only hashes, or hashes and passes on."""

    def __init__(self, target: IO[bytes] | None) -> None:
        self._target = target
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return len(data) if self._target is None else self._target.write(data)


class _HashingReader:
    """Reads a stream in pieces and hashes what passes."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.sha256 = hashlib.sha256()
        self.head = b""
        self.allowance: int | None = None

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.sha256.update(data)
        if self.allowance is not None:
            self.allowance -= len(data)
            if self.allowance < 0:
                raise InvalidBundle(f"the archive has a header of more than {MAX_HEADER_BYTES} bytes")
        if len(self.head) < _HEAD_BYTES:
            self.head = (self.head + data[:_HEAD_BYTES])[:_HEAD_BYTES]
        return data

    def drain(self, limit: int) -> None:
        read = 0
        while data := self.read(CHUNK_BYTES):
            read += len(data)
            if read > limit:
                raise InvalidBundle("the archive goes on after its end")


def looks_like_pickle(head: bytes) -> bool:
    """Tell from the first bytes whether a file is a pickle."""
    return head.startswith(PICKLE_MAGIC)


def pack(directory: Path | str, destination: IO[bytes] | None) -> str:
    """Write the bundle's deterministic tar.

    Names are sorted, owner and time are nil, mode is 0644, format is ustar: the same files give the same bytes.
    Only the manifest and the files it lists are packed.

    Parameters
    ----------
    directory
        A bundle's directory.
    destination
        Where the tar goes; None to compute the digest only.

    Returns
    -------
    str
        ``sha256:<hex of the tar>``, the bundle's digest.
    """
    directory = Path(directory)
    manifest = parse_manifest(read_manifest_bytes(directory))
    writer = _HashingWriter(destination)
    # A file above 8 GiB doesn't fit into ustar; GNU's base-256 sizes do.
    with tarfile.open(fileobj=writer, mode="w|", format=tarfile.GNU_FORMAT) as tar:  # type: ignore[call-overload]
        for name in sorted([MANIFEST_FILE, *manifest.files]):
            try:
                with open_plain(directory / name) as file:
                    info = tarfile.TarInfo(name)
                    info.size = os.fstat(file.fileno()).st_size
                    info.mode = 0o644
                    tar.addfile(info, file)
            except FileNotFoundError as error:
                raise InvalidBundle(f"the manifest lists {name}, which isn't there") from error
            except OSError as error:
                raise InvalidBundle(f"{name} can't be read: {error}") from error
    return f"sha256:{writer.sha256.hexdigest()}"


def open_plain(path: Path) -> BufferedReader:
    """Open a regular file; anything else might never end.

    Raises
    ------
    OSError
        It isn't there, or isn't a regular file.
    """
    if path.exists() and not path.is_file():
        raise OSError(f"{path.name} isn't a regular file")
    return path.open("rb")


def read_manifest_bytes(directory: Path) -> bytes:
    """Read ``bundle.json``, at most its allowed size."""
    path = directory / MANIFEST_FILE
    try:
        with open_plain(path) as file:
            return file.read(MAX_MANIFEST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleNotFound(f"there is no {MANIFEST_FILE} in {directory}") from error
    except OSError as error:
        raise InvalidBundle(f"{path} can't be read: {error}") from error


def unpack(
    stream: IO[bytes],
    destination: Path | str,
    limits: Limits = Limits(),
    *,
    expected_digest: str | None = None,
) -> str:
    """Extract a bundle's tar into a new or empty directory.

    Only plain files with plain names are taken: no links, devices, folders, no name twice. What was written stays
    on a failure: the caller owns the directory and removes it.

    Returns
    -------
    str
        ``sha256:<hex>`` of the bytes read.

    Raises
    ------
    DigestMismatch
        The bytes aren't those of `expected_digest`.
    InvalidBundle, UnsafeModel
        It isn't a bundle's tar, or it is a pickle.
    """
    destination = Path(destination)
    destination.mkdir(parents=True, exist_ok=True)
    reader = _HashingReader(stream)
    failure: InvalidBundle | None = None
    try:
        reader.allowance = MAX_HEADER_BYTES
        with tarfile.open(fileobj=reader, mode="r|", bufsize=CHUNK_BYTES) as tar:  # type: ignore[call-overload]
            _extract(tar, reader, destination, limits)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        failure = InvalidBundle(f"it isn't a bundle's tar: {error}")
    except InvalidBundle as error:
        failure = error
    reader.allowance = None
    # A wrong digest explains a broken archive better than the way in which it is broken.
    reader.drain(limits.total_bytes)
    digest = f"sha256:{reader.sha256.hexdigest()}"
    if expected_digest is not None and digest != expected_digest:
        raise DigestMismatch(f"the archive is {digest} where {expected_digest} was asked for")
    if failure is not None and looks_like_pickle(reader.head):
        raise UnsafeModel("this is a pickle, which runs code when it is loaded, and not a bundle")
    if failure is not None:
        raise failure
    return digest


def _next(tar: tarfile.TarFile, reader: _HashingReader) -> tarfile.TarInfo | None:
    reader.allowance = MAX_HEADER_BYTES
    member = tar.next()
    reader.allowance = None
    return member


def _extract(tar: tarfile.TarFile, reader: _HashingReader, destination: Path, limits: Limits) -> None:
    total = 0
    seen: set[str] = set()
    while (member := _next(tar, reader)) is not None:
        name = member.name.removeprefix("./")
        # A sparse file is a regular one that says it is larger than what the archive holds of it.
        if not member.isreg() or member.issparse() or member.size < 0:
            raise InvalidBundle(f"the archive holds {name[:256]!r}, which isn't a plain file")
        if not name or name != Path(name).name or name.startswith(".") or "\x00" in name:
            raise InvalidBundle(f"the archive holds {name[:256]!r}; files lie at its top, without a folder")
        if name in seen:
            raise InvalidBundle(f"the archive holds {name!r} twice")
        seen.add(name)
        total += member.size
        if len(seen) > limits.files or member.size > limits.file_bytes or total > limits.total_bytes:
            raise InvalidBundle(
                f"the archive exceeds {limits.files} files or {limits.total_bytes} bytes at {name!r}"
            )
        source = tar.extractfile(member)
        assert source is not None
        _write(source, destination / name, member.size)
    if MANIFEST_FILE not in seen:
        raise InvalidBundle(f"the archive holds no {MANIFEST_FILE}")


def _write(source: IO[bytes], path: Path, size_bytes: int) -> None:
    # O_EXCL: a file or link that is already there is never written through.
    fd = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, stat.S_IRUSR | stat.S_IWUSR | 0o044
    )
    with os.fdopen(fd, "wb") as file:
        left = size_bytes
        while left:
            data = source.read(min(left, CHUNK_BYTES))
            if not data:
                raise EOFError(f"{path.name} is cut off")
            file.write(data)
            left -= len(data)
