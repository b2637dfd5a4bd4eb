"""Values of tensors that come as bytes behind the JSON: the protocol's extension `binary_tensor_data`. Pure."""

from __future__ import annotations

import math
import struct
from typing import Any

_FORMATS = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
_LENGTH = struct.Struct("<I")


def read_raw(datatype: str, data: bytes, n: int) -> list[Any]:
    """Read `n` values, little-endian; a number that isn't one is missing, as in JSON.

    Raises
    ------
    ValueError
        They aren't `n` values of the datatype.
    """
    if datatype == "BYTES":
        return _read_texts(data, n)
    if datatype not in _FORMATS:
        raise ValueError(f"{datatype[:40]} is not read")
    values = _unpack(f"<{n}{_FORMATS[datatype]}", data)
    if datatype.startswith("FP"):
        return [None if math.isnan(value) else value for value in values]
    return list(values)


def _unpack(layout: str, data: bytes) -> tuple[Any, ...]:
    try:
        return struct.unpack(layout, data)
    except struct.error as error:
        raise ValueError(str(error)) from error


def _read_texts(data: bytes, n: int) -> list[Any]:
    texts: list[Any] = []
    at = 0
    while at < len(data) and len(texts) < n:
        (size,) = _unpack("<I", data[at : at + _LENGTH.size])
        at += _LENGTH.size
        if at + size > len(data):
            break
        texts.append(data[at : at + size].decode())
        at += size
    if len(texts) != n or at != len(data):
        raise ValueError(f"the bytes aren't {n} texts with their lengths")
    return texts
