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

MAX_BODY_BYTES = 4 * 2**20
"""Of a body that comes compressed, once it isn't any more."""

MAX_COLUMNS = 1_024
MAX_NAME = 256
"""Characters of a tensor's name, as a bundle's schema allows; each of a matrix's columns has it anew."""

_MATRIX = 2
_LARGEST = 2**63


class Unreadable(ValueError):
    """The bodies are no exchange of the protocol."""


@dataclass(frozen=True, slots=True)
class Read:
    """An exchange's rows by column; what isn't recorded is left out."""

    n_rows: int
    inputs: dict[str, list[Any]]
    outputs: dict[str, list[Any]]


def read_exchange(exchange: Exchange) -> Read:
    """Read both bodies, of which the request may have been compressed by the client and the answer by the server.

    A tensor `[n]` or `[n, 1]` is a column. Of inputs, one `[n, k]` is the columns `<name>.0` to `<name>.<k-1>`; of outputs
    it is one column of lists, as probabilities are.

    Raises
    ------
    Unreadable
        It isn't JSON, not of the protocol, holds an infinity, or the tensors don't have the same number of rows.
    """
    log = exchange.log
    asked = _tensors(exchange.request, exchange.request_encoding, "inputs")
    answered = _tensors(exchange.response, exchange.response_encoding, "outputs")
    rows = {tensor.n for tensor in (*asked, *answered)}
    columns = sum(tensor.width for tensor in asked) + len(answered)
    if len(rows) != 1 or 0 in rows or columns > MAX_COLUMNS:
        raise Unreadable(f"tensors have {sorted(rows)} rows and {columns} columns")
    inputs: dict[str, list[Any]] = {}
    for tensor in asked if log.has_inputs else ():
        if tensor.name not in log.exclude:
            inputs |= {name: v for name, v in tensor.spread().items() if name not in log.exclude}
    outputs = {tensor.name: tensor.rows() for tensor in answered if log.has_outputs}
    return Read(rows.pop(), inputs, outputs)


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    n: int
    width: int
    flat: list[Any]

    def spread(self) -> dict[str, list[Any]]:
        if self.width == 1:
            return {self.name: self.flat}
        return {f"{self.name}.{i}": self.flat[i :: self.width] for i in range(self.width)}

    def rows(self) -> list[Any]:
        if self.width == 1:
            return self.flat
        return [self.flat[i : i + self.width] for i in range(0, len(self.flat), self.width)]


def _tensors(body: bytes, encoding: str, field: str) -> list[_Tensor]:
    try:
        text = _unpack(body, encoding)
        # Python itself would also read UTF-16, and half a surrogate pair that is written in UTF-8.
        document = json.loads(text.decode("utf-8-sig"), parse_constant=lambda _: None)
        if b"\\u" in text:
            # Half a surrogate pair is JSON for Python, but for no other reader: one would cost the whole message.
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError, zlib.error) as error:
        raise Unreadable(f"no JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(found := document.get(field), list) or not found:
        raise Unreadable(f"{field} is no list of tensors")
    return [_read_tensor(tensor) for tensor in found]


def _unpack(body: bytes, encoding: str) -> bytes:
    if not encoding:
        return body
    if encoding == "identity":
        return base64.b64decode(body)
    if encoding != "gzip":
        raise Unreadable(f"the encoding {encoding[:40]} is not read")
    unpacked = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    plain = unpacked.decompress(base64.b64decode(body), MAX_BODY_BYTES)
    if unpacked.unconsumed_tail or not unpacked.eof:
        raise Unreadable(f"a body is cut, or longer than {MAX_BODY_BYTES} bytes")
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
