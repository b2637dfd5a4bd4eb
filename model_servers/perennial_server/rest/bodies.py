"""A request's body: what its headers say of it, reading it within bounds, and compression both ways."""

import asyncio
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from perennial_server.errors import RequestError
from perennial_server.rest.asgi import Headers, Receive

JSON_BYTES_HEADER = b"inference-header-content-length"
DEADLINE_HEADER = b"x-envoy-expected-rq-timeout-ms"
# How much is held for a body of which nobody knows how long it is, until it turns out to be longer.
SMALL_BYTES = 2**16
# Smaller answers aren't worth the time that compressing them takes.
COMPRESS_FROM_BYTES = 2**16

# What nearly all clients send, or leave out.
_PLAIN = frozenset({b"", b"application/json"})
_JSON = re.compile(rb"^application/(?:[\w.+-]+\+)?json\s*(?:;.*)?$", re.IGNORECASE)
_RAW = re.compile(rb"^application/octet-stream\s*(?:;.*)?$", re.IGNORECASE)
_GZIP = re.compile(rb"(?:^|,)\s*(?:gzip|\*)\s*(?:;\s*q\s*=\s*(?P<q>[0-9.]+)\s*)?(?=,|$)", re.IGNORECASE)
_MAX_DIGITS = 15
# zlib's numbers for the two formats; what HTTP calls deflate is zlib's own.
_WINDOWS = {b"gzip": 31, b"deflate": 15}


class ClientGoneError(Exception):
    """The client went away before its request was whole."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the headers say of a body.

    Parameters
    ----------
    length
        In bytes; None if they don't say.
    encoding
        ``gzip``, ``deflate``, or None.
    json_bytes
        How much of it, once unpacked, is JSON; None for all.
    """

    length: int | None
    encoding: bytes | None
    json_bytes: int | None


def read_head(headers: Headers) -> Head:
    """Read the headers of a body that holds an inference request.

    Raises
    ------
    RequestError
        Status 400 or 415.
    """
    json_bytes = headers.get(JSON_BYTES_HEADER)
    if json_bytes is not None and not (json_bytes.isdigit() and len(json_bytes) <= _MAX_DIGITS):
        raise RequestError(400, "Inference-Header-Content-Length: has to be a number of bytes")
    content_type = headers.get(b"content-type", b"")
    if (
        content_type not in _PLAIN
        and not _JSON.match(content_type)
        and not (json_bytes is not None and _RAW.match(content_type))
    ):
        raise RequestError(
            415,
            f"Content-Type: {content_type[:100].decode('latin-1')!r} isn't supported; send application/json, or "
            "application/octet-stream with Inference-Header-Content-Length",
        )
    encoding = headers.get(b"content-encoding")
    if encoding is not None and (encoding := encoding.lower()) == b"identity":
        encoding = None
    if encoding is not None and encoding not in _WINDOWS:
        raise RequestError(
            415,
            f"Content-Encoding: {encoding[:100].decode('latin-1')!r} isn't supported; send identity, gzip or deflate",
        )
    length = headers.get(b"content-length")
    return Head(
        length=int(length[:_MAX_DIGITS]) if length is not None and length.isdigit() else None,
        encoding=encoding,
        json_bytes=None if json_bytes is None else int(json_bytes),
    )


def has_small_body(headers: Headers) -> bool:
    """Tell whether a body is said to be so small that the HTTP server may as well read over it."""
    length = headers.get(b"content-length", b"")
    return length.isdigit() and len(length) <= _MAX_DIGITS and int(length) <= SMALL_BYTES


def read_deadline(headers: Headers, now_s: float) -> float | None:
    """Return when the gateway stops waiting, on the clock of `now_s`, if it says so."""
    value = headers.get(DEADLINE_HEADER)
    if value is None or not value.isdigit() or len(value) > _MAX_DIGITS:
        return None
    return now_s + int(value) / 1000


async def read_body(head: Head, receive: Receive, *, max_bytes: int, hold: Callable[[int], None]) -> bytes:
    """Read a body and unpack it.

    Parameters
    ----------
    max_bytes
        Most that it may have, packed and unpacked.
    hold
        Is told how many bytes the body may take in all, before it takes them; refuses by a RequestError.

    Raises
    ------
    RequestError
        Status 400, or 413 if it is too large.
    ClientGoneError
        It never came whole.
    """
    is_known = head.length is not None and head.encoding is None
    if head.length is not None and head.length > max_bytes:
        raise _too_large(max_bytes)
    hold(head.length if head.length is not None and is_known else min(SMALL_BYTES, max_bytes))
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        if not is_known and size > SMALL_BYTES:
            hold(max_bytes)
            is_known = True
        chunks.append(chunk)
        if not message.get("more_body", False):
            break
    body = b"".join(chunks)
    if head.encoding is None:
        return body
    return await _unpack(body, head.encoding, max_bytes, None if is_known else hold)


async def _unpack(body: bytes, encoding: bytes, max_bytes: int, hold: Callable[[int], None] | None) -> bytes:
    """Unpack in a thread, since a few bytes may unfold to many; never to more than allowed."""
    if hold is not None:
        try:
            return await asyncio.to_thread(decompress, body, encoding, min(SMALL_BYTES, max_bytes))
        except RequestError as error:
            if error.status != 413 or max_bytes <= SMALL_BYTES:  # noqa: PLR2004
                raise
        hold(max_bytes)
    return await asyncio.to_thread(decompress, body, encoding, max_bytes)


def decompress(body: bytes, encoding: bytes, max_bytes: int) -> bytes:
    """Unpack a body.

    Raises
    ------
    RequestError
        Status 413: it unfolds to more than `max_bytes`. Status 400: it is damaged.
    """
    unpacker = zlib.decompressobj(_WINDOWS[encoding])
    try:
        # One byte more than allowed tells a body that ends there from one that goes on.
        got = unpacker.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise RequestError(400, f"the body isn't {encoding.decode()}: {error}") from error
    if len(got) > max_bytes:
        raise _too_large(max_bytes)
    if not unpacker.eof:
        raise RequestError(400, f"the body ends in the middle of its {encoding.decode()} data")
    if unpacker.unused_data:
        raise RequestError(400, f"the body goes on after its {encoding.decode()} data")
    return got


def wants_gzip(headers: Headers) -> bool:
    """Tell whether the client takes gzip."""
    found = _GZIP.search(headers.get(b"accept-encoding", b""))
    return found is not None and (found["q"] is None or found["q"].strip(b"0.") != b"")


def compress(body: bytes) -> bytes:
    """Pack a body as gzip, quickly rather than tightly."""
    packer = zlib.compressobj(level=1, wbits=_WINDOWS[b"gzip"])
    return packer.compress(body) + packer.flush()


def _too_large(max_bytes: int) -> RequestError:
    return RequestError(413, f"the body is larger than {max_bytes} bytes; send fewer rows at once")
