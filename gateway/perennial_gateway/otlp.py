"""Read what Envoy's OpenTelemetry access logger posts: protobuf, of which it uses a small part.

A library for protobuf would be a dependency of the router for three nested fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT = 10

# The fields' numbers in ExportLogsServiceRequest, ResourceLogs, ScopeLogs, LogRecord, KeyValue and AnyValue.
_RESOURCE_LOGS, _SCOPE_LOGS, _LOG_RECORDS = 1, 2, 2
_TIME, _ATTRIBUTES = 1, 6
_KEY, _VALUE, _STRING = 1, 2, 1


class Malformed(ValueError):
    """The bytes are no message of Envoy's."""


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of the access log: when its request began, and its attributes."""

    time_s: float
    attributes: Mapping[str, bytes]


def read_records(message: bytes) -> Iterator[Record]:
    """Yield the records of an ExportLogsServiceRequest.

    Raises
    ------
    Malformed
        It isn't one.
    """
    for resource in _parts(memoryview(message), _RESOURCE_LOGS):
        for scope in _parts(resource, _SCOPE_LOGS):
            for record in _parts(scope, _LOG_RECORDS):
                yield _read_record(record)


def _read_record(record: memoryview) -> Record:
    time_s, attributes = 0.0, {}
    for number, value in _fields(record):
        if number == _TIME:
            time_s = int.from_bytes(value, "little") / 1e9
        elif number == _ATTRIBUTES:
            parts = dict(_fields(value))
            text = dict(_fields(parts.get(_VALUE, memoryview(b"")))).get(_STRING, b"")
            attributes[bytes(parts.get(_KEY, b"")).decode(errors="replace")] = bytes(text)
    return Record(time_s, attributes)


def _parts(message: memoryview, wanted: int) -> Iterator[memoryview]:
    return (value for number, value in _fields(message) if number == wanted)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield numbers and values; of numbers without a fixed size only that they were there."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        kind = key & 7
        if kind == _BYTES:
            size, at = _read_varint(message, at)
        elif kind == _VARINT:
            size, end = 0, _read_varint(message, at)[1]
            at = end
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            raise Malformed(f"a field of the kind {kind} is not expected")
        if at + size > len(message):
            raise Malformed("a field is cut")
        yield key >> 3, message[at : at + size]
        at += size


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins there, and where it ends."""
    value = 0
    for place, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:  # noqa: PLR2004 - the last byte has no such bit
            return value, at + place + 1
    raise Malformed("a number is cut")
