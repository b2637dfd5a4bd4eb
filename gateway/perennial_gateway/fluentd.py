"""Read what Envoy's fluentd access logger writes: MessagePack, of which it uses a small part."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]
Record = Mapping[str, Value]

MOST_BYTES = 8 * 1024 * 1024
"""Of one message; Envoy's buffer is far smaller."""

_CONSTANTS: dict[int, bool | None] = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_TEXT_LENGTHS = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
_LIST_LENGTHS = {0xDC: ">H", 0xDD: ">I"}
_MAP_LENGTHS = {0xDE: ">H", 0xDF: ">I"}


class Malformed(ValueError):
    """The bytes are no message of Envoy's."""


class _Incomplete(Exception):
    """More bytes will come."""


class RecordReader:
    """Turns a stream of bytes, however it is cut, into records."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[Record]:
        """Yield the records that are whole with these bytes.

        Raises
        ------
        Malformed
            Close the connection: what follows can't be told apart.
        """
        self._buffer += data
        while self._buffer:
            cursor = _Cursor(self._buffer)
            try:
                message = cursor.read()
            except _Incomplete:
                if len(self._buffer) > MOST_BYTES:
                    raise Malformed(f"a message is longer than {MOST_BYTES} bytes") from None
                return
            self._buffer = self._buffer[cursor.at :]
            yield from _records(message)


def _records(message: Value) -> Iterator[Record]:
    """Yield the records of ``[tag, [[time, record], …]]``."""
    match message:
        case [str(), list() as entries]:
            for entry in entries:
                match entry:
                    case [_, dict() as record]:
                        yield record
                    case _:
                        raise Malformed("an entry is not [time, record]")
        case _:
            raise Malformed("a message is not [tag, entries]")


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def read(self) -> Value:
        kind = self._take(1)[0]
        if kind <= 0x7F or kind >= 0xE0:  # noqa: PLR2004 - small numbers stand for themselves
            return kind if kind <= 0x7F else kind - 0x100  # noqa: PLR2004
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind])
        return self._sized(kind)

    def _sized(self, kind: int) -> Value:
        if (length := self._length(kind, 0xA0, 0x1F, _TEXT_LENGTHS)) is not None:
            return self._take(length).decode(errors="replace")
        if (length := self._length(kind, 0x90, 0x0F, _LIST_LENGTHS)) is not None:
            return [self.read() for _ in range(length)]
        if (length := self._length(kind, 0x80, 0x0F, _MAP_LENGTHS)) is not None:
            return {str(self.read()): self.read() for _ in range(length)}
        raise Malformed(f"the type {kind:#x} is not expected")

    def _length(self, kind: int, fixed: int, mask: int, sized: Mapping[int, str]) -> int | None:
        if kind & ~mask == fixed:
            return kind & mask
        return int(self._number(sized[kind])) if kind in sized else None

    def _number(self, form: str) -> int | float:
        value: int | float = struct.unpack(form, self._take(struct.calcsize(form)))[0]
        return value

    def _take(self, count: int) -> bytes:
        if self.at + count > len(self._data):
            raise _Incomplete
        taken = self._data[self.at : self.at + count]
        self.at += count
        return taken
