import asyncio
import threading
import time

import grpc
import pytest
from perennial_server.engine.predictor import Predictor
from perennial_server.errors import ModelError, RequestError, TooBusy, TooLate
from perennial_server.rpc import inference_pb2 as pb
from perennial_server.rpc.server import build_address, build_options
from perennial_server.rpc.service import InferenceService
from perennial_server.settings import MIB

from .conftest import build_settings, rate_acid


class Context:
    """What gRPC gives a call beside its message."""

    def __init__(self, metadata=(), left_s=None):
        self.metadata = metadata
        self.left_s = left_s
        self.code = None
        self.details = ""
        self.trailers = {}

    def invocation_metadata(self):
        return self.metadata

    def time_remaining(self):
        return self.left_s

    def set_trailing_metadata(self, metadata):
        self.trailers = dict(metadata)

    def set_code(self, code):
        self.code = code

    def set_details(self, details):
        self.details = details


def build_request(**fields):
    request = pb.ModelInferRequest(**({"model_name": "wine"} | fields))
    for name, value in (("alcohol", 12.5), ("acid", 3.0)):
        request.inputs.add(name=name, datatype="FP64", shape=[1]).contents.fp64_contents.append(value)
    return request.SerializeToString()


@pytest.fixture
async def predictor(bundle, settings, metrics):
    predictor = Predictor(bundle, settings, metrics, None)
    yield predictor
    predictor.close()


class Server:
    """A service, and what it answers."""

    def __init__(self, predictor):
        self.ready = True
        self.predictor = predictor
        self.service = InferenceService(predictor, lambda: self.ready)
        self.context = Context()

    async def call(self, name, request=b"", **context):
        self.context = Context(**context)
        details = type("Details", (), {"method": f"/inference.GRPCInferenceService/{name}"})
        handler = self.service.handlers().service(details)
        return await handler.unary_unary(request, self.context)

    def count(self, code):
        return self.predictor.metrics.requests.labels(str(code))._value.get()


@pytest.fixture
def server(predictor):
    return Server(predictor)


def fail(server, error):
    async def predict(rows, origin, *, deadline_s=None):
        raise error

    server.predictor.predict = predict


async def test_an_inference_is_answered_under_the_gateways_id(server):
    data = await server.call("ModelInfer", build_request(id="mine"), metadata=(("x-prediction-id", "p-7"),))
    answer = pb.ModelInferResponse.FromString(data)
    assert (answer.model_name, answer.model_version, answer.id) == ("wine", "wine-1a2b3c4d", "mine")
    assert answer.parameters["prediction_id"].string_param == "p-7"
    assert list(answer.outputs[0].contents.int64_contents) == [1]
    assert server.context.trailers == {"x-prediction-id": "p-7", "x-model-revision": "wine-1a2b3c4d"}
    assert (server.context.code, server.count(200)) == (None, 1)


