"""The Open Inference Protocol v2 over gRPC: every row of its tables, asked by Triton's own client of a real server."""

import signal
import socket
import threading
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import numpy as np
import pandas as pd
import perennial_bundle
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from .conftest import DEADLINE_S, find_port, read_failure, run_observer, run_server, start_server, wait_for

MODEL, VERSION = "flights", "flights-1a2b3c4d"
SERVICE = "/inference.GRPCInferenceService"
MAX_BODY_BYTES = 1_000_000
COLUMNS = {"wind": "FP64", "seats": "INT64", "load": "FP32", "carrier": "BYTES", "delayed": "BOOL"}
FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
ARRAYS = {
    "BOOL": np.dtype(bool),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(object),
}
ROWS = {
    "wind": [3.5, 14.0],
    "seats": [100, 250],
    "load": [0.5, 0.25],
    "carrier": ["AA", "Ünïted"],
    "delayed": [True, False],
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A bundle with a column of every datatype that a schema knows."""
    rng = np.random.default_rng(0)
    n = 300
    frame = pd.DataFrame(
        {
            "wind": rng.normal(10, 3, n),
            "seats": rng.integers(50, 300, n),
            "load": rng.random(n).astype(np.float32),
            "carrier": rng.choice(["AA", "DL"], n),
            "delayed": rng.random(n) < 0.5,
        }
    )
    labels = (frame.wind > 11).astype(int)
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["carrier"]), remainder="passthrough"
    )
    model = make_pipeline(encode, LogisticRegression(max_iter=1000)).fit(frame, labels)
    got = perennial_bundle.save(model, frame, tmp_path_factory.mktemp("bundles") / "mixed", y=labels)
    assert {column.name: column.datatype for column in got.schema.inputs} == COLUMNS
    return got


@contextmanager
def run_grpc(tmp_path, bundle, **changes):
    port = find_port()
    with run_server(tmp_path, f"file://{bundle.path}", GRPC_PORT=str(port), **changes) as server:
        server.grpc_address = f"127.0.0.1:{port}"
        yield server


@pytest.fixture(scope="module")
def server(mixed, tmp_path_factory):
    with run_grpc(tmp_path_factory.mktemp("server"), mixed, MAX_BODY_BYTES=str(MAX_BODY_BYTES)) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with triton.InferenceServerClient(server.grpc_address) as client:
        yield client


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.grpc_address) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    return service_pb2_grpc.GRPCInferenceServiceStub(channel)


def build_inputs(rows=None):
    """Inputs as Triton's client sends them: raw."""
    inputs = []
    for name, values in (rows or ROWS).items():
        array = values if isinstance(values, np.ndarray) else np.array(values, dtype=ARRAYS[COLUMNS[name]])
        inputs.append(triton.InferInput(name, list(array.shape), to_datatype(array)))
        inputs[-1].set_data_from_numpy(array)
    return inputs


def to_datatype(array):
    return next(name for name, dtype in ARRAYS.items() if array.dtype == dtype)


def build_typed(rows=None, **fields):
    """The same request with typed contents, made with the client's own messages."""
    request = pb.ModelInferRequest(**({"model_name": MODEL} | fields))
    for name, values in (rows or ROWS).items():
        datatype = COLUMNS[name]
        tensor = request.inputs.add(name=name, datatype=datatype, shape=[len(values)])
        plain = [value.encode() for value in values] if datatype == "BYTES" else values
        getattr(tensor.contents, FIELDS[datatype]).extend(plain)
    return request


def predict(bundle, rows=None):
    return bundle.predict(bundle.schema.validate(rows or ROWS))


def read_code(call):
    """Return the status of a call that fails, and its message."""
    with pytest.raises((grpc.RpcError, triton.InferenceServerException)) as caught:
        call()
    error = caught.value
    if isinstance(error, grpc.RpcError):
        return error.code().name, error.details()
    return error.status().removeprefix("StatusCode."), error.message()


def test_the_health_rows(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, VERSION)


def test_the_server_metadata_row_says_what_rest_says(client, server):
    want = httpx.get(f"{server.url}/v2").json()
    assert client.get_server_metadata(as_json=True) == want


@pytest.mark.parametrize("version", ["", VERSION])
def test_the_model_metadata_row_says_what_rest_says(client, server, version):
    got = client.get_model_metadata(MODEL, version)
    want = httpx.get(f"{server.url}/v2/models/{MODEL}").json()
    for side in ("inputs", "outputs"):
        tensors = [
            {"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in getattr(got, side)
        ]
        assert tensors == want[side]
    assert (got.name, list(got.versions), got.platform) == (MODEL, [VERSION], want["platform"])


@pytest.mark.parametrize("version", ["", VERSION])
def test_the_inference_row_gives_what_the_bundle_gives(client, mixed, version):
    got = client.infer(
        MODEL,
        build_inputs(),
        model_version=version,
        request_id="mine",
        parameters={"note": "x", "n": 7, "yes": True, "half": 0.5},
        headers={"x-prediction-id": "p-7"},
    )
    want = predict(mixed)
    assert got.as_numpy("predict").tolist() == want["predict"].tolist()
    assert got.as_numpy("probability") == pytest.approx(want["probability"])
    answer = got.get_response()
    assert (answer.model_name, answer.model_version, answer.id) == (MODEL, VERSION, "mine")
    assert [(o.name, o.datatype, list(o.shape)) for o in answer.outputs] == [
        ("predict", "INT64", [2]),
        ("probability", "FP64", [2]),
    ]
    assert answer.parameters["note"].string_param == "x"
    assert answer.parameters["n"].int64_param == 7
    assert answer.parameters["yes"].bool_param is True
    assert answer.parameters["half"].double_param == 0.5
    assert answer.parameters["prediction_id"].string_param == "p-7"


def test_typed_contents_are_answered_by_typed_contents(stub, mixed):
    answer = stub.ModelInfer(build_typed(id="mine"))
    want = predict(mixed)
    assert not answer.raw_output_contents
    assert list(answer.outputs[0].contents.int64_contents) == want["predict"].tolist()
    assert list(answer.outputs[1].contents.fp64_contents) == pytest.approx(want["probability"].tolist())


def test_raw_contents_are_answered_by_raw_contents(client):
    answer = client.infer(MODEL, build_inputs()).get_response()
    assert len(answer.raw_output_contents) == len(answer.outputs) == 2
    assert not any(output.HasField("contents") for output in answer.outputs)


NUMBERS = [name for name in ARRAYS if name not in {"BOOL", "BYTES"}]


@pytest.mark.parametrize("datatype", NUMBERS)
def test_each_datatype_of_numbers_is_taken_raw(client, mixed, datatype):
    rows = ROWS | {"wind": np.array([3, 14], dtype=ARRAYS[datatype])}
    got = client.infer(MODEL, build_inputs(rows)).as_numpy("probability")
    assert got == pytest.approx(predict(mixed, ROWS | {"wind": [3.0, 14.0]})["probability"])


@pytest.mark.parametrize("datatype", [name for name in NUMBERS if name != "FP16"])
def test_each_datatype_of_numbers_is_taken_typed(stub, mixed, datatype):
    request = build_typed()
    request.inputs[0].datatype = datatype
    request.inputs[0].ClearField("contents")
    getattr(request.inputs[0].contents, FIELDS[datatype]).extend([3, 14])
    got = list(stub.ModelInfer(request).outputs[1].contents.fp64_contents)
    assert got == pytest.approx(predict(mixed, ROWS | {"wind": [3.0, 14.0]})["probability"].tolist())


@pytest.mark.parametrize(("column", "values"), [("delayed", [False, True]), ("carrier", ["", "ÅÄÖ" * 1000])])
def test_booleans_and_text_are_taken_in_both_forms(client, stub, mixed, column, values):
    rows = ROWS | {column: values}
    want = predict(mixed, rows)["probability"].tolist()
    assert client.infer(MODEL, build_inputs(rows)).as_numpy("probability").tolist() == pytest.approx(want)
    got = list(stub.ModelInfer(build_typed(rows)).outputs[1].contents.fp64_contents)
    assert got == pytest.approx(want)


def test_a_column_may_stand_upright(client, mixed):
    inputs = build_inputs(
        {name: np.array(values, dtype=ARRAYS[COLUMNS[name]])[:, None] for name, values in ROWS.items()}
    )
    got = client.infer(MODEL, inputs).as_numpy("predict")
    assert got.tolist() == predict(mixed)["predict"].tolist()


@pytest.mark.parametrize("names", [["probability"], ["probability", "predict"]])
def test_requested_outputs_come_alone_and_in_their_order(client, names):
    got = client.infer(MODEL, build_inputs(), outputs=[triton.InferRequestedOutput(name) for name in names])
    assert [output.name for output in got.get_response().outputs] == names


def test_the_calls_metadata_names_revision_and_prediction(stub):
    _, call = stub.ModelInfer.with_call(build_typed(), metadata=(("x-prediction-id", "p-8"),))
    assert dict(call.trailing_metadata()) == {"x-prediction-id": "p-8", "x-model-revision": VERSION}
    answer, call = stub.ModelInfer.with_call(build_typed())
    assert (
        answer.parameters["prediction_id"].string_param == dict(call.trailing_metadata())["x-prediction-id"]
    )


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_messages_are_taken(client, mixed, algorithm):
    got = client.infer(MODEL, build_inputs(), compression_algorithm=algorithm)
    assert got.as_numpy("predict").tolist() == predict(mixed)["predict"].tolist()


async def test_tritons_asynchronous_client_is_answered(server, mixed):
    async with triton_aio.InferenceServerClient(server.grpc_address) as client:
        assert await client.is_model_ready(MODEL)
        got = await client.infer(MODEL, build_inputs())
        assert got.as_numpy("predict").tolist() == predict(mixed)["predict"].tolist()


def test_another_model_or_version_is_not_found(client):
    for call in (
        lambda: client.infer("beer", build_inputs()),
        lambda: client.infer(MODEL, build_inputs(), model_version="1"),
        lambda: client.get_model_metadata("beer"),
        lambda: client.get_model_metadata(MODEL, "1"),
        lambda: client.is_model_ready("beer"),
        lambda: client.is_model_ready(MODEL, "1"),
    ):
        code, message = read_code(call)
        assert code == "NOT_FOUND"
        assert "isn't here" in message


def test_calls_of_other_protocols_are_unimplemented(client):
    assert read_code(client.get_model_repository_index)[0] == "UNIMPLEMENTED"


def test_a_fault_has_the_message_that_rest_gives(client, server):
    rows = ROWS | {"carrier": ["AA"]}
    body = {
        "inputs": [
            {"name": name, "datatype": COLUMNS[name], "shape": [len(values)], "data": values}
            for name, values in rows.items()
        ]
    }
    want = httpx.post(f"{server.url}/v2/models/{MODEL}/infer", json=body)
    assert want.status_code == 400
    assert read_code(lambda: client.infer(MODEL, build_inputs(rows))) == (
        "INVALID_ARGUMENT",
        want.json()["error"],
    )


def change(edit, raw=False):
    """A good request, spoilt."""
    request = build_typed()
    if raw:
        for tensor, given in zip(request.inputs, build_inputs(), strict=True):
            tensor.ClearField("contents")
            request.raw_input_contents.append(given._get_content())
    edit(request)
    return request.SerializeToString()


def change_raw(index, data, **fields):
    def edit(request):
        request.raw_input_contents[index] = data
        for name, value in fields.items():
            if name == "shape":
                request.inputs[index].shape[:] = value
            else:
                setattr(request.inputs[index], name, value)

    return change(edit, raw=True)


def change_shape(index, *shape, raw=False):
    return change(lambda r: r.inputs[index].shape.__setitem__(slice(None), shape), raw=raw)


def change_values(index, field, values):
    def edit(request):
        request.inputs[index].ClearField("contents")
        getattr(request.inputs[index].contents, field).extend(values)

    return change(edit)


def add_parameter(name, where=lambda request: request):
    return change(lambda r: where(r).parameters[name].SetInParent())


MALFORMED = {
    "nothing": b"",
    "garbage": b"\xff\xff\xff\xff",
    "a pickle": b"\x80\x04\x95\x00",
    "JSON": b'{"inputs": []}',
    "half of it": change(lambda r: None)[:-7],
    "a field of another type": b"\x08\x01",
    "a length beyond the end": b"\x0a\xff\xff\xff\x7fx",
    "a name that isn't text": b"\x0a\x02\xff\xfe",
    "groups without end": b"\x0b" * 10_000,
    "no inputs": change(lambda r: r.ClearField("inputs")),
    "another model": change(lambda r: setattr(r, "model_name", "x" * 10_000)),
    "another version": change(lambda r: setattr(r, "model_version", "ü" * 10_000)),
    "a long id": change(lambda r: setattr(r, "id", "x" * 2000)),
    "an empty name": change(lambda r: setattr(r.inputs[0], "name", "")),
    "a long name": change(lambda r: setattr(r.inputs[0], "name", "ü" * 100_000)),
    "an unknown name": change(lambda r: setattr(r.inputs[0], "name", "winds")),
    "a name given twice": change(lambda r: setattr(r.inputs[1], "name", "wind")),
    "a column left out": change(lambda r: r.inputs.pop(0)),
    "an empty datatype": change(lambda r: setattr(r.inputs[0], "datatype", "")),
    "an unknown datatype": change(lambda r: setattr(r.inputs[0], "datatype", "FP8")),
    "BF16": change_raw(0, b"\0" * 4, datatype="BF16"),
    "a long datatype": change(lambda r: setattr(r.inputs[0], "datatype", "FP64" * 10_000)),
    "a datatype of another column": change(lambda r: setattr(r.inputs[0], "datatype", "BYTES"), raw=True),
    "typed FP16": change(lambda r: setattr(r.inputs[0], "datatype", "FP16")),
    "the wrong field": change_values(0, "fp32_contents", [1, 2]),
    "two fields": change(lambda r: r.inputs[0].contents.int_contents.append(1)),
    "no contents": change(lambda r: r.inputs[0].ClearField("contents")),
    "a value too few": change_values(0, "fp64_contents", [1]),
    "a value too many": change_values(0, "fp64_contents", [1, 2, 3]),
    "text that isn't": change_values(3, "bytes_contents", [b"\xff", b"AA"]),
    "no shape": change_shape(0),
    "no rows": change_shape(0, 0),
    "a negative shape": change_shape(0, -2),
    "the least shape": change_shape(0, -(2**63)),
    "a huge shape": change_shape(0, 2**62),
    "an overflowing shape": change_shape(0, 2**32, 2**32, raw=True),
    "a shape whose product wraps": change_shape(0, 2, 2**63 - 1, raw=True),
    "many dimensions": change_shape(0, *([1] * 10_000)),
    "too many rows": change_shape(0, 10_001),
    "a wide column": change_shape(0, 1, 2),
    "a negative raw shape": change_shape(0, -2, raw=True),
    "contents beside raw": change(lambda r: r.inputs[0].contents.fp64_contents.append(1), raw=True),
    "a raw part too few": change(lambda r: r.raw_input_contents.pop(), raw=True),
    "a raw part too many": change(lambda r: r.raw_input_contents.append(b""), raw=True),
    "a raw part without inputs": change(lambda r: r.ClearField("inputs"), raw=True),
    "a raw byte too few": change_raw(0, b"\0" * 15),
    "a raw byte too many": change_raw(0, b"\0" * 17),
    "no raw bytes": change_raw(0, b""),
    "a raw boolean of 2": change_raw(4, b"\2\0"),
    "raw text cut short": change_raw(3, b"\5\0\0\0AA"),
    "raw text of 4 GiB": change_raw(3, b"\xff\xff\xff\xffAA\0\0\0\0"),
    "raw text with a rest": change_raw(3, b"\0\0\0\0\0\0\0\0\0"),
    "raw text that isn't": change_raw(3, b"\1\0\0\0\xff\0\0\0\0"),
    "raw text of a huge shape": change_raw(3, b"\0" * 8, shape=[2**31]),
    "raw integers too large": change_raw(1, b"\xff" * 16, datatype="UINT64"),
    "an unknown output": change(lambda r: r.outputs.add(name="x" * 10_000)),
    "an output twice": change(lambda r: [r.outputs.add(name="predict") for _ in range(2)]),
    "a thousand outputs": change(lambda r: [r.outputs.add(name="predict") for _ in range(1000)]),
    "a parameter without a value": add_parameter("x" * 1000),
    "a shared memory region": add_parameter("shared_memory_region", lambda r: r.inputs[0]),
    "a classification": add_parameter("classification", lambda r: r.outputs.add(name="predict")),
    "ten thousand inputs": change(lambda r: [r.inputs.add(name="wind") for _ in range(10_000)]),
    "a body too large": b"\0" * (MAX_BODY_BYTES + 1),
}
# What a message says in fields that it doesn't have is skipped, so that some of these name no model.
NOT_FOUND = {"nothing", "a pickle", "a field of another type", "another model", "another version"}


def send(channel, data, call="ModelInfer", **options):
    return channel.unary_unary(f"{SERVICE}/{call}")(data, timeout=DEADLINE_S, **options)


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_the_clients_fault_and_is_told_why(channel, name):
    code, message = read_code(lambda: send(channel, MALFORMED[name]))
    want = "RESOURCE_EXHAUSTED" if name == "a body too large" else "INVALID_ARGUMENT"
    assert code == ("NOT_FOUND" if name in NOT_FOUND else want), message
    assert 5 < len(message) < 2001


@pytest.mark.parametrize(
    "call", ["ModelReady", "ModelMetadata", "ServerLive", "ServerReady", "ServerMetadata"]
)
def test_garbage_is_refused_by_every_call(channel, call):
    assert read_code(lambda: send(channel, b"\xff\xff", call))[0] == "INVALID_ARGUMENT"


def test_what_unfolds_beyond_the_limit_is_refused(channel):
    bomb = change_values(3, "bytes_contents", [b"A" * 50_000_000, b"AA"])
    code, _ = read_code(lambda: send(channel, bomb, compression=grpc.Compression.Gzip))
    assert code == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\4\1\4\0\0\0\1\x82\x86\x84\xff",
    ],
)
def test_what_is_no_grpc_leaves_the_server_well(server, client, data):
    host, port = server.grpc_address.split(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as sock:
        sock.sendall(data)
    assert client.infer(MODEL, build_inputs()).as_numpy("predict").shape == (2,)


def read_resident_kib(server):
    lines = Path(f"/proc/{server.popen.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_malformed_requests_leave_memory_flat_and_count_as_no_fault_of_ours(channel, server):
    def send_all(rounds):
        for _ in range(rounds):
            for data in MALFORMED.values():
                read_code(lambda data=data: send(channel, data))

    send_all(5)
    before = read_resident_kib(server)
    send_all(15)
    assert read_resident_kib(server) - before < 16 * 1024
    metrics = httpx.get(f"{server.url}/metrics").text
    assert 'perennial_server_requests_total{code="400"}' in metrics
    assert 'code="5' not in metrics


def test_predictions_over_grpc_are_logged_as_those_over_rest(mixed, tmp_path):
    with (
        run_observer(tmp_path) as observer,
        run_grpc(tmp_path, mixed, OBSERVER_URL=observer.url) as server,
        triton.InferenceServerClient(server.grpc_address) as client,
    ):
        headers = {"x-prediction-id": "p-9", "x-perennial-shadow": "true"}
        client.infer(MODEL, build_inputs(), headers=headers)
        client.infer(MODEL, build_inputs(), headers={"x-prediction-id": "p-10", "x-perennial-pin": "x"})
        client.infer(MODEL, build_inputs(), headers={"x-prediction-id": "p-11", "x-user-id": "ann"})
        entries = {entry["prediction_id"]: entry for entry in observer.wait_for_log(2)}
        assert entries.keys() == {"p-9", "p-11"}
        assert entries["p-9"]["shadow"] is True
        assert entries["p-11"]["client"]


def hold_call(channel):
    """Begin a call whose message comes later; return how to send it, and the call."""
    sendable = threading.Event()

    def messages():
        sendable.wait(DEADLINE_S)
        yield build_typed().SerializeToString()

    call = channel.stream_unary(f"{SERVICE}/ModelInfer").future(messages(), timeout=DEADLINE_S)
    # Calls of one connection reach the server in order: this one's answer says that the first is under way.
    send(channel, b"", "ServerLive")
    return sendable, call


def is_unready(client):
    return not client.is_server_ready()


def is_closed(address):
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=DEADLINE_S).close()
    except ConnectionRefusedError:
        return True
    return False


def test_sigterm_lets_calls_under_way_end(mixed, tmp_path):
    with (
        run_grpc(tmp_path, mixed, DRAIN_DELAY_S="3") as server,
        grpc.insecure_channel(server.grpc_address) as channel,
        triton.InferenceServerClient(server.grpc_address) as client,
    ):
        sendable, call = hold_call(channel)
        server.popen.send_signal(signal.SIGTERM)
        wait_for(lambda: is_unready(client), "unreadiness")
        # New calls are still answered: routers hear of the end a little later.
        assert client.infer(MODEL, build_inputs()).as_numpy("predict").shape == (2,)
        wait_for(lambda: is_closed(server.grpc_address), "the port to close")
        # Closed to others, it still ends what it has begun.
        sendable.set()
        answer = pb.ModelInferResponse.FromString(call.result(DEADLINE_S))
        assert [output.name for output in answer.outputs] == ["predict", "probability"]
        assert server.popen.wait(DEADLINE_S) == 0


def test_a_call_that_never_ends_cannot_hold_the_server(mixed, tmp_path):
    with (
        run_grpc(tmp_path, mixed, DRAIN_TIMEOUT_S="1", DRAIN_DELAY_S="0") as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        sendable, call = hold_call(channel)
        server.popen.send_signal(signal.SIGTERM)
        assert server.popen.wait(DEADLINE_S) == 0
        assert call.exception(DEADLINE_S).code() == grpc.StatusCode.UNAVAILABLE
        sendable.set()


def test_a_port_that_is_taken_ends_the_start(mixed, tmp_path):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        server = start_server(tmp_path, f"file://{mixed.path}", GRPC_PORT=str(port))
        got = read_failure(server, tmp_path)
    assert got["reason"] == "InternalError"
    assert f":{port} can't be used for gRPC" in got["message"]
