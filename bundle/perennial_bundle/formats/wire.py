"""Protocol buffers' wire format: just enough to look into a file before the library that it is meant for does."""

import re
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10
# Numbers that a writer didn't pack come one by one, millions of them in a forest: whole runs are skipped at once.
_RUN = re.compile(rb"(?:\x3d.{4})++|(?:\x40[\x80-\xff]{0,9}[\x00-\x7f])++", re.DOTALL)
_RUN_FIELDS = (0x3D, 0x40)


class WireError(ValueError):
    """The bytes aren't a message."""


def read_fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield each field of a message: number, wire type, and a number, or the bytes of a field that has a length.

    Fields 7 (FIXED32) and 8 (VARINT) may be left out of long runs: nothing asks for them.

    Raises
    ------
    WireError
        It isn't a message, or is cut off.
    """
    at, end = 0, len(data)
    while at < end:
        if data[at] in _RUN_FIELDS and (run := _RUN.match(data, at)) is not None:
            at = run.end()
            continue
        tag, at = _read_varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 2**29:
            raise WireError(f"there is no field {number}")
        if kind == VARINT:
            value, at = _read_varint(data, at)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, at = _read_varint(data, at)
        elif kind in {FIXED32, FIXED64}:
            size = 4 if kind == FIXED32 else 8
        else:
            raise WireError(f"field {number} has the wire type {kind}")
        if at + size > end:
            raise WireError("it is cut off")
        yield number, kind, data[at : at + size]
        at += size


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if at + index >= len(data):
            raise WireError("it is cut off")
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004  the last byte of a varint has no high bit
            return value, at + index + 1
    raise WireError("a number has more than ten bytes")


def read_numbers(kind: int, value: int | memoryview) -> Iterator[int]:
    """Yield the varints of a repeated field, which may be packed."""
    if isinstance(value, int):
        yield value
    elif kind == BYTES:
        at = 0
        while at < len(value):
            number, at = _read_varint(value, at)
            yield number
