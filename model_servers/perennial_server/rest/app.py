"""The Open Inference Protocol v2 over REST, as a bare ASGI application: the hot path has no framework in it."""

import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from perennial_server.engine.predictor import Predictor
from perennial_server.errors import RequestError
from perennial_server.origin import read_origin
from perennial_server.protocol.codec import describe_model, render_error
from perennial_server.version import VERSION

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = dict[bytes, bytes]

_MODEL = re.compile(r"^/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?(?P<verb>/ready|/infer)?$")
_JSON = re.compile(rb"^application/(?:[\w.+-]+\+)?json\s*(?:;.*)?$", re.IGNORECASE)


class V2App:
    """Answers everything under ``/v2``.

    Parameters
    ----------
    predictor
        The model.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._settings = predictor.settings
        self._metrics = predictor.metrics
        self._revision = self._settings.revision.encode()
        self._salt = f"{self._settings.namespace}/{self._settings.deployment}"
        self.ready = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        match = _MODEL.match(scope["path"])
        if match is not None and match["verb"] == "/infer":
            await self._infer(scope, receive, send, match)
            return
        try:
            status, body = 200, orjson.dumps(self._describe(scope, match))
        except RequestError as error:
            status, body = error.status, render_error(error.message)
        await _respond(send, status, body, [(b"x-model-revision", self._revision)])

    def _describe(self, scope: Scope, match: re.Match[str] | None) -> dict[str, Any]:
        path = scope["path"].rstrip("/")
        if match is not None:
            self._check_model(match)
        elif path not in {"/v2", "/v2/health/live", "/v2/health/ready"}:
            raise RequestError(
                404,
                f"{scope['path'][:256]}: there is nothing here; see /v2/models/{self._settings.deployment}",
            )
        if scope["method"] not in {"GET", "HEAD"}:
            raise RequestError(405, f"{scope['method']} isn't allowed here; use GET")
        if path == "/v2/health/live":
            return {"live": True}
        if path == "/v2/health/ready" or (match is not None and match["verb"]):
            if not self.ready:
                raise RequestError(503, "the server is shutting down")
            return {"ready": True} if match is None else {"name": match["model"], "ready": True}
        if match is None:
            return {"name": "perennial", "version": VERSION, "extensions": []}
        classes = self._predictor.bundle.manifest.classes
        return describe_model(
            self._predictor.bundle.schema,
            name=self._settings.deployment,
            version=self._settings.revision,
            n_classes=None if classes is None else len(classes),
        )

    def _check_model(self, match: re.Match[str]) -> None:
        if match["model"] != self._settings.deployment:
            raise RequestError(
                404, f"model {match['model'][:256]!r} isn't here; this is {self._settings.deployment!r}"
            )
        if match["version"] not in {None, self._settings.revision}:
            raise RequestError(
                404, f"version {match['version'][:256]!r} isn't here; this is {self._settings.revision!r}"
            )

    async def _infer(self, scope: Scope, receive: Receive, send: Send, match: re.Match[str]) -> None:
        start = time.perf_counter()
        headers: Headers = dict(scope["headers"])
        origin = read_origin(_finder(headers), self._salt)
        answer_headers = [
            (b"x-model-revision", self._revision),
            (b"x-prediction-id", origin.prediction_id.encode()),
        ]
        try:
            self._check_model(match)
            _check_head(scope["method"], headers)
            self._predictor.admit()
            try:
                body = await _read_body(headers, receive, self._settings.max_body_bytes)
                status, answer = 200, await self._predictor.answer(body, origin)
            finally:
                self._predictor.release()
        except RequestError as error:
            status, answer = error.status, render_error(error.message)
            if status == 429:  # noqa: PLR2004
                answer_headers.append((b"retry-after", b"1"))
            if status in {413, 429}:
                # The body wasn't read: the connection can't be used again.
                answer_headers.append((b"connection", b"close"))
        except ClientGoneError:
            status, answer = 499, b""
        except Exception:
            # The top of a request: a fault of ours still gets a v2 answer and is counted.
            logger.exception("request failed prediction_id=%s", origin.prediction_id)
            status, answer = 500, render_error("internal error; see the server's log")
        await _respond(send, status, answer, answer_headers)
        self._metrics.requests.labels(str(status)).inc()
        self._metrics.duration_s.observe(time.perf_counter() - start)


def _finder(headers: Headers) -> Callable[[str], str | None]:
    def find(name: str) -> str | None:
        value = headers.get(name.encode())
        return None if value is None else value.decode("latin-1")

    return find


class ClientGoneError(Exception):
    """The client went away before its request was whole."""


def _check_head(method: str, headers: Headers) -> None:
    if method != "POST":
        raise RequestError(405, f"{method} isn't allowed here; use POST")
    if b"inference-header-content-length" in headers:
        raise RequestError(415, "Inference-Header-Content-Length: binary tensors aren't supported; send JSON")
    content_type = headers.get(b"content-type", b"")
    if content_type and not _JSON.match(content_type):
        raise RequestError(
            415,
            f"Content-Type: {content_type[:100].decode('latin-1')!r} isn't supported; send application/json",
        )
    encoding = headers.get(b"content-encoding", b"identity").lower()
    if encoding != b"identity":
        raise RequestError(415, f"Content-Encoding: {encoding[:100].decode('latin-1')!r} isn't supported")


async def _read_body(headers: Headers, receive: Receive, max_bytes: int) -> bytes:
    too_large = RequestError(413, f"the body is larger than {max_bytes} bytes; send fewer rows at once")
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > max_bytes:
        raise too_large
    body = b""
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise too_large
        chunks.append(chunk)
        more = message.get("more_body", False)
    return body.join(chunks)


async def _respond(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
