import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perennial_bundle import Column, InvalidInput, Schema
from perennial_server.errors import RequestError
from perennial_server.origin import Origin
from perennial_server.protocol.codec import (
    describe_model,
    parse_request,
    render_answer,
    render_error,
    render_log_entry,
)

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


def parse(body, schema=MIXED):
    return parse_request(body, schema, max_rows=10)


def test_a_tensor_for_each_column_becomes_columns():
    got = parse(
        build_body(ALCOHOL, build_tensor("grape", ["a", "b"], "BYTES", [2, 1]), id="x", parameters={"k": 1})
    )
    assert got.columns == {"alcohol": [11.0, 12.0], "grape": ["a", "b"]}
    assert (got.id, got.parameters, got.outputs) == ("x", {"k": 1}, ("predict",))


@pytest.mark.parametrize("data", [[1.0, 2.0, 3.0, 4.0], [[1.0, 2.0], [3.0, 4.0]]])
def test_one_matrix_feeds_all_features_row_by_row(data):
    got = parse(build_body(build_tensor("x", data, shape=[2, 2]), WHEN), NUMERIC)
    assert got.columns == {"alcohol": [1.0, 3.0], "acid": [2.0, 4.0], "when": ["2013-01-01", "2013-01-02"]}


def test_a_column_may_be_nested_and_of_another_numeric_datatype():
    got = parse(build_body(build_tensor("alcohol", [[11], [12]], "INT32", [2, 1]), GRAPE))
    assert got.columns["alcohol"] == [11, 12]


def test_only_the_outputs_asked_for_come_back_in_their_order():
    got = parse(build_body(ALCOHOL, WHEN, outputs=[{"name": "probability"}, {"name": "predict"}]), NUMERIC)
    assert got.outputs == ("probability", "predict")


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
        (build_body(ALCOHOL, GRAPE, id=7), "id"),
        (build_body(ALCOHOL, GRAPE, id="x" * 2000), "id"),
    ],
)
def test_a_malformed_request_is_refused_with_the_field_at_fault(body, want):
    with pytest.raises(RequestError) as caught:
        parse(body)
    assert caught.value.status == 400
    assert caught.value.message.startswith(want) or (want == "JSON" and "isn't JSON" in caught.value.message)


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
            schema.validate(parse(json.dumps(document).encode(), schema).columns)


@given(st.binary(max_size=200))
def test_whatever_the_bytes_nothing_but_a_request_error_comes_of_it(body):
    with pytest.raises(RequestError):
        parse(body)


def test_the_answer_echoes_id_and_parameters_and_names_datatypes_and_shapes():
    query = parse(build_body(ALCOHOL, WHEN, id="x", parameters={"k": True}), NUMERIC)
    outputs = {"predict": np.array([0, 1]), "probability": np.array([[0.5, 0.2, 0.3], [0.1, 0.2, 0.7]])}
    got = json.loads(render_answer(outputs, NUMERIC, query, model_name="wine", model_version="wine-1"))
    assert got == {
        "model_name": "wine",
        "model_version": "wine-1",
        "id": "x",
        "parameters": {"k": True},
        "outputs": [
            {"name": "predict", "shape": [2], "datatype": "INT64", "data": [0, 1]},
            {
                "name": "probability",
                "shape": [2, 3],
                "datatype": "FP64",
                "data": [0.5, 0.2, 0.3, 0.1, 0.2, 0.7],
            },
        ],
    }


def test_model_metadata_gives_names_datatypes_and_shapes():
    got = describe_model(NUMERIC, name="wine", version="wine-1", n_classes=3)
    assert got["inputs"][0] == {"name": "alcohol", "datatype": "FP64", "shape": [-1]}
    assert [output["shape"] for output in got["outputs"]] == [[-1], [-1, 3]]


def test_an_error_with_half_a_character_is_still_json():
    assert json.loads(render_error("name \ud800: wrong"))["error"].startswith("name")


def test_a_log_entry_lacks_excluded_columns():
    got = json.loads(
        render_log_entry(
            Origin("id"), 1.5, {"a": [1], "ssn": ["x"]}, {"predict": np.array([1])}, frozenset({"ssn"})
        )
    )
    assert got == {"prediction_id": "id", "time": 1.5, "inputs": {"a": [1]}, "outputs": {"predict": [1]}}


def test_a_log_entry_says_whose_request_it_was_and_whether_it_was_mirrored():
    origin = Origin("id", client="c0ffee", is_shadow=True)
    got = json.loads(render_log_entry(origin, 1.5, {"a": [1]}, {"predict": np.array([1])}, frozenset()))
    assert (got["client"], got["shadow"]) == ("c0ffee", True)
