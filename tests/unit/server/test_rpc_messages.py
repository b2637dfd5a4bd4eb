import math

import numpy as np
import pytest
from perennial_bundle import Column, Flag, Schema
from perennial_server.errors import RequestError
from perennial_server.protocol.query import Wish
from perennial_server.protocol.tensors import encode_raw
from perennial_server.rpc import inference_pb2 as pb
from perennial_server.rpc.messages import FIELDS, MessageReader, MessageWriter, build_metadata, read_message

SCHEMA = Schema(
    inputs=(
        Column(name="price", datatype="FP64"),
        Column(name="count", datatype="INT64"),
        Column(name="grape", datatype="BYTES"),
        Column(name="organic", datatype="BOOL"),
    ),
    outputs=(
        Column(name="predict", datatype="INT64", role="Output"),
        Column(name="probability", datatype="FP64", role="Output"),
        Column(name="label", datatype="BYTES", role="Output"),
    ),
)
VALUES = {"price": [1.5, math.inf], "count": [2, -3], "grape": ["Rüländer", ""], "organic": [True, False]}
READER = MessageReader(SCHEMA, max_rows=10)
WRITER = MessageWriter(SCHEMA, model_name="wine", model_version="wine-1")
OUTPUTS = {
    "predict": np.array([1, 0]),
    "probability": np.array([[0.25, 0.75], [1.0, 0.0]]),
    "label": np.array(["süß", b"dry"], dtype=object),
}


def build_request(*, raw=False, values=None, **fields):
    request = pb.ModelInferRequest(model_name="wine", **fields)
    for name, column in (values or VALUES).items():
        datatype = SCHEMA.by_name[name].datatype
        tensor = request.inputs.add(name=name, datatype=datatype, shape=[len(column)])
        if raw:
            request.raw_input_contents.append(encode_raw(np.array(column, dtype=object), datatype))
        else:
            plain = [v.encode() for v in column] if datatype == "BYTES" else column
            getattr(tensor.contents, FIELDS[datatype]).extend(plain)
    return request


@pytest.mark.parametrize("raw", [False, True])
def test_a_request_becomes_the_rows_that_it_holds_in_either_form(raw):
    query = READER.read(build_request(raw=raw, id="mine"))
    got = {name: list(values) for name, values in query.rows.columns.items()}
    assert (query.rows.n, got, query.id) == (2, VALUES, "mine")
    assert query.outputs == tuple(Wish(name, raw) for name in ("predict", "probability", "label"))


@pytest.mark.parametrize(
    ("datatype", "field", "value"),
    [
        ("INT8", "int_contents", -128),
        ("INT16", "int_contents", 2**15 - 1),
        ("INT32", "int_contents", -(2**31)),
        ("INT64", "int64_contents", 2**53),
        ("UINT8", "uint_contents", 255),
        ("UINT16", "uint_contents", 2**16 - 1),
        ("UINT32", "uint_contents", 2**32 - 1),
        ("UINT64", "uint64_contents", 2**53),
        ("FP32", "fp32_contents", 0.5),
        ("FP64", "fp64_contents", 0.1),
    ],
)
def test_each_number_is_read_from_the_field_of_its_datatype(datatype, field, value):
    request = build_request()
    request.inputs[0].datatype = datatype
    request.inputs[0].ClearField("contents")
    getattr(request.inputs[0].contents, field).extend([value, value])
    assert list(READER.read(request).rows.columns["price"]) == [value, value]


def test_no_id_and_no_parameters_stay_none_and_all_kinds_of_parameters_are_plain():
    query = READER.read(build_request())
    assert (query.id, query.parameters) == (None, None)
    parameters = {
        "bool": pb.InferParameter(bool_param=False),
        "int": pb.InferParameter(int64_param=-7),
        "text": pb.InferParameter(string_param=""),
        "double": pb.InferParameter(double_param=0.5),
        "uint": pb.InferParameter(uint64_param=2**64 - 1),
    }
    want = {"bool": False, "int": -7, "text": "", "double": 0.5, "uint": 2**64 - 1}
    query = READER.read(build_request(parameters=parameters))
    assert query.parameters == want
    answer = WRITER.write(OUTPUTS, query, (), "p-1")
    assert {name: answer.parameters[name] for name in want} == parameters


