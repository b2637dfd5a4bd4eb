"""Frames on the socket: a 4-byte big-endian length, then an ``.npz`` without pickles.

The array ``request`` (or ``answer``) holds JSON as a zero-dimensional string; all others are numbers.
"""

import io
import json
import socket
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from perennial_detectors.errors import InvalidRequest

__all__ = ["Arrays", "pack", "read_frame", "unpack", "write_frame"]

Arrays = dict[str, npt.NDArray[Any]]

_LENGTH = struct.Struct(">I")


def read_frame(connection: socket.socket, max_bytes: int) -> bytes:
    """Read one frame; the socket's own timeout bounds each wait.

    Raises
    ------
    InvalidRequest
        If the frame is longer than `max_bytes` or ends early.
    """
    (length,) = _LENGTH.unpack(_read_exactly(connection, _LENGTH.size))
    if length > max_bytes:
        raise InvalidRequest(f"a frame of {length} bytes is over the limit of {max_bytes}", "FrameTooLarge")
    return _read_exactly(connection, length)


def _read_exactly(connection: socket.socket, count: int) -> bytes:
    chunks = bytearray()
    while len(chunks) < count:
        chunk = connection.recv(min(count - len(chunks), 1 << 20))
        if not chunk:
            raise InvalidRequest("the connection closed in the middle of a frame", "TruncatedFrame")
        chunks += chunk
    return bytes(chunks)


def write_frame(connection: socket.socket, payload: bytes) -> None:
    """Send one frame."""
    connection.sendall(_LENGTH.pack(len(payload)) + payload)


def pack(header: str, message: Mapping[str, Any], arrays: Arrays) -> bytes:
    """Encode `message` as JSON under the name `header`, beside `arrays`."""
    buffer = io.BytesIO()
    np.savez(buffer, **{header: np.array(json.dumps(message))}, **arrays)
    return buffer.getvalue()


def unpack(header: str, payload: bytes, max_bytes: int) -> tuple[dict[str, Any], Arrays]:
    """Decode what :func:`pack` wrote, refusing pickles and archives that unfold beyond `max_bytes`."""
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            unfolded = sum(item.file_size for item in archive.infolist())
        if unfolded > max_bytes:
            raise InvalidRequest(
                f"arrays of {unfolded} bytes are over the limit of {max_bytes}", "FrameTooLarge"
            )
        with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        message = json.loads(str(arrays.pop(header)))
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidRequest(f"not an .npz with a {header!r} entry of JSON: {error}") from error
    if not isinstance(message, dict):
        raise InvalidRequest(f"the {header!r} entry must be a JSON object")
    return message, arrays
