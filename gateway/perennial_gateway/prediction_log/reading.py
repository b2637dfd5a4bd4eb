"""Columns of an exchange in the Open Inference Protocol (JSON over REST), as the observer's log has them. Pure."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from perennial_gateway.prediction_log.exchanges import Exchange

MAX_UNPACKED_BYTES = 2 * 2**20
"""Of a request and its answer together, once they aren't compressed any more."""

MAX_VALUES = 2**18
"""Of both together, by their commas and brackets: no more fit into plain bodies that the script lets pass."""

MAX_COLUMNS = 1_024
MAX_NAME = 256
"""Characters of a tensor's name, as a bundle's schema allows; each of a matrix's columns has it anew."""

VALUE_BYTES = 40
"""What a value takes in memory beside its text: a number with its place in a list."""

COLUMN_BYTES = 256
"""What a column takes beside its values and its name."""

_MARKS = b",", b"[", b"{"
_MATRIX = 2
_LARGEST = 2**63


class Unreadable(ValueError):
    """The bodies are no exchange of the protocol."""


class TooLarge(ValueError):
    """The bodies would take too much memory: compressed ones tell it only as they are unpacked."""


@dataclass(frozen=True, slots=True)
class Read:
    """An exchange's rows by column; what isn't recorded is left out.

    Attributes
    ----------
    size_bytes
        What they take in memory, by estimate; not less than what they take as JSON.
    """

    n_rows: int
    inputs: dict[str, list[Any]]
    outputs: dict[str, list[Any]]
    size_bytes: int


def read_exchange(exchange: Exchange) -> Read:
    """Read both bodies, of which the request may have been compressed by the client and the answer by the server.

    A tensor `[n]` or `[n, 1]` is a column. Of inputs, one `[n, k]` is the columns `<name>.0` to `<name>.<k-1>`; of outputs
    it is one column of lists, as probabilities are.

    Raises
    ------
    Unreadable
        It isn't JSON, not of the protocol, holds an infinity, or the tensors don't have the same number of rows.
    TooLarge
        It has more bytes than `MAX_UNPACKED_BYTES`, or more values than `MAX_VALUES`.
    """
    log = exchange.log
    request = _unpack(exchange.request, exchange.request_encoding, MAX_UNPACKED_BYTES)
    response = _unpack(exchange.response, exchange.response_encoding, MAX_UNPACKED_BYTES - len(request))
    values = _count_values(request) + _count_values(response)
    if values > MAX_VALUES:
        raise TooLarge(f"the bodies have more than {MAX_VALUES} values")
    asked = _read_tensors(request, "inputs")
    answered = _read_tensors(response, "outputs")
    rows = {tensor.n for tensor in (*asked, *answered)}
    columns = sum(tensor.width for tensor in asked) + len(answered)
    if len(rows) != 1 or 0 in rows or columns > MAX_COLUMNS:
        raise Unreadable(f"tensors have {sorted(rows)} rows and {columns} columns")
    inputs: dict[str, list[Any]] = {}
    for tensor in asked if log.has_inputs else ():
        if tensor.name not in log.exclude:
            inputs |= {name: v for name, v in tensor.spread().items() if name not in log.exclude}
    outputs = {tensor.name: tensor.rows() for tensor in answered if log.has_outputs}
    names_bytes = sum(tensor.names_bytes for tensor in (*asked, *answered))
    size_bytes = _weigh(request) + _weigh(response) + VALUE_BYTES * values + names_bytes
    return Read(rows.pop(), inputs, outputs, size_bytes)


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    n: int
    width: int
    flat: list[Any]

    @property
    def names_bytes(self) -> int:
        return self.width * (COLUMN_BYTES + 4 * len(self.name))

    def spread(self) -> dict[str, list[Any]]:
        if self.width == 1:
            return {self.name: self.flat}
        return {f"{self.name}.{i}": self.flat[i :: self.width] for i in range(self.width)}

    def rows(self) -> list[Any]:
        if self.width == 1:
            return self.flat
        return [self.flat[i : i + self.width] for i in range(0, len(self.flat), self.width)]


def _count_values(text: bytes) -> int:
    """Return how many values a JSON text may have, before any takes memory: a comma or a bracket is before each."""
    return sum(map(text.count, _MARKS))


def _weigh(text: bytes) -> int:
    """Return what a text may take in memory: all of a string's letters are as wide as its widest."""
    return len(text) if text.isascii() else 4 * len(text)


def _read_tensors(text: bytes, field: str) -> list[_Tensor]:
    try:
        # Python itself would also read UTF-16, and half a surrogate pair that is written in UTF-8.
        document = json.loads(text.decode("utf-8-sig"), parse_constant=lambda _: None)
        if b"\\u" in text:
            # Half a surrogate pair is JSON for Python, but for no other reader: one would cost the whole message.
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"no JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(found := document.get(field), list) or not found:
        raise Unreadable(f"{field} is no list of tensors")
    return [_read_tensor(tensor) for tensor in found]


def _unpack(body: bytes, encoding: str, most: int) -> bytes:
    if encoding not in {"", "identity", "gzip"}:
        raise Unreadable(f"the encoding {encoding[:40]} is not read")
    try:
        plain = base64.b64decode(body) if encoding else body
        if encoding == "gzip":
            plain = _unpack_gzip(plain, most + 1)
    except (ValueError, zlib.error) as error:
        raise Unreadable(f"no {encoding}: {error}") from error
    if len(plain) > most:
        raise TooLarge(f"the bodies have more than {MAX_UNPACKED_BYTES} bytes unpacked")
    return plain


def _unpack_gzip(body: bytes, most: int) -> bytes:
    """Unpack no more than `most` bytes, of which 0 would be no limit."""
    unpacked = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    plain = unpacked.decompress(body, most)
    if len(plain) < most and not unpacked.eof:
        raise ValueError("the body is cut")
    return plain


def _read_tensor(tensor: Any) -> _Tensor:
    match tensor:
        case {"name": str(name), "shape": [int(n), *rest], "data": list(data)} if (
            len(name) <= MAX_NAME and len(rest) < _MATRIX and all(isinstance(k, int) and k > 0 for k in rest)
        ):
            width = rest[0] if rest else 1
            flat = _flatten(data) if data and isinstance(data[0], list) else data
            if len(flat) == n * width and all(map(_is_value, flat)):
                return _Tensor(name, n, width, flat)
    raise Unreadable(
        f"a tensor is not {{name of {MAX_NAME} characters, shape: [n] or [n, k], data}} of finite values"
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
