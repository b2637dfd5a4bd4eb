import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perennial_bundle import Column, InvalidInput, Schema
from perennial_server.errors import RequestError
from perennial_server.protocol.datatypes import DATATYPES
from perennial_server.protocol.query import Wish
from perennial_server.protocol.requests import RequestReader

PREDICT = Column(name="predict", datatype="INT64", role="Output")
PROBABILITY = Column(name="probability", datatype="FP64", role="Output")
NUMERIC = Schema(
    inputs=(
        Column(name="alcohol", datatype="FP64"),
        Column(name="acid", datatype="FP64", allow_missing=True),
        Column(name="when", datatype="BYTES", role="EventTime"),
    ),
    outputs=(PREDICT, PROBABILITY),
)
MIXED = Schema(
    inputs=(Column(name="alcohol", datatype="FP64"), Column(name="grape", datatype="BYTES")),
    outputs=(PREDICT,),
)


def build_tensor(name, data, datatype="FP64", shape=None):
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data}


def build_body(*tensors, **more):
    return json.dumps({"inputs": list(tensors), **more}).encode()


ALCOHOL = build_tensor("alcohol", [11.0, 12.0])
GRAPE = build_tensor("grape", ["riesling", "syrah"], "BYTES")
WHEN = build_tensor("when", ["2013-01-01", "2013-01-02"], "BYTES")


def parse(body, schema=MIXED, json_bytes=None):
    return RequestReader(schema, max_rows=10).read(body, json_bytes)


def build_binary(*parts, **more):
    """A body of tensors and what is raw of them, and how much of it is JSON."""
    head = build_body(*(tensor for tensor, _ in parts), **more)
    return head + b"".join(raw for _, raw in parts), len(head)


def build_raw(name, raw, datatype="FP64", shape=(2,), **parameters):
    parameters = {"binary_data_size": len(raw)} | parameters
    return {"name": name, "shape": list(shape), "datatype": datatype, "parameters": parameters}, raw


def test_a_tensor_for_each_column_becomes_columns():
    got = parse(
        build_body(ALCOHOL, build_tensor("grape", ["a", "b"], "BYTES", [2, 1]), id="x", parameters={"k": 1})
    )
    assert (got.rows.n, got.rows.matrix) == (2, None)
    assert got.rows.columns == {"alcohol": [11.0, 12.0], "grape": ["a", "b"]}
    assert (got.id, got.parameters, got.outputs) == ("x", {"k": 1}, (Wish("predict"),))


@pytest.mark.parametrize("data", [[1.0, 2.0, 3, None], [[1.0, 2.0], [3, None]]])
def test_one_matrix_feeds_all_features_row_by_row(data):
    got = parse(build_body(build_tensor("x", data, shape=[2, 2]), WHEN), NUMERIC).rows
    assert got.columns == {"when": ["2013-01-01", "2013-01-02"]}
    np.testing.assert_array_equal(got.matrix, [[1.0, 2.0], [3.0, np.nan]])


def test_a_column_may_be_nested_and_of_another_numeric_datatype():
    got = parse(build_body(build_tensor("alcohol", [[11], [12]], "INT32", [2, 1]), GRAPE))
    assert got.rows.columns["alcohol"] == [11, 12]


def test_only_the_outputs_asked_for_come_back_in_their_order():
    got = parse(build_body(ALCOHOL, WHEN, outputs=[{"name": "probability"}, {"name": "predict"}]), NUMERIC)
    assert [wish.name for wish in got.outputs] == ["probability", "predict"]


@pytest.mark.parametrize(
    ("of_request", "of_output", "want"),
    [
        ({}, {}, False),
        ({"binary_data_output": True}, {}, True),
        ({}, {"binary_data": True}, True),
        ({"binary_data_output": True}, {"binary_data": False}, False),
    ],
)
def test_an_output_is_raw_if_it_or_the_request_says_so(of_request, of_output, want):
    outputs = [{"name": "predict", "parameters": of_output}]
    got = parse(build_body(ALCOHOL, GRAPE, parameters=of_request, outputs=outputs))
    assert got.outputs == (Wish("predict", want),)


def test_a_members_output_is_given_only_to_who_names_it():
    member = Column(name="forest", datatype="FP64", role="Member")
    schema = Schema(inputs=MIXED.inputs, outputs=(PREDICT, member))
    assert parse(build_body(ALCOHOL, GRAPE), schema).outputs == (Wish("predict"),)
    got = parse(build_body(ALCOHOL, GRAPE, outputs=[{"name": "forest"}]), schema)
    assert got.outputs == (Wish("forest"),)


