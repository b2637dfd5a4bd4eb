"""Raw tensors: bytes in the protocol's own layout, as the binary extension and gRPC carry them."""

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from perennial_server.errors import RequestError
from perennial_server.protocol.datatypes import DATATYPES, MAX_SIZE

Array = npt.NDArray[Any]

_LENGTH = struct.Struct("<I")


def decode_raw(name: str, datatype: str, shape: Sequence[int], data: memoryview) -> Array | list[str]:
    """Read a tensor's raw bytes: flat, row by row, little-endian; before each of BYTES its length in 4 bytes.

    Returns
    -------
    array or list
        A copy, aligned and independent of the request's buffer; a list of strings for BYTES.

    Raises
    ------
    RequestError
        Status 400: the bytes aren't what datatype and shape say.
    """
    if datatype not in DATATYPES:
        raise RequestError(400, f"{name}: has datatype {datatype[:64]!r}; one of {', '.join(DATATYPES)}")
    if any(not 0 <= size <= MAX_SIZE for size in shape):
        raise RequestError(400, f"{name}: has shape {list(shape)[:8]}; sizes are from 0 to {MAX_SIZE}")
    count = math.prod(shape)
    kind = DATATYPES[datatype]
    if kind.size_bytes is None:
        return _decode_strings(name, count, data)
    if len(data) != count * kind.size_bytes:
        raise RequestError(
            400,
            f"{name}: has {len(data)} bytes; {datatype} of shape {list(shape)[:8]} takes {count * kind.size_bytes}",
        )
    if datatype == "BOOL" and np.frombuffer(data, dtype=np.uint8).max(initial=0) > 1:
        raise RequestError(400, f"{name}: has a byte other than 0 and 1, which isn't BOOL")
    return np.frombuffer(data, dtype=kind.dtype).copy()


def encode_raw(array: Array, datatype: str) -> bytes:
    """Write an array as raw bytes; see `decode_raw`."""
    if datatype != "BYTES":
        return np.ascontiguousarray(array, dtype=DATATYPES[datatype].dtype).tobytes()
    parts: list[bytes] = []
    for value in array.ravel().tolist():
        text = value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
        parts += (_LENGTH.pack(len(text)), text)
    return b"".join(parts)


def _decode_strings(name: str, count: int, data: memoryview) -> list[str]:
    # Each value takes at least its length, so that a shape can't promise more than there is to read.
    if len(data) < count * _LENGTH.size:
        raise RequestError(400, f"{name}: has {len(data)} bytes, too few for {count} values of BYTES")
    values: list[str] = []
    at = 0
    for index in range(count):
        start = at + _LENGTH.size
        if start > len(data):
            raise RequestError(400, f"{name}: ends before value {index}")
        at = start + _LENGTH.unpack_from(data, at)[0]
        if at > len(data):
            raise RequestError(400, f"{name}: value {index} is longer than what is left of the tensor")
        try:
            values.append(str(data[start:at], "utf-8"))
        except UnicodeDecodeError as error:
            raise RequestError(400, f"{name}: value {index} isn't UTF-8") from error
    if at != len(data):
        raise RequestError(400, f"{name}: has {len(data) - at} bytes after its {count} values")
    return values
