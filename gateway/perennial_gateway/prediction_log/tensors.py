"""Tensors of one body of the Open Inference Protocol: listed by its JSON, their values there or as bytes behind it. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from perennial_gateway.prediction_log.raw import read_raw

MAX_NAME = 256
"""Characters of a tensor's name, as a bundle's schema allows; each of a matrix's columns has it anew."""

COLUMN_BYTES = 256
"""What a column takes beside its values and its name."""

NUMBER_TEXT_BYTES, LETTER_TEXT_BYTES = 26, 6
"""What a raw number takes as JSON, and a raw text's byte at most."""

_MATRIX = 2
_LARGEST = 2**63


class Unreadable(ValueError):
    """The bodies are no exchange of the protocol."""


@dataclass(frozen=True, slots=True)
class Body:
    """A body that isn't compressed any more: JSON, and the raw tensors behind it."""

    text: bytes
    raw: bytes = b""

    @property
    def size_bytes(self) -> int:
        """Of both."""
        return len(self.text) + len(self.raw)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor whose values may not have been made yet.

    Attributes
    ----------
    n, width
        Rows, and values in each.
    values
        As JSON has them, flat or a list for each row; None where they are raw.
    """

    name: str
    datatype: str
    n: int
    width: int
    values: list[Any] | None
    raw: bytes

    @property
    def names_bytes(self) -> int:
        """What its columns take in memory beside their values."""
        return self.width * (COLUMN_BYTES + 4 * len(self.name))

    @property
    def raw_values(self) -> int:
        """How many values are raw."""
        return self.n * self.width if self.values is None else 0

    @property
    def raw_text_bytes(self) -> int:
        """What raw values take as JSON, at most."""
        if self.datatype == "BYTES":
            return LETTER_TEXT_BYTES * len(self.raw)
        return NUMBER_TEXT_BYTES * self.raw_values

    def read(self) -> list[Any]:
        """Return its values, row after row.

        Raises
        ------
        Unreadable
            They aren't as many as the shape says, or not finite.
        """
        if self.values is None:
            try:
                flat = read_raw(self.datatype, self.raw, self.n * self.width)
            except ValueError as error:
                raise Unreadable(f"{self.name}: {error}") from error
        else:
            nested = bool(self.values) and isinstance(self.values[0], list)
            flat = _flatten(self.values) if nested else self.values
        if len(flat) != self.n * self.width or not all(map(_is_value, flat)):
            raise Unreadable(f"{self.name}: its data aren't finite values, as many as its shape says")
        return flat


def list_tensors(body: Body, field: str) -> list[Tensor]:
    """Read a body's JSON, and share out the bytes behind it.

    Raises
    ------
    Unreadable
        It is no such list of tensors, each a vector or a matrix, or the bytes aren't theirs.
    """
    document = _read_json(body.text)
    if not isinstance(document, dict) or not isinstance(found := document.get(field), list) or not found:
        raise Unreadable(f"{field} is no list of tensors")
    tensors, at = [], 0
    for entry in found:
        tensor = _read_entry(entry, body.raw[at:])
        at += len(tensor.raw)
        tensors.append(tensor)
    if at != len(body.raw):
        raise Unreadable(f"{len(body.raw) - at} bytes behind the JSON are no tensor's")
    return tensors


def _read_json(text: bytes) -> Any:
    try:
        # Python itself would also read UTF-16, and half a surrogate pair that is written in UTF-8.
        document = json.loads(text.decode("utf-8-sig"), parse_constant=lambda _: None)
        if b"\\u" in text:
            # Half a surrogate pair is JSON for Python, but for no other reader: one would cost the whole message.
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"no JSON: {error}") from error
    return document


def _read_entry(entry: Any, raw: bytes) -> Tensor:
    match entry:
        case {"name": str(name), "shape": [int(n), *rest]} if (
            n >= 0
            and len(name) <= MAX_NAME
            and len(rest) < _MATRIX
            and all(isinstance(k, int) and k > 0 for k in rest)
        ):
            width = rest[0] if rest else 1
            match entry:
                case {"data": list(values)}:
                    return Tensor(name, "", n, width, values, b"")
                case {"datatype": str(datatype), "parameters": {"binary_data_size": int(size)}} if (
                    # No value takes less than a byte: more of them needn't be made to be counted.
                    n * width <= size <= len(raw)
                ):
                    return Tensor(name, datatype, n, width, None, raw[:size])
    raise Unreadable(
        f"a tensor is not {{name of {MAX_NAME} characters, shape: [n] or [n, k], data}}, nor is its data raw"
    )


def _flatten(rows: Sequence[Any]) -> list[Any]:
    if not all(isinstance(row, list) for row in rows):
        raise Unreadable("data is neither flat nor a list for each row")
    return [value for row in rows for value in row]


def _is_value(value: Any) -> bool:
    """Whether any reader of JSON takes it for the same."""
    kind = type(value)
    if kind is float:
        return bool(math.isfinite(value))
    if kind is int:
        return bool(-_LARGEST <= value < _LARGEST)
    return kind is str or kind is bool or value is None