@pytest.mark.parametrize(
    ("error", "want"),
    [
        (RequestError(400, "acid: is sour"), grpc.StatusCode.INVALID_ARGUMENT),
        (RequestError(404, "acid: isn't here"), grpc.StatusCode.NOT_FOUND),
        (TooBusy("full", 3), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (ModelError("the model failed"), grpc.StatusCode.INTERNAL),
        (TooLate(), grpc.StatusCode.DEADLINE_EXCEEDED),
        (RequestError(503, "the server is shutting down"), grpc.StatusCode.UNAVAILABLE),
        (ZeroDivisionError("secret"), grpc.StatusCode.INTERNAL),
    ],
)
async def test_each_refusal_has_its_status_and_rests_message(server, error, want):
    fail(server, error)
    assert await server.call("ModelInfer", build_request()) == b""
    message = error.message if isinstance(error, RequestError) else "internal error; see the server's log"
    assert (server.context.code, server.context.details) == (want, message)
    assert server.context.trailers["x-prediction-id"]
    assert server.count(error.status if isinstance(error, RequestError) else 500) == 1
    assert server.context.trailers.get("grpc-retry-pushback-ms") == (
        "3000" if want.name == "RESOURCE_EXHAUSTED" else None
    )


async def test_every_place_is_given_back(bundle, metrics):
    predictor = Predictor(bundle, build_settings(max_in_flight=1), metrics, None)
    server = Server(predictor)
    for request in (build_request(), b"\xff", build_request(model_name="x"), build_request()):
        await server.call("ModelInfer", request)
        assert server.context.code != grpc.StatusCode.RESOURCE_EXHAUSTED
    predictor.admit(0)
    await server.call("ModelInfer", build_request())
    assert server.context.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    predictor.close()


async def test_a_client_that_leaves_gives_its_place_back_and_is_counted(server):
    started = asyncio.Event()

    async def predict(rows, origin, *, deadline_s=None):
        started.set()
        await asyncio.Event().wait()

    server.predictor.predict = predict
    task = asyncio.create_task(server.call("ModelInfer", build_request()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.count(499) == 1
    for _ in range(server.predictor.settings.max_in_flight):
        server.predictor.admit(0)


async def test_the_clients_deadline_is_the_engines(server):
    seen = []

    async def predict(rows, origin, *, deadline_s=None):
        seen.append(deadline_s)
        raise TooLate

    server.predictor.predict = predict
    before = time.monotonic()
    await server.call("ModelInfer", build_request(), left_s=3600.0)
    await server.call("ModelInfer", build_request())
    assert before + 3600 <= seen[0] <= time.monotonic() + 3600
    assert seen[1] is None


async def test_a_large_request_leaves_the_event_loop_to_others(server):
    n = 5000
    request = pb.ModelInferRequest(model_name="wine")
    for name in ("alcohol", "acid"):
        request.inputs.add(name=name, datatype="FP64", shape=[n]).contents.fp64_contents.extend([12.5] * n)
    threads = set()
    read, write = server.service._reader.read, server.service._writer.write

    def note(call):
        def noted(*args):
            threads.add(threading.current_thread())
            return call(*args)

        return noted

    server.service._reader.read, server.service._writer.write = note(read), note(write)
    data = await server.call("ModelInfer", request.SerializeToString())
    assert len(pb.ModelInferResponse.FromString(data).outputs[0].contents.int64_contents) == n
    assert threading.current_thread() not in threads


async def test_a_long_message_is_cut_to_what_a_header_holds(server):
    fail(server, RequestError(400, "ü" * 5000))
    await server.call("ModelInfer", build_request())
    assert server.context.details == "ü" * 1000


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ModelInfer", pb.ModelInferRequest),
        ("ModelReady", pb.ModelReadyRequest),
        ("ModelMetadata", pb.ModelMetadataRequest),
        ("ServerLive", pb.ServerLiveRequest),
        ("ServerReady", pb.ServerReadyRequest),
        ("ServerMetadata", pb.ServerMetadataRequest),
    ],
)
async def test_bytes_that_are_no_message_are_refused_by_every_call(server, name, kind):
    assert await server.call(name, b"\xff\xff") == b""
    assert server.context.code == grpc.StatusCode.INVALID_ARGUMENT
    assert kind.DESCRIPTOR.full_name in server.context.details


async def test_readiness_follows_the_servers_and_liveness_does_not(server):
    server.ready = False
    assert pb.ServerLiveResponse.FromString(await server.call("ServerLive")).live
    assert not pb.ServerReadyResponse.FromString(await server.call("ServerReady")).ready
    request = pb.ModelReadyRequest(name="wine").SerializeToString()
    assert not pb.ModelReadyResponse.FromString(await server.call("ModelReady", request)).ready
    server.ready = True
    assert pb.ModelReadyResponse.FromString(await server.call("ModelReady", request)).ready


@pytest.mark.parametrize(
    ("name", "version", "want"),
    [
        ("wine", "", None),
        ("wine", "wine-1a2b3c4d", None),
        ("beer", "", grpc.StatusCode.NOT_FOUND),
        ("wine", "wine-0", grpc.StatusCode.NOT_FOUND),
    ],
)
async def test_only_the_model_and_version_that_are_here_are_known(server, name, version, want):
    fields = {"name": name, "version": version}
    for call, request in (
        ("ModelReady", pb.ModelReadyRequest(**fields).SerializeToString()),
        ("ModelMetadata", pb.ModelMetadataRequest(**fields).SerializeToString()),
        ("ModelInfer", build_request(model_name=name, model_version=version)),
    ):
        await server.call(call, request)
        assert server.context.code == want


def test_an_address_of_either_family_is_as_grpc_reads_it():
    assert build_address("0.0.0.0", 3001) == "0.0.0.0:3001"
    assert build_address("::", 3001) == "[::]:3001"


def test_a_message_may_be_as_large_as_a_body():
    assert dict(build_options(build_settings(max_body_bytes=MIB)))["grpc.max_receive_message_length"] == MIB


async def test_trailers_say_how_odd_the_rows_are(bundle, settings, metrics):
    predictor = Predictor(bundle, settings, metrics, None, rate=rate_acid)
    server = Server(predictor)
    await server.call("ModelInfer", build_request())
    predictor.close()
    told = {key: value for key, value in server.context.trailers.items() if "outlier" in key}
    assert told == {"x-perennial-outliers": "0", "x-perennial-outlier-scores": "-2"}
