"""Columns of an exchange in the Open Inference Protocol over REST, as the observer's log has them. Pure."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any

from perennial_gateway.prediction_log.exchanges import Exchange
from perennial_gateway.prediction_log.tensors import Body, Tensor, Unreadable, list_tensors

MAX_UNPACKED_BYTES = 2 * 2**20
"""Of a request and its answer together, once they aren't compressed any more."""

MAX_VALUES = 2**18
"""Of both together, in JSON by its commas and brackets: no more fit into plain bodies that the script lets pass."""

MAX_COLUMNS = 1_024

VALUE_BYTES = 40
"""What a value takes in memory beside its text: a number with its place in a list."""

_MARKS = b",", b"[", b"{"


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
        It isn't of the protocol, holds an infinity, or the tensors don't have the same number of rows.
    TooLarge
        It has more bytes than `MAX_UNPACKED_BYTES`, or more values than `MAX_VALUES`.
    """
    log = exchange.log
    request = _unpack(
        exchange.request, exchange.request_encoding, exchange.request_json_bytes, MAX_UNPACKED_BYTES
    )
    response = _unpack(
        exchange.response,
        exchange.response_encoding,
        exchange.response_json_bytes,
        MAX_UNPACKED_BYTES - request.size_bytes,
    )
    values = _count_values(request.text) + _count_values(response.text)
    _limit_values(values)
    asked, answered = list_tensors(request, "inputs"), list_tensors(response, "outputs")
    both = (*asked, *answered)
    values += sum(tensor.raw_values for tensor in both)
    _limit_values(values)
    rows = {tensor.n for tensor in both}
    columns = sum(tensor.width for tensor in asked) + len(answered)
    if len(rows) != 1 or 0 in rows or columns > MAX_COLUMNS:
        raise Unreadable(f"tensors have {sorted(rows)} rows and {columns} columns")
    inputs: dict[str, list[Any]] = {}
    for tensor in asked:
        spread = _spread(tensor)
        if log.has_inputs and tensor.name not in log.exclude:
            inputs |= {name: v for name, v in spread.items() if name not in log.exclude}
    outputs = {tensor.name: _by_rows(tensor) for tensor in answered}
    text_bytes = _weigh(request.text) + _weigh(response.text) + sum(tensor.raw_text_bytes for tensor in both)
    size_bytes = text_bytes + VALUE_BYTES * values + sum(tensor.names_bytes for tensor in both)
    return Read(rows.pop(), inputs, outputs if log.has_outputs else {}, size_bytes)


def _spread(tensor: Tensor) -> dict[str, list[Any]]:
    flat = tensor.read()
    if tensor.width == 1:
        return {tensor.name: flat}
    return {f"{tensor.name}.{i}": flat[i :: tensor.width] for i in range(tensor.width)}


def _by_rows(tensor: Tensor) -> list[Any]:
    flat = tensor.read()
    if tensor.width == 1:
        return flat
    return [flat[i : i + tensor.width] for i in range(0, len(flat), tensor.width)]


def _limit_values(count: int) -> None:
    if count > MAX_VALUES:
        raise TooLarge(f"the bodies have more than {MAX_VALUES} values")


def _count_values(text: bytes) -> int:
    """Return how many values a JSON text may have, before any takes memory: a comma or a bracket is before each."""
    return sum(map(text.count, _MARKS))


def _weigh(text: bytes) -> int:
    """Return what a text may take in memory: all of a string's letters are as wide as its widest."""
    return len(text) if text.isascii() else 4 * len(text)


def _unpack(body: bytes, encoding: str, json_bytes: str, most: int) -> Body:
    if encoding not in {"", "identity", "gzip"}:
        raise Unreadable(f"the encoding {encoding[:40]} is not read")
    try:
        plain = base64.b64decode(body) if encoding or json_bytes else body
        if encoding == "gzip":
            plain = _unpack_gzip(plain, most + 1)
    except (ValueError, zlib.error) as error:
        raise Unreadable(f"no {encoding}: {error}") from error
    if len(plain) > most:
        raise TooLarge(f"the bodies have more than {MAX_UNPACKED_BYTES} bytes unpacked")
    if not json_bytes:
        return Body(plain)
    if not (json_bytes.isascii() and json_bytes.isdigit() and int(json_bytes) <= len(plain)):
        raise Unreadable(f"{json_bytes} bytes of JSON are not in a body of {len(plain)}")
    return Body(plain[: int(json_bytes)], plain[int(json_bytes) :])


def _unpack_gzip(body: bytes, most: int) -> bytes:
    """Unpack no more than `most` bytes, of which 0 would be no limit."""
    unpacked = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    plain = unpacked.decompress(body, most)
    if len(plain) < most and not unpacked.eof:
        raise ValueError("the body is cut")
    return plain