def test_raw_tensors_are_taken_in_order_beside_those_in_json():
    body, json_bytes = build_binary(
        build_raw("alcohol", np.array([11, 12], "<f4").tobytes(), "FP32"),
        (WHEN, b""),
        build_raw("acid", np.array([5.5, 6.5]).tobytes()),
    )
    got = parse(body, NUMERIC, json_bytes).rows
    assert got.columns == {"when": WHEN["data"]}
    np.testing.assert_array_equal(got.matrix, [[11.0, 5.5], [12.0, 6.5]])


RAW = np.array([11.0, 12.0]).tobytes()
STRINGS = b"\x01\0\0\0a\x02\0\0\0\xc3\xa9"


def test_raw_strings_have_their_length_before_them():
    got = parse(*build_order(build_raw("alcohol", RAW), build_raw("grape", STRINGS, "BYTES")))
    assert got.rows.columns["grape"] == ["a", "é"]


def build_order(*parts):
    body, json_bytes = build_binary(*parts)
    return body, MIXED, json_bytes


@pytest.mark.parametrize(
    ("parts", "add", "want"),
    [
        ([build_raw("alcohol", RAW[:-1])], 0, "alcohol: has 15 bytes"),
        ([build_raw("alcohol", RAW + RAW)], 0, "alcohol: has 32 bytes"),
        ([build_raw("alcohol", RAW, shape=[2**31, 2**31])], 0, "alcohol: has 16 bytes"),
        ([build_raw("alcohol", RAW, binary_data_size=17)], 0, "inputs.0: has a binary_data_size of 17"),
        ([build_raw("alcohol", RAW, binary_data_size=-1)], 0, "inputs.0: has a binary_data_size that"),
        ([build_raw("alcohol", RAW, binary_data_size="16")], 0, "inputs.0: has a binary_data_size that"),
        ([build_raw("alcohol", RAW, binary_data_size=True)], 0, "inputs.0: has a binary_data_size that"),
        ([build_raw("alcohol", RAW, binary_data_size=2**70)], 0, "inputs.0: has a binary_data_size"),
        ([build_raw("alcohol", RAW, binary_data_size=8, shape=[1])], 0, "the body: has 8 bytes after"),
        ([(ALCOHOL, RAW)], 0, "the body: has 16 bytes after"),
        ([(ALCOHOL | build_raw("alcohol", RAW)[0], RAW)], 0, "inputs.0.data: can't stand beside"),
        ([build_raw("grape", STRINGS, "BYTES", [3])], 0, "grape: has 11 bytes, too few"),
        ([build_raw("grape", STRINGS, "BYTES", [1])], 0, "grape: has 6 bytes after"),
        ([build_raw("grape", STRINGS[:-1], "BYTES")], 0, "grape: value 1 is longer"),
        ([build_raw("grape", b"\xff\xff\xff\xffabcd", "BYTES", [1])], 0, "grape: value 0 is longer"),
        ([build_raw("grape", b"\x04\0\0\0abcdef", "BYTES")], 0, "grape: ends before value 1"),
        ([build_raw("grape", b"\x01\0\0\0\xff", "BYTES", [1])], 0, "grape: value 0 isn't UTF-8"),
        ([build_raw("alcohol", RAW)], 1000, "Inference-Header-Content-Length: is"),
        ([build_raw("alcohol", RAW)], -1, "the body isn't JSON"),
        ([build_raw("alcohol", RAW)], 1, "the body isn't JSON"),
    ],
)
def test_raw_tensors_that_are_not_what_they_say_are_refused(parts, add, want):
    body, json_bytes = build_binary(*parts)
    with pytest.raises(RequestError) as caught:
        parse(body, MIXED, json_bytes + add)
    assert caught.value.status == 400
    assert caught.value.message.startswith(want)


def test_a_raw_tensor_needs_the_header_that_tells_where_it_is():
    body, _ = build_binary(build_raw("alcohol", RAW))
    with pytest.raises(RequestError, match="JSON"):
        parse(body)
    with pytest.raises(RequestError, match="needs the header Inference-Header-Content-Length"):
        parse(build_body(build_raw("alcohol", RAW)[0]))


