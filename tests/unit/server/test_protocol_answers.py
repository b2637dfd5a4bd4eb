import json

import numpy as np
import pytest
from perennial_bundle import Column, Flag, Rows, Schema
from perennial_server.protocol.answers import AnswerWriter, render_flags
from perennial_server.protocol.metadata import describe_model, describe_server, render_error
from perennial_server.protocol.query import Query, Wish

SCHEMA = Schema(
    inputs=(Column(name="alcohol", datatype="FP64"),),
    outputs=(
        Column(name="predict", datatype="INT64", role="Output"),
        Column(name="probability", datatype="FP64", role="Output"),
        Column(name="style", datatype="BYTES", role="Output"),
        Column(name="sweet", datatype="BOOL", role="Output"),
    ),
)
OUTPUTS = {
    "predict": np.array([0, 1]),
    "probability": np.array([[0.5, 0.2, 0.3], [0.1, np.nan, 0.7]]),
    "style": np.array(["dry", 'é"'], dtype=object),
    "sweet": np.array([True, False]),
}


def build_query(*outputs, **changes):
    values = {"id": None, "parameters": None, "rows": Rows(2), "outputs": outputs}
    return Query(**(values | changes))


def write(query, flags=()):
    return AnswerWriter(SCHEMA, model_name="wine", model_version="wine-1").write(OUTPUTS, query, flags)


def test_the_answer_echoes_id_and_parameters_and_names_datatypes_and_shapes():
    query = build_query(
        Wish("predict"),
        Wish("probability"),
        Wish("style"),
        Wish("sweet"),
        id="\U0001f377",
        parameters={"k": True, "binary_data_output": False},
    )
    got = write(query)
    assert got.json_bytes is None
    assert json.loads(got.body) == {
        "model_name": "wine",
        "model_version": "wine-1",
        "id": "\U0001f377",
        "parameters": {"k": True},
        "outputs": [
            {"name": "predict", "datatype": "INT64", "shape": [2], "data": [0, 1]},
            {
                "name": "probability",
                "datatype": "FP64",
                "shape": [2, 3],
                "data": [0.5, 0.2, 0.3, 0.1, None, 0.7],
            },
            {"name": "style", "datatype": "BYTES", "shape": [2], "data": ["dry", 'é"']},
            {"name": "sweet", "datatype": "BOOL", "shape": [2], "data": [True, False]},
        ],
    }


def test_an_answer_without_id_and_parameters_has_neither():
    assert set(json.loads(write(build_query(Wish("predict"))).body)) == {
        "model_name",
        "model_version",
        "outputs",
    }


def test_raw_outputs_follow_the_json_in_their_order():
    got = write(build_query(Wish("style", binary=True), Wish("predict"), Wish("probability", binary=True)))
    document = json.loads(got.body[: got.json_bytes])
    sizes = [output.get("parameters", {}).get("binary_data_size") for output in document["outputs"]]
    assert sizes == [14, None, 48]
    assert [output.get("data") for output in document["outputs"]] == [None, [0, 1], None]
    tail = got.body[got.json_bytes :]
    assert tail[:14] == b'\x03\0\0\0dry\x03\0\0\0\xc3\xa9"'
    np.testing.assert_array_equal(np.frombuffer(tail[14:]).reshape(2, 3), OUTPUTS["probability"])


def test_a_view_of_a_batch_is_written_as_its_own_rows():
    batch = {"predict": np.arange(6), "probability": np.arange(12.0).reshape(6, 2)}
    cut = {name: values[2:4] for name, values in batch.items()}
    writer = AnswerWriter(SCHEMA, model_name="wine", model_version="wine-1")
    got = json.loads(writer.write(cut, build_query(Wish("predict"), Wish("probability"))).body)
    assert [output["data"] for output in got["outputs"]] == [[2, 3], [4.0, 5.0, 6.0, 7.0]]


def test_flags_are_among_the_parameters_each_named_once():
    flags = [Flag(row, "acid", "Missing", "Imputed") for row in range(3)]
    flags.append(Flag(0, "grape", "UnknownCategory", "Passed"))
    got = json.loads(write(build_query(Wish("predict"), parameters={"flags": "mine"}), flags).body)
    assert got["parameters"] == {"flags": "acid:Missing:Imputed,grape:UnknownCategory:Passed"}


def test_no_more_flags_are_named_than_a_client_reads():
    flags = [Flag(0, f"c{i}", "OutOfRange", "Passed") for i in range(4096)]
    assert render_flags(flags).count(",") == 31


def test_the_server_names_the_extension_that_it_has():
    assert describe_server()["extensions"] == ["binary_tensor_data"]


@pytest.mark.parametrize(
    ("model_format", "want"),
    [("skops", "sklearn_skops"), ("onnx", "onnxruntime_onnx"), ("ensemble", "ensemble")],
)
def test_model_metadata_gives_platform_names_datatypes_and_shapes(model_format, want):
    got = describe_model(SCHEMA, name="wine", version="wine-1", model_format=model_format, n_classes=3)
    assert (got["name"], got["versions"], got["platform"]) == ("wine", ["wine-1"], want)
    assert got["inputs"] == [{"name": "alcohol", "datatype": "FP64", "shape": [-1]}]
    assert [output["shape"] for output in got["outputs"]] == [[-1], [-1, 3], [-1], [-1]]


def test_an_error_with_half_a_character_is_still_json():
    assert json.loads(render_error("name \ud800: wrong"))["error"].startswith("name")
