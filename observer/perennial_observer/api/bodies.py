"""Request bodies within their caps, answers in one form."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import anyio.to_thread
import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from perennial_observer.api.encodings import UNFOLD, too_large
from perennial_observer.errors import InvalidRequest, ObserverError, Overloaded, UnknownEncoding

__all__ = ["answer_error", "answer_json", "read_model"]

_Body = TypeVar("_Body", bound=BaseModel)

MAX_PROBLEMS = 3

Decode = Callable[[bytes], Any]
_NO_MORE: Mapping[str, Decode] = MappingProxyType({})


def answer_json(
    content: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Answer with JSON."""
    return Response(orjson.dumps(content), status, headers=headers, media_type="application/json")


def answer_error(error: ObserverError) -> Response:
    """Answer with the error's reason and message."""
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, Overloaded) else None
    return answer_json({"error": {"reason": error.reason, "message": error.message}}, error.status, headers)


async def read_model(
    request: Request, kind: type[_Body], max_bytes: int, forms: Mapping[str, Decode] = _NO_MORE
) -> tuple[_Body, int]:
    """Read the body as `kind`; also return its size in bytes after decompression.

    `forms` says by content type what is decoded otherwise than as JSON.

    Raises
    ------
    UnknownEncoding
        If the body is compressed otherwise than by gzip or zstd.
    TooLarge
        If the body is over `max_bytes`, before or after decompression.
    InvalidRequest
        Naming the field at fault.
    """
    encoding = request.headers.get("content-encoding", "identity").lower()
    unfold = UNFOLD.get(encoding)
    if unfold is None:
        raise UnknownEncoding(
            f"Content-Encoding {encoding[:64]!r} is not known: use one of {', '.join(UNFOLD)}"
        )
    decode = forms.get(request.headers.get("content-type", ""), orjson.loads)
    packed = await _read_body(request, max_bytes)

    def read() -> tuple[_Body, int]:
        body = unfold(packed, max_bytes)
        if len(body) > max_bytes:
            raise too_large(max_bytes)
        return _parse(body, kind, decode), len(body)

    # Megabytes take longer to unfold and parse than the event loop may be kept from other callers.
    return await anyio.to_thread.run_sync(read)


def _parse(body: bytes, kind: type[_Body], decode: Decode) -> _Body:
    try:
        return kind.model_validate(decode(body))
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error}", "InvalidJson") from error
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS]
        ]
        raise InvalidRequest("; ".join(problems), "InvalidBody") from error


async def _read_body(request: Request, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise too_large(max_bytes)
    return bytes(body)
