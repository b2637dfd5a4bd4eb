"""The Open Inference Protocol v2 over REST, as a bare ASGI application: the hot path has no framework in it."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson
from perennial_bundle import Bundle

from perennial_server.adapting.remote import RemoteModel
from perennial_server.engine.predictor import Predictor
from perennial_server.errors import RequestError, TooBusy
from perennial_server.explaining.answers import ExplanationWriter
from perennial_server.explaining.desk import Desk
from perennial_server.origin import Origin, read_origin
from perennial_server.outliers import describe_outliers
from perennial_server.protocol.answers import Answer, AnswerWriter
from perennial_server.protocol.metadata import describe_model, describe_server, render_error
from perennial_server.protocol.query import THREAD_FROM_BYTES, THREAD_FROM_ROWS, Query
from perennial_server.protocol.requests import RequestReader
from perennial_server.rest.asgi import CLOSE, HeaderList, Headers, Receive, Scope, Send
from perennial_server.rest.bodies import (
    COMPRESS_FROM_BYTES,
    JSON_BYTES_HEADER,
    ClientGoneError,
    compress,
    has_small_body,
    read_body,
    read_deadline,
    read_head,
    wants_gzip,
)

logger = logging.getLogger(__name__)

_MODEL = re.compile(r"^/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?(?:/(?P<verb>[a-z]+))?$")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a model's work, its body whole.

    Parameters
    ----------
    json_bytes
        How much of the body is JSON; None for all.
    deadline_s
        When nobody waits any more, on `time.monotonic`; None for never.
    """

    body: bytes
    json_bytes: int | None
    origin: Origin
    deadline_s: float | None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a verb answers.

    Parameters
    ----------
    flags
        How many values the schema let through.
    outliers
        Headers that say how odd the rows are.
    """

    answer: Answer
    flags: int = 0
    outliers: Sequence[tuple[str, str]] = ()


class V2App:
    """Answers everything under ``/v2``.

    Parameters
    ----------
    predictor
        The model.
    remote
        The same model where it is in an image of its own, and not a bundle.
    """

    def __init__(self, predictor: Predictor, remote: RemoteModel | None = None) -> None:
        self._predictor = predictor
        self._settings = predictor.settings
        self._metrics = predictor.metrics
        self._revision = self._settings.revision.encode()
        self._salt = f"{self._settings.namespace}/{self._settings.deployment}"
        self._remote = remote
        schema = predictor.model.schema
        self._reader = RequestReader(schema, max_rows=self._settings.max_rows)
        names = {"model_name": self._settings.deployment, "model_version": self._settings.revision}
        self._writer = AnswerWriter(schema, **names)
        self._explanation_writer = ExplanationWriter(schema, **names)
        self._desk: Desk | None = None
        if remote is None:
            self._desk = Desk(
                cast("Bundle", predictor.model),
                max_rows=self._settings.explain_max_rows,
                max_waiting=self._settings.explain_max_waiting,
                timeout_s=self._settings.explain_timeout_s,
            )
        # What is posted to a model, by the last part of its path.
        self._verbs: dict[str, Callable[[Asked], Awaitable[Reply]]] = {
            "infer": self._infer,
            "explain": self._explain,
        }
        self.ready = True

    def close(self) -> None:
        """End the thread that explains."""
        if self._desk is not None:
            self._desk.close()

    @property
    def accepts(self) -> bool:
        """Whether requests are wanted: the server isn't shutting down, and the model is there."""
        return self.ready and (self._remote is None or self._remote.is_up)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        match = _MODEL.match(scope["path"])
        verb = None if match is None else self._verbs.get(match["verb"])
        if match is not None and verb is not None:
            await self._work(scope, receive, send, match, verb)
            return
        headers = [(b"x-model-revision", self._revision)]
        try:
            status, body = 200, orjson.dumps(self._describe(scope, match))
        except RequestError as error:
            status, body = error.status, render_error(error.message)
            if status == 405:  # noqa: PLR2004
                headers.append((b"allow", b"GET, HEAD"))
        await _respond(send, status, Answer(body), headers)

    def _describe(self, scope: Scope, match: re.Match[str] | None) -> dict[str, Any]:
        path = scope["path"].rstrip("/")
        if match is not None and match["verb"] in {None, "ready"}:
            self._check_model(match)
        elif path not in {"/v2", "/v2/health/live", "/v2/health/ready"}:
            raise RequestError(
                404,
                f"{scope['path'][:256]}: there is nothing here; see /v2/models/{self._settings.deployment}",
            )
        _check_method(scope, {"GET", "HEAD"})
        if path == "/v2/health/live":
            return {"live": True}
        if path == "/v2/health/ready" or (match is not None and match["verb"]):
            if not self.ready:
                raise RequestError(503, "the server is shutting down")
            if not self.accepts:
                raise RequestError(503, "the model's own server isn't ready; see the log of its container")
            return {"ready": True} if match is None else {"name": match["model"], "ready": True}
        if match is None:
            return describe_server()
        model = self._predictor.model
        classes = model.manifest.classes
        return describe_model(
            model.schema,
            name=self._settings.deployment,
            version=self._settings.revision,
            model_format=model.manifest.format,
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

    async def _work(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        match: re.Match[str],
        verb: Callable[[Asked], Awaitable[Reply]],
    ) -> None:
        """Admit a request, do what it asks, answer and count it, whatever becomes of it."""
        start = time.perf_counter()
        headers: Headers = dict(scope["headers"])
        origin = read_origin(_finder(headers), self._salt)
        answer_headers = [
            (b"x-model-revision", self._revision),
            (b"x-prediction-id", origin.prediction_id.encode()),
        ]
        try:
            self._check_model(match)
            _check_method(scope, {"POST"})
            reply = await self._admit(headers, receive, origin, verb)
            status, answer = 200, reply.answer
            if reply.flags:
                answer_headers.append((b"x-perennial-flags", b"%d" % reply.flags))
            answer_headers += [(name.encode(), value.encode()) for name, value in reply.outliers]
            if len(answer.body) >= COMPRESS_FROM_BYTES and wants_gzip(headers):
                answer = Answer(await asyncio.to_thread(compress, answer.body), answer.json_bytes)
                answer_headers.append((b"content-encoding", b"gzip"))
        except RequestError as error:
            status, answer = error.status, Answer(render_error(error.message))
            if isinstance(error, TooBusy):
                answer_headers.append((b"retry-after", b"%d" % error.retry_after_s))
            if status == 405:  # noqa: PLR2004
                answer_headers.append((b"allow", b"POST"))
            if status == 413 or (status == 429 and not has_small_body(headers)):  # noqa: PLR2004
                # Who sends that much more is cut off; a small body is read over, which is cheaper than a new connection.
                answer_headers.append(CLOSE)
        except ClientGoneError:
            status, answer = 499, Answer(b"")
        except Exception:
            # The top of a request: a fault of ours still gets a v2 answer and is counted.
            logger.exception("request failed prediction_id=%s", origin.prediction_id)
            status, answer = 500, Answer(render_error("internal error; see the server's log"))
        await _respond(send, status, answer, answer_headers)
        is_prediction = match["verb"] == "infer"
        count = self._metrics.count_request if is_prediction else self._metrics.count_explanation
        count(status, time.perf_counter() - start)

    async def _admit(
        self, headers: Headers, receive: Receive, origin: Origin, verb: Callable[[Asked], Awaitable[Reply]]
    ) -> Reply:
        """Take a place for a request's body, as large as it turns out to be, and give it back in the end."""
        head = read_head(headers)
        deadline_s = read_deadline(headers, time.monotonic())
        held: int | None = None

        def hold(size_bytes: int) -> None:
            nonlocal held
            if held is None:
                self._predictor.admit(size_bytes, deadline_s=deadline_s)
            elif size_bytes != held:
                self._predictor.resize(held, size_bytes)
            held = size_bytes

        try:
            body = await read_body(head, receive, max_bytes=self._settings.max_body_bytes, hold=hold)
            hold(len(body))  # what it might have become is free for others
            return await verb(Asked(body, head.json_bytes, origin, deadline_s))
        finally:
            if held is not None:
                self._predictor.release(held)

    async def _infer(self, asked: Asked) -> Reply:
        query = await self._read(asked)
        prediction = await self._predictor.predict(query.rows, asked.origin, deadline_s=asked.deadline_s)
        arguments = (prediction.outputs, query, prediction.flags)
        if query.rows.n < THREAD_FROM_ROWS:
            answer = self._writer.write(*arguments)
        else:
            answer = await asyncio.to_thread(self._writer.write, *arguments)
        return Reply(answer, len(prediction.flags), describe_outliers(prediction.outlier_scores))

    async def _explain(self, asked: Asked) -> Reply:
        if self._desk is None:
            raise RequestError(
                404, "a model in an image of its own has no reference sample to be explained by"
            )
        query = await self._read(asked)
        explained = await self._desk.explain(query.rows, deadline_s=asked.deadline_s)
        return Reply(self._explanation_writer.write(explained, query), len(explained.flags))

    async def _read(self, asked: Asked) -> Query:
        if len(asked.body) < THREAD_FROM_BYTES:
            return self._reader.read(asked.body, asked.json_bytes)
        return await asyncio.to_thread(self._reader.read, asked.body, asked.json_bytes)


def _check_method(scope: Scope, allowed: set[str]) -> None:
    if scope["method"] not in allowed:
        raise RequestError(405, f"{scope['method']} isn't allowed here; use {' or '.join(sorted(allowed))}")


def _finder(headers: Headers) -> Callable[[str], str | None]:
    def find(name: str) -> str | None:
        value = headers.get(name.encode())
        return None if value is None else value.decode("latin-1")

    return find


async def _respond(send: Send, status: int, answer: Answer, headers: HeaderList) -> None:
    content_type = b"application/json"
    if answer.json_bytes is not None:
        content_type = b"application/octet-stream"
        headers.append((JSON_BYTES_HEADER, b"%d" % answer.json_bytes))
    head = [(b"content-type", content_type), (b"content-length", b"%d" % len(answer.body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": answer.body})