@pytest.mark.parametrize(
    ("body", "want"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b'{"inputs": [NaN]}', "JSON"),
        (b"[" * 100_000, "JSON"),
        (b'{"a":' * 100_000, "JSON"),
        (b"null", "the body"),
        (b"[]", "the body"),
        (b'"text"', "the body"),
        (b"{}", "inputs"),
        (build_body(), "inputs"),
        (json.dumps({"inputs": {}}).encode(), "inputs"),
        (build_body("text"), "inputs.0"),
        (build_body({**ALCOHOL, "name": 3}), "inputs.0.name"),
        (build_body({**ALCOHOL, "name": ""}), "inputs.0.name"),
        (build_body({**ALCOHOL, "datatype": "FP128"}), "inputs.0.datatype"),
        (build_body({**ALCOHOL, "shape": [-2]}), "inputs.0.shape.0"),
        (build_body({**ALCOHOL, "shape": [2.5]}), "inputs.0.shape.0"),
        (build_body({**ALCOHOL, "shape": "2"}), "inputs.0.shape"),
        (build_body({**ALCOHOL, "shape": []}), "inputs.0.shape"),
        (build_body({**ALCOHOL, "shape": [1] * 9}), "inputs.0.shape"),
        (build_body({**ALCOHOL, "shape": [10**30]}), "inputs.0.shape.0"),
        (build_body({**ALCOHOL, "data": "aGk="}), "inputs.0.data"),
        (build_body({**ALCOHOL, "data": None}), "inputs.0.data"),
        (build_body({k: v for k, v in ALCOHOL.items() if k != "data"}), "inputs.0.data"),
        (build_body({**ALCOHOL, "parameters": {"a": {"b": 1}}}), "inputs.0.parameters"),
        (build_body(ALCOHOL, ALCOHOL, GRAPE), "alcohol: is given twice"),
        (build_body(build_tensor("typo", [1.0])), "typo"),
        (build_body({**ALCOHOL, "shape": [3]}), "alcohol: data has 2 values"),
        (build_body({**ALCOHOL, "shape": [0], "data": []}), "alcohol: needs at least one row"),
        (build_body({**ALCOHOL, "shape": [11]}), "alcohol: has 11 rows"),
        (build_body({**ALCOHOL, "shape": [1, 2]}), "alcohol: has shape"),
        (build_body({**ALCOHOL, "datatype": "BYTES"}), "alcohol: has datatype"),
        (build_body({**GRAPE, "datatype": "FP64"}), "grape: has datatype"),
        (build_body({**ALCOHOL, "datatype": "INT32", "data": [1.5, 2]}), "alcohol: value 0"),
        (build_body({**ALCOHOL, "shape": [2, 1], "data": [[1.0], 2.0]}), "alcohol: data isn't nested"),
        (build_body({**ALCOHOL, "shape": [2, 1], "data": [[1.0], [2.0, 3.0]]}), "alcohol: data has rows"),
        (build_body(build_tensor("x", [1.0, 2.0], shape=[1, 2])), "x: isn't an input"),
        (build_body(ALCOHOL, GRAPE, outputs=[{"name": "nope"}]), "outputs: 'nope'"),
        (build_body(ALCOHOL, GRAPE, outputs=[{"name": "predict"}] * 2), "outputs: an output is named twice"),
        (build_body(ALCOHOL, GRAPE, outputs={"name": "predict"}), "outputs: has to be a list"),
        (build_body(ALCOHOL, GRAPE, outputs=["predict"]), "outputs.0"),
        (build_body(ALCOHOL, GRAPE, outputs=[{"name": 1}]), "outputs.0.name"),
        (build_body(ALCOHOL, GRAPE, outputs=[{"name": "predict"}] * 65), "outputs"),
        (
            build_body(ALCOHOL, GRAPE, outputs=[{"name": "predict", "parameters": {"binary_data": 1}}]),
            "outputs.0.parameters.binary_data",
        ),
        (
            build_body(ALCOHOL, GRAPE, outputs=[{"name": "predict", "parameters": {"classification": 1}}]),
            "outputs.0.parameters.classification",
        ),
        (
            build_body({**ALCOHOL, "parameters": {"shared_memory_region": "x"}}),
            "inputs.0.parameters.shared_memory_region",
        ),
        (build_body(ALCOHOL, GRAPE, parameters=[]), "parameters"),
        (build_body(ALCOHOL, GRAPE, parameters={"k": None}), "parameters"),
        (
            build_body(ALCOHOL, GRAPE, parameters={"binary_data_output": "yes"}),
            "parameters.binary_data_output",
        ),
        (build_body({**ALCOHOL, "datatype": ["FP64"]}), "inputs.0.datatype"),
        (build_body({**ALCOHOL, "shape": [True]}), "inputs.0.shape.0"),
        (
            build_body({**ALCOHOL, "datatype": "INT8", "data": [1, 200]}),
            "alcohol: value 1 doesn't fit into INT8",
        ),
        (build_body({**ALCOHOL, "datatype": "UINT8", "data": [1.0, -1.0]}), "alcohol: value 1 doesn't fit"),
        (build_body({**ALCOHOL, "datatype": "INT64", "data": [2**63, 1]}), "alcohol: value 0 doesn't fit"),
        (build_body({**ALCOHOL, "datatype": "INT64", "data": [2**80, 1]}), "alcohol: value 0 doesn't fit"),
        (
            build_body(ALCOHOL, build_tensor("grape", ["a"], "BYTES")),
            "grape: has shape [1]; alcohol has 2 rows",
        ),
        (build_body(ALCOHOL, GRAPE, id=7), "id"),
        (build_body(ALCOHOL, GRAPE, id="x" * 2000), "id"),
    ],
)
def test_a_malformed_request_is_refused_with_the_field_at_fault(body, want):
    with pytest.raises(RequestError) as caught:
        parse(body)
    assert caught.value.status == 400
    assert caught.value.message.startswith(want) or (want == "JSON" and "isn't JSON" in caught.value.message)


