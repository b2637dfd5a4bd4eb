"""What each call of the protocol's gRPC service answers, and with which status."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from perennial_server.engine.job import Prediction
from perennial_server.engine.predictor import Predictor
from perennial_server.errors import RequestError, TooBusy
from perennial_server.origin import PREDICTION_ID_HEADER, Origin, read_origin
from perennial_server.outliers import describe_outliers
from perennial_server.protocol.metadata import describe_model, describe_server
from perennial_server.protocol.query import THREAD_FROM_BYTES, THREAD_FROM_ROWS, Query
from perennial_server.rpc import inference_pb2 as pb
from perennial_server.rpc.gathering import Gathering
from perennial_server.rpc.messages import MessageReader, MessageWriter, build_metadata, read_message

logger = logging.getLogger(__name__)

SERVICE = "inference.GRPCInferenceService"
REVISION_KEY = "x-model-revision"
RETRY_KEY = "grpc-retry-pushback-ms"
OK = 200
CLIENT_GONE = 499
# The header block of a client's default takes 8 KiB, where three characters may stand for each byte.
MAX_DETAIL_BYTES = 2000

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}

Context = grpc.aio.ServicerContext[bytes, bytes]
Call = Callable[[bytes, Context], Awaitable[bytes]]


class InferenceService:
    """Answers the six calls.

    Requests come as bytes: what can't be read is the client's fault, and gRPC's own answer to it would be ours.

    Parameters
    ----------
    predictor
        The model.
    is_ready
        Whether the server wants requests.
    """

    def __init__(self, predictor: Predictor, is_ready: Callable[[], bool]) -> None:
        self._predictor = predictor
        self._settings = predictor.settings
        self._metrics = predictor.metrics
        self._is_ready = is_ready
        self._salt = f"{self._settings.namespace}/{self._settings.deployment}"
        model = predictor.model
        self._reader = MessageReader(model.schema, max_rows=self._settings.max_rows)
        self._writer = MessageWriter(
            model.schema, model_name=self._settings.deployment, model_version=self._settings.revision
        )
        classes = model.manifest.classes
        description = describe_model(
            model.schema,
            name=self._settings.deployment,
            version=self._settings.revision,
            model_format=model.manifest.format,
            n_classes=None if classes is None else len(classes),
        )
        self._metadata = build_metadata(description)
        self._gathering = Gathering()

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return the service as gRPC takes it."""
        calls: dict[str, Call] = {
            "ServerLive": self._plain(pb.ServerLiveRequest, lambda _: pb.ServerLiveResponse(live=True)),
            "ServerReady": self._plain(
                pb.ServerReadyRequest, lambda _: pb.ServerReadyResponse(ready=self._is_ready())
            ),
            "ServerMetadata": self._plain(
                pb.ServerMetadataRequest,
                lambda _: pb.ServerMetadataResponse(**describe_server()),
            ),
            "ModelReady": self._plain(pb.ModelReadyRequest, self._model_ready),
            "ModelMetadata": self._plain(pb.ModelMetadataRequest, self._model_metadata),
            "ModelInfer": self.infer,
        }
        return grpc.method_handlers_generic_handler(
            SERVICE, {name: grpc.unary_unary_rpc_method_handler(call) for name, call in calls.items()}
        )

    def _plain(self, kind: Any, answer: Callable[[Any], Any]) -> Call:
        """Return a call that only describes."""

        async def call(data: bytes, context: Context) -> bytes:
            context.set_trailing_metadata(((REVISION_KEY, self._settings.revision),))
            try:
                message: bytes = answer(read_message(kind, data)).SerializeToString()
            except RequestError as error:
                return _refuse(context, error.status, error.message)
            return message

        return call

    def _model_ready(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        self._check_model(request.name, request.version)
        return pb.ModelReadyResponse(ready=self._is_ready())

    def _model_metadata(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        self._check_model(request.name, request.version)
        return self._metadata

    def _check_model(self, name: str, version: str) -> None:
        if name != self._settings.deployment:
            raise RequestError(404, f"model {name[:256]!r} isn't here; this is {self._settings.deployment!r}")
        if version not in {"", self._settings.revision}:
            raise RequestError(
                404, f"version {version[:256]!r} isn't here; this is {self._settings.revision!r}"
            )

    async def infer(self, data: bytes, context: Context) -> bytes:
        """Answer an inference request; logged and counted as one over REST."""
        start = time.perf_counter()
        origin = read_origin(_finder(context), self._salt)
        trailers = [(REVISION_KEY, self._settings.revision), (PREDICTION_ID_HEADER, origin.prediction_id)]
        status, message, answer = CLIENT_GONE, "", b""
        try:
            answer, outliers = await self._answer(data, origin, _read_deadline(context))
            trailers += outliers
            status = OK
        except RequestError as error:
            status, message = error.status, error.message
            if isinstance(error, TooBusy):
                trailers.append((RETRY_KEY, str(1000 * error.retry_after_s)))
        except asyncio.CancelledError:
            # The client has left, or its deadline has passed: nobody hears an answer.
            raise
        except Exception:
            # The top of a request: a fault of ours still gets an answer and is counted.
            logger.exception("request failed prediction_id=%s", origin.prediction_id)
            status, message = 500, "internal error; see the server's log"
        finally:
            self._metrics.count_request(status, time.perf_counter() - start)
        context.set_trailing_metadata(tuple(trailers))
        return answer if status == OK else _refuse(context, status, message)

    async def _answer(
        self, data: bytes, origin: Origin, deadline_s: float | None
    ) -> tuple[bytes, list[tuple[str, str]]]:
        predictor = self._predictor
        predictor.admit(len(data), deadline_s=deadline_s)
        try:
            if len(data) < THREAD_FROM_BYTES:
                query = self._read(data)
            else:
                query = await asyncio.to_thread(self._read, data)
            await self._gathering.join()
            prediction = await predictor.predict(query.rows, origin, deadline_s=deadline_s)
            if query.rows.n < THREAD_FROM_ROWS:
                answer = self._write(prediction, query, origin)
            else:
                answer = await asyncio.to_thread(self._write, prediction, query, origin)
            return answer, describe_outliers(prediction.outlier_scores)
        finally:
            predictor.release(len(data))

    def _read(self, data: bytes) -> Query:
        request = read_message(pb.ModelInferRequest, data)
        self._check_model(request.model_name, request.model_version)
        return self._reader.read(request)

    def _write(self, prediction: Prediction, query: Query, origin: Origin) -> bytes:
        answer = self._writer.write(prediction.outputs, query, prediction.flags, origin.prediction_id)
        return answer.SerializeToString()


def _read_deadline(context: Context) -> float | None:
    """Return when the client stops waiting, on the clock of `time.monotonic`."""
    left_s = context.time_remaining()
    return None if left_s is None else time.monotonic() + left_s


def _finder(context: Context) -> Callable[[str], str | None]:
    metadata = context.invocation_metadata() or ()

    def find(name: str) -> str | None:
        for key, value in metadata:
            if key == name:
                return value if isinstance(value, str) else value.decode("latin-1")
        return None

    return find


def _refuse(context: Context, status: int, message: str) -> bytes:
    context.set_code(CODES.get(status, grpc.StatusCode.UNKNOWN))
    context.set_details(message.encode("utf-8", "replace")[:MAX_DETAIL_BYTES].decode("utf-8", "ignore"))
    return b""