@pytest.mark.parametrize("raw", [False, True])
def test_an_answer_takes_the_form_and_order_of_the_request(raw):
    wanted = [
        pb.ModelInferRequest.InferRequestedOutputTensor(name=name)
        for name in ("label", "probability", "predict")
    ]
    query = READER.read(build_request(raw=raw, id="mine", outputs=wanted))
    answer = WRITER.write(OUTPUTS, query, [Flag(0, "grape", "UnknownCategory", "Passed")], "p-1")
    got = [(output.name, output.datatype, list(output.shape)) for output in answer.outputs]
    assert got == [("label", "BYTES", [2]), ("probability", "FP64", [2, 2]), ("predict", "INT64", [2])]
    assert (answer.id, answer.model_name, answer.model_version) == ("mine", "wine", "wine-1")
    assert answer.parameters["prediction_id"].string_param == "p-1"
    assert answer.parameters["flags"].string_param == "grape:UnknownCategory:Passed"
    if raw:
        assert not any(output.HasField("contents") for output in answer.outputs)
        assert np.frombuffer(answer.raw_output_contents[1]).tolist() == [0.25, 0.75, 1.0, 0.0]
        assert answer.raw_output_contents[0] == b"\x05\x00\x00\x00s\xc3\xbc\xc3\x9f\x03\x00\x00\x00dry"
    else:
        assert not answer.raw_output_contents
        assert list(answer.outputs[0].contents.bytes_contents) == ["süß".encode(), b"dry"]
        assert list(answer.outputs[1].contents.fp64_contents) == [0.25, 0.75, 1.0, 0.0]
        assert list(answer.outputs[2].contents.int64_contents) == [1, 0]


def change(edit, **kwargs):
    request = build_request(**kwargs)
    edit(request)
    return request


REFUSED = {
    "a part too few": (
        change(lambda r: r.raw_input_contents.pop(), raw=True),
        "raw_input_contents: has 3 parts",
    ),
    "contents beside raw": (
        change(lambda r: r.inputs[0].contents.fp64_contents.append(1), raw=True),
        "price: has contents beside",
    ),
    "empty contents beside raw": (
        change(lambda r: r.inputs[0].contents.SetInParent(), raw=True),
        "price: has contents beside",
    ),
    "the wrong field": (
        change(lambda r: r.inputs[0].contents.fp32_contents.append(1)),
        "price: has fp32_contents; FP64 goes into fp64_contents",
    ),
    "an unknown datatype": (
        change(lambda r: setattr(r.inputs[0], "datatype", "FP8")),
        "price: has datatype 'FP8'",
    ),
    "typed FP16": (
        change(lambda r: setattr(r.inputs[0], "datatype", "FP16")),
        "price: FP16 has no typed contents",
    ),
    "no name": (change(lambda r: setattr(r.inputs[0], "name", "")), "inputs: a name has 0 characters"),
    "text that isn't": (
        change(lambda r: r.inputs[2].contents.bytes_contents.__setitem__(0, b"\xff")),
        "grape: a value of BYTES isn't UTF-8",
    ),
    "a shared memory region": (
        change(
            lambda r: (
                r.inputs[0].parameters["shared_memory_region"].CopyFrom(pb.InferParameter(string_param="x"))
            )
        ),
        "price: the parameter shared_memory_region isn't supported",
    ),
    "a classification": (
        change(lambda r: r.outputs.add(name="predict").parameters["classification"].SetInParent()),
        "outputs: 'predict': the parameter classification isn't supported",
    ),
    "a parameter without a value": (
        change(lambda r: r.parameters["x"].SetInParent()),
        "parameters: 'x' has no value",
    ),
    "an unknown output": (change(lambda r: r.outputs.add(name="x")), "outputs: 'x' isn't an output"),
    "an output twice": (
        change(
            lambda r: r.outputs.extend(2 * [pb.ModelInferRequest.InferRequestedOutputTensor(name="predict")])
        ),
        "outputs: an output is named twice",
    ),
    "too many outputs": (
        change(
            lambda r: r.outputs.extend(65 * [pb.ModelInferRequest.InferRequestedOutputTensor(name="predict")])
        ),
        "outputs: has 65 names",
    ),
    "a long id": (change(lambda r: setattr(r, "id", "x" * 1025)), "id: has 1025 characters"),
    "no inputs": (pb.ModelInferRequest(), "inputs: has 0 tensors"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_fault_is_refused_by_its_name(name):
    request, want = REFUSED[name]
    with pytest.raises(RequestError) as caught:
        READER.read(request)
    assert caught.value.status == 400
    assert caught.value.message.startswith(want)


def test_bytes_that_are_no_message_are_the_clients_fault():
    with pytest.raises(RequestError) as caught:
        read_message(pb.ModelInferRequest, b"\xff\xff")
    assert (caught.value.status, caught.value.message) == (
        400,
        "the message isn't an inference.ModelInferRequest",
    )


def test_metadata_says_what_the_description_does():
    tensor = {"name": "price", "datatype": "FP64", "shape": [-1]}
    description = {
        "name": "wine",
        "versions": ["1"],
        "platform": "p",
        "inputs": [tensor],
        "outputs": [tensor],
    }
    got = build_metadata(description)
    assert (got.name, list(got.versions), got.platform) == ("wine", ["1"], "p")
    for side in (got.inputs, got.outputs):
        assert [(t.name, t.datatype, list(t.shape)) for t in side] == [("price", "FP64", [-1])]