@pytest.mark.parametrize(
    ("tensors", "want"),
    [
        ([build_tensor("x", [1.0, 2.0], shape=[1, 2]), build_tensor("acid", [1.0])], "acid: is given twice"),
        ([build_tensor("x", [1.0, 2.0], shape=[1, 2])] * 2, "x: all features are given twice"),
        ([build_tensor("x", [1.0, 2.0, 3.0], shape=[1, 3])], "x: has shape [1, 3]; the model has 2 features"),
        ([build_tensor("x", [1, 2], "BYTES", [1, 2])], "x: has datatype BYTES"),
    ],
)
def test_a_matrix_that_does_not_fit_is_refused(tensors, want):
    with pytest.raises(RequestError) as caught:
        parse(build_body(*tensors), NUMERIC)
    assert caught.value.message.startswith(want)


def test_a_matrix_of_the_wrong_width_or_beside_its_own_columns_is_refused():
    with pytest.raises(RequestError, match="2 features"):
        parse(build_body(build_tensor("x", [1.0, 2.0, 3.0], shape=[1, 3])), NUMERIC)
    with pytest.raises(RequestError, match="alcohol: is given twice"):
        parse(
            build_body(build_tensor("x", [1.0, 2.0], shape=[1, 2]), {**ALCOHOL, "shape": [1], "data": [1.0]}),
            NUMERIC,
        )


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "shape", "datatype", "data", "inputs", "id", "k"]), inner, max_size=5
        )
    ),
    max_leaves=12,
)
TENSOR = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["alcohol", "grape", "x"]),
        "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON,
        "datatype": st.sampled_from(["FP64", "INT64", "BYTES", "BOOL", "?"]),
        "data": st.lists(JSON, max_size=4) | JSON,
    }
)


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {"inputs": st.lists(TENSOR, max_size=3) | JSON}, optional={"outputs": JSON, "id": JSON}
    )
)
def test_whatever_the_json_nothing_but_a_request_error_comes_of_it(document):
    for schema in (MIXED, NUMERIC):
        with suppress(RequestError, InvalidInput):
            schema.check(parse(json.dumps(document).encode(), schema).rows)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_whatever_the_bytes_nothing_but_a_request_error_comes_of_it(body):
    with pytest.raises(RequestError):
        parse(body)


@settings(deadline=None)
@given(
    st.binary(max_size=60),
    st.integers(0, 200),
    st.sampled_from([*DATATYPES]),
    st.lists(st.integers(-1, 9), max_size=3),
)
def test_whatever_the_raw_bytes_nothing_but_a_request_error_comes_of_it(raw, json_bytes, datatype, shape):
    body, right = build_binary(build_raw("alcohol", raw, datatype, shape), (GRAPE, b""))
    for length in (json_bytes, right):
        with suppress(RequestError, InvalidInput):
            MIXED.check(parse(body, MIXED, length).rows)
