"""Every row of the Open Inference Protocol v2's REST tables, through the protocol's own client against a real server."""

import json
from functools import partial

import httpx
import numpy as np
import pandas as pd
import perennial_bundle
import pytest
import tritonclient.http as triton
from perennial_bundle import Rows
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tritonclient.utils import InferenceServerException

from .conftest import run_server

REVISION = "flights-1a2b3c4d"
RAW_AND_JSON = pytest.mark.parametrize("binary", [False, True], ids=["json", "raw"])

# One row of the model below, by column: the datatype it has there, and the value.
ROW = {
    "sunny": ("BOOL", True),
    "count": ("INT64", 7),
    "ratio": ("FP32", 0.5),
    "price": ("FP64", 1.5),
    "kind": ("BYTES", "é"),
}
DTYPES = {"BOOL": bool, "INT64": np.int64, "FP32": np.float32, "FP64": np.float64, "BYTES": object}
# Each datatype of the protocol, the column that takes it, and values that only fit into it.
DATATYPES = {
    "BOOL": ("sunny", np.array([True, False])),
    "UINT8": ("count", np.array([0, 255], np.uint8)),
    "UINT16": ("count", np.array([0, 65_535], np.uint16)),
    "UINT32": ("count", np.array([0, 2**32 - 1], np.uint32)),
    "UINT64": ("count", np.array([0, 2**63 - 1], np.uint64)),
    "INT8": ("count", np.array([-128, 127], np.int8)),
    "INT16": ("count", np.array([-32_768, 32_767], np.int16)),
    "INT32": ("count", np.array([-(2**31), 2**31 - 1], np.int32)),
    "INT64": ("count", np.array([-(2**53), 2**53], np.int64)),
    "FP16": ("ratio", np.array([0.5, -65_504.0], np.float16)),
    "FP32": ("ratio", np.array([0.1, -3e4], np.float32)),
    "FP64": ("price", np.array([0.1, -3e40], np.float64)),
    "BYTES": ("kind", np.array(["z", "é"], object)),
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A bundle with a column of each of the schema's datatypes, whose prediction tells every value apart."""
    rng = np.random.default_rng(0)
    n = 300
    frame = pd.DataFrame(
        {
            "sunny": rng.random(n) > 0.5,
            "count": rng.integers(-100, 100, n),
            "ratio": rng.normal(size=n).astype(np.float32),
            "price": rng.normal(size=n),
            "kind": rng.choice(["a", "é", "z"], n),
        }
    )
    target = frame.sunny + 2 * frame["count"] + 3 * frame.ratio + 4 * frame.price + 5 * (frame.kind == "é")
    encode = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough")
    model = make_pipeline(encode, LinearRegression()).fit(frame, target)
    return perennial_bundle.save(model, frame, tmp_path_factory.mktemp("mixed") / "mixed", y=target)


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """A bundle of numbers only, that answers strings and three probabilities."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(300, 2)), columns=["x", "y"])
    labels = np.where(frame.x > 0.5, "rot", np.where(frame.y > 0, "grün", "blau"))
    model = LogisticRegression().fit(frame, labels)
    return perennial_bundle.save(model, frame, tmp_path_factory.mktemp("colours") / "colours", y=labels)


@pytest.fixture(scope="module")
def mixed_server(mixed, tmp_path_factory):
    with run_server(tmp_path_factory.mktemp("server"), f"file://{mixed.path}") as server:
        yield server


@pytest.fixture(scope="module")
def colours_server(colours, tmp_path_factory):
    with run_server(tmp_path_factory.mktemp("server"), f"file://{colours.path}") as server:
        yield server


@pytest.fixture(scope="module")
def client(mixed_server):
    with triton.InferenceServerClient(f"127.0.0.1:{mixed_server.port}") as client:
        yield client


@pytest.fixture(scope="module")
def colours_client(colours_server):
    with triton.InferenceServerClient(f"127.0.0.1:{colours_server.port}") as client:
        yield client


@pytest.fixture
def http(mixed_server):
    with httpx.Client(base_url=mixed_server.url, timeout=60) as client:
        yield client


def build_input(name, datatype, values, *, binary, shape=None):
    tensor = triton.InferInput(name, list(shape or values.shape), datatype)
    tensor.set_data_from_numpy(values.reshape(shape or values.shape), binary_data=binary)
    return tensor


def build_columns(n=1, **changes):
    """Arrays by column, with their datatypes; ``name=(datatype, array)`` changes one."""
    columns = {
        name: (datatype, np.array([value] * n, DTYPES[datatype])) for name, (datatype, value) in ROW.items()
    }
    return columns | changes


def build_inputs(columns, *, binary):
    return [build_input(name, *column, binary=binary) for name, column in columns.items()]


def build_json(n=1, **more):
    inputs = [
        {"name": name, "shape": [n], "datatype": datatype, "data": [value] * n}
        for name, (datatype, value) in ROW.items()
    ]
    return {"inputs": inputs, **more}


def predict(bundle, columns):
    """What the bundle says itself."""
    values = {name: array.tolist() for name, (_, array) in columns.items()}
    n = len(next(iter(values.values())))
    return bundle.predict(bundle.schema.check(Rows(n, values)).frame)


infer = partial(triton.InferenceServerClient.infer, model_name="flights")


# Health


def test_server_live(client):
    assert client.is_server_live()


def test_server_ready(client):
    assert client.is_server_ready()


@pytest.mark.parametrize("version", ["", REVISION])
def test_model_ready(client, version):
    assert client.is_model_ready("flights", version)


@pytest.mark.parametrize(("name", "version"), [("other", ""), ("flights", "other")])
def test_a_model_or_version_that_is_not_here_is_not_ready(client, name, version):
    assert not client.is_model_ready(name, version)


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/v2/models/flights/ready", "/v2"])
def test_a_head_says_what_a_get_says_without_the_body(http, path):
    got, want = http.head(path), http.get(path)
    assert (got.status_code, got.content) == (want.status_code, b"")
    assert got.headers["content-length"] == str(len(want.content))


# Server metadata


@pytest.mark.parametrize(("field", "kind"), [("name", str), ("version", str), ("extensions", list)])
def test_server_metadata_field(client, field, kind):
    got = client.get_server_metadata()
    assert isinstance(got[field], kind)
    assert got[field]


def test_server_metadata_names_the_extension_that_this_file_uses(client):
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]


# Model metadata


@pytest.mark.parametrize("version", ["", REVISION])
@pytest.mark.parametrize(
    ("field", "want"),
    [
        ("name", "flights"),
        ("versions", [REVISION]),
        ("platform", "sklearn_skops"),
        (
            "inputs",
            [{"name": name, "datatype": datatype, "shape": [-1]} for name, (datatype, _) in ROW.items()],
        ),
        ("outputs", [{"name": "predict", "datatype": "FP64", "shape": [-1]}]),
    ],
)
def test_model_metadata_field(client, version, field, want):
    assert client.get_model_metadata("flights", version)[field] == want


def test_metadata_of_an_output_with_a_value_for_each_class(colours_client):
    got = colours_client.get_model_metadata("flights")["outputs"]
    assert got[0] == {"name": "predict", "datatype": "BYTES", "shape": [-1]}
    assert got[1] == {"name": "probability", "datatype": "FP64", "shape": [-1, 3]}


@pytest.mark.parametrize(("name", "version"), [("other", ""), ("flights", "other")])
def test_metadata_of_a_model_or_version_that_is_not_here_is_an_error(client, name, version):
    with pytest.raises(InferenceServerException, match="isn't here") as caught:
        client.get_model_metadata(name, version)
    assert caught.value.status() == "404"


# Inference: the request


@RAW_AND_JSON
@pytest.mark.parametrize("version", ["", REVISION])
def test_infer_path(client, mixed, version, binary):
    columns = build_columns(3)
    got = infer(client, inputs=build_inputs(columns, binary=binary), model_version=version)
    assert got.as_numpy("predict") == pytest.approx(predict(mixed, columns)["predict"])


@RAW_AND_JSON
@pytest.mark.parametrize("datatype", DATATYPES)
def test_tensor_datatype(client, http, mixed, datatype, binary):
    name, values = DATATYPES[datatype]
    columns = build_columns(2, **{name: (datatype, values)})
    want = predict(mixed, columns)["predict"]
    if datatype == "FP16" and not binary:
        # The client knows no FP16 in JSON; the protocol does.
        body = build_json(2)
        (tensor,) = (tensor for tensor in body["inputs"] if tensor["name"] == name)
        tensor |= {"datatype": datatype, "data": values.tolist()}
        got = http.post("/v2/models/flights/infer", json=body).json()["outputs"][0]["data"]
    else:
        got = infer(client, inputs=build_inputs(columns, binary=binary)).as_numpy("predict")
    assert got == pytest.approx(want, rel=1e-12)
    assert want[0] != want[1]


@RAW_AND_JSON
def test_request_field_id(client, binary):
    inputs = build_inputs(build_columns(), binary=binary)
    assert infer(client, inputs=inputs, request_id="mine").get_response()["id"] == "mine"


@RAW_AND_JSON
def test_request_field_parameters(client, binary):
    inputs = build_inputs(build_columns(), binary=binary)
    parameters = {"string": "s", "number": 1.5, "whole": 2, "truth": True}
    got = infer(client, inputs=inputs, parameters=parameters, priority=3, timeout=10**7).get_response()
    assert got["parameters"].items() >= (parameters | {"priority": 3, "timeout": 10**7}).items()


@RAW_AND_JSON
def test_request_field_inputs_may_mix_raw_and_json(client, mixed, binary):
    columns = build_columns(2)
    inputs = [
        build_input(name, *column, binary=binary == bool(index % 2))
        for index, (name, column) in enumerate(columns.items())
    ]
    assert infer(client, inputs=inputs).as_numpy("predict") == pytest.approx(
        predict(mixed, columns)["predict"]
    )


@RAW_AND_JSON
@pytest.mark.parametrize("wanted", [["probability"], ["predict"], ["probability", "predict"]])
def test_request_field_outputs(colours_client, wanted, binary):
    inputs = [build_input("features", "FP64", np.zeros((1, 2)), binary=True)]
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in wanted]
    got = infer(colours_client, inputs=inputs, outputs=outputs).get_response()["outputs"]
    assert [output["name"] for output in got] == wanted
    assert all(("data" in output) != binary for output in got)


@RAW_AND_JSON
def test_input_field_shape_may_say_one_value_for_each_row(client, mixed, binary):
    columns = build_columns(2)
    inputs = [build_input(name, *column, binary=binary, shape=(2, 1)) for name, column in columns.items()]
    assert infer(client, inputs=inputs).as_numpy("predict") == pytest.approx(
        predict(mixed, columns)["predict"]
    )


@RAW_AND_JSON
@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT8", "UINT64"])
def test_input_field_shape_may_hold_all_features(colours_client, colours, datatype, binary):
    if datatype == "FP16":
        binary = True
    dtype = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64, "INT8": np.int8, "UINT64": np.uint64}
    values = np.array([[3, 0], [0, 3], [0, 0]], dtype[datatype])
    got = infer(colours_client, inputs=[build_input("any name", datatype, values, binary=binary)])
    want = predict(
        colours, {"x": ("FP64", values[:, 0].astype(float)), "y": ("FP64", values[:, 1].astype(float))}
    )
    assert [str(value, "utf-8") for value in got.as_numpy("predict")] == want["predict"].tolist()
    assert got.as_numpy("probability") == pytest.approx(want["probability"])


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
def test_input_field_data_is_flat_or_nested_row_by_row(colours_server, colours, nested):
    data = [[3.0, 0.0], [0.0, 3.0]] if nested else [3.0, 0.0, 0.0, 3.0]
    body = {"inputs": [{"name": "m", "shape": [2, 2], "datatype": "FP64", "data": data}]}
    got = httpx.post(f"{colours_server.url}/v2/models/flights/infer", json=body, timeout=60).json()
    want = predict(colours, {"x": ("FP64", np.array([3.0, 0.0])), "y": ("FP64", np.array([0.0, 3.0]))})
    assert got["outputs"][0]["data"] == want["predict"].tolist()


def test_input_field_parameters(http):
    body = build_json()
    body["inputs"][0]["parameters"] = {"content_type": "pd", "n": 1}
    assert http.post("/v2/models/flights/infer", json=body).status_code == 200


def test_output_field_parameters(http):
    outputs = [{"name": "predict", "parameters": {"note": "x", "binary_data": False}}]
    got = http.post("/v2/models/flights/infer", json=build_json(outputs=outputs))
    assert len(got.json()["outputs"][0]["data"]) == 1


# Inference: the response


@pytest.mark.parametrize(("field", "want"), [("model_name", "flights"), ("model_version", REVISION)])
def test_response_field(client, field, want):
    assert infer(client, inputs=build_inputs(build_columns(), binary=True)).get_response()[field] == want


def test_response_fields_id_and_parameters_are_left_out_where_there_are_none(http):
    got = http.post("/v2/models/flights/infer", json=build_json()).json()
    assert set(got) == {"model_name", "model_version", "outputs"}


@pytest.mark.parametrize(
    ("name", "field", "want"),
    [
        ("predict", "name", "predict"),
        ("predict", "shape", [4]),
        ("predict", "datatype", "BYTES"),
        ("probability", "shape", [4, 3]),
        ("probability", "datatype", "FP64"),
    ],
)
@RAW_AND_JSON
def test_response_output_field(colours_client, name, field, want, binary):
    inputs = [build_input("m", "FP64", np.zeros((4, 2)), binary=binary)]
    outputs = [triton.InferRequestedOutput(name, binary_data=binary)]
    assert infer(colours_client, inputs=inputs, outputs=outputs).get_output(name)[field] == want


def test_response_output_field_parameters_says_how_much_is_raw(colours_client):
    inputs = [build_input("m", "FP64", np.zeros((4, 2)), binary=True)]
    got = infer(colours_client, inputs=inputs).get_output("probability")
    assert got["parameters"] == {"binary_data_size": 4 * 3 * 8}


@RAW_AND_JSON
def test_response_output_field_data(colours_client, colours, binary):
    inputs = [build_input("m", "FP64", np.array([[1.0, 2.0]]), binary=binary)]
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("predict", "probability")]
    got = infer(colours_client, inputs=inputs, outputs=outputs)
    want = predict(colours, {"x": ("FP64", np.array([1.0])), "y": ("FP64", np.array([2.0]))})
    (label,) = got.as_numpy("predict")
    assert (label if isinstance(label, str) else label.decode()) == want["predict"][0]
    assert got.as_numpy("probability") == pytest.approx(want["probability"])


def test_headers_of_a_raw_answer_say_where_the_json_ends(http):
    got = http.post("/v2/models/flights/infer", json=build_json(parameters={"binary_data_output": True}))
    json_bytes = int(got.headers["inference-header-content-length"])
    assert got.headers["content-type"] == "application/octet-stream"
    (output,) = json.loads(got.content[:json_bytes])["outputs"]
    assert output["parameters"]["binary_data_size"] == len(got.content) - json_bytes == 8


# Errors


def test_an_error_of_an_inference_has_the_protocols_body(http):
    got = http.post("/v2/models/flights/infer", json={"inputs": []})
    assert (got.status_code, list(got.json())) == (400, ["error"])


@RAW_AND_JSON
def test_the_client_sees_the_sentence_that_names_the_field(client, binary):
    columns = build_columns(count=("FP64", np.array([1.5])))
    with pytest.raises(
        InferenceServerException, match="count: has datatype FP64; the model wants INT64"
    ) as caught:
        infer(client, inputs=build_inputs(columns, binary=binary))
    assert caught.value.status() == "400"


@pytest.mark.parametrize(("name", "version"), [("other", ""), ("flights", "other")])
def test_inference_by_a_model_or_version_that_is_not_here_is_an_error(client, name, version):
    with pytest.raises(InferenceServerException, match="isn't here") as caught:
        client.infer(name, build_inputs(build_columns(), binary=True), model_version=version)
    assert caught.value.status() == "404"


def test_an_extension_that_is_not_advertised_is_refused_rather_than_ignored(colours_client):
    outputs = [triton.InferRequestedOutput("probability", class_count=2)]
    with pytest.raises(InferenceServerException, match="classification"):
        infer(
            colours_client, inputs=[build_input("m", "FP64", np.zeros((1, 2)), binary=True)], outputs=outputs
        )


# Compression, which HTTP has and the client uses


@RAW_AND_JSON
@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_a_packed_request_means_the_same(client, mixed, algorithm, binary):
    columns = build_columns(2)
    got = infer(
        client, inputs=build_inputs(columns, binary=binary), request_compression_algorithm=algorithm
    ).as_numpy("predict")
    assert got == pytest.approx(predict(mixed, columns)["predict"])


@RAW_AND_JSON
@pytest.mark.parametrize("algorithm", ["gzip", "deflate", None])
def test_a_large_answer_may_be_packed_and_means_the_same(colours_client, colours, algorithm, binary):
    values = np.random.default_rng(0).normal(size=(5000, 2))
    outputs = [triton.InferRequestedOutput("probability", binary_data=binary)]
    got = infer(
        colours_client,
        inputs=[build_input("m", "FP64", values, binary=True)],
        outputs=outputs,
        response_compression_algorithm=algorithm,
    )
    want = predict(colours, {"x": ("FP64", values[:, 0]), "y": ("FP64", values[:, 1])})
    assert got.as_numpy("probability") == pytest.approx(want["probability"])
