"""Rows into an image's JSON, and its answers into outputs."""

import json

import numpy as np
import pytest
from perennial_bundle import Rows
from perennial_server.adapting.declaration import Declaration
from perennial_server.adapting.dialect import AnswerMismatch, read_answer, write_request
from pydantic import ValidationError

INPUTS = [
    {"name": "wind", "datatype": "FP64", "missing": "Pass", "minimum": 0.0, "outOfRange": "Reject"},
    {"name": "carrier", "datatype": "BYTES", "categories": ["AA", "UA"], "missing": "Pass"},
    {"name": "gate", "datatype": "INT64", "missing": "Pass"},
    {"name": "when", "datatype": "BYTES", "role": "EventTime", "missing": "Pass"},
]
OUTPUTS = [{"name": "predict", "datatype": "INT64"}, {"name": "probability", "datatype": "FP64"}]


def declare(outputs=OUTPUTS, **changes):
    return Declaration.model_validate(
        {"format": "container", "port": 8000, "inputs": INPUTS, "outputs": outputs, **changes}
    )


def frame_of(declaration, **columns):
    rows = {
        "wind": [1.5, None],
        "carrier": ["AA", None],
        "gate": [3, 4],
        "when": ["2013-03-01T00:00:00Z"] * 2,
    }
    return declaration.columns.check(Rows(2, rows | columns)).frame


@pytest.mark.parametrize(
    ("request_form", "want"),
    [
        ({}, {"wind": [1.5, None], "carrier": ["AA", None], "gate": [3, 4]}),
        (
            {"shape": "Columns", "field": "rows"},
            {"rows": {"wind": [1.5, None], "carrier": ["AA", None], "gate": [3, 4]}},
        ),
        (
            {"shape": "Rows"},
            [{"wind": 1.5, "carrier": "AA", "gate": 3}, {"wind": None, "carrier": None, "gate": 4}],
        ),
        (
            {"shape": "Matrix", "field": "instances"},
            {"instances": [[1.5, "AA", 3], [None, None, 4]]},
        ),
    ],
)
def test_features_are_sent_in_the_form_that_is_declared(request_form, want):
    declaration = declare(request=request_form)
    assert json.loads(write_request(declaration, frame_of(declaration))) == want


def test_missing_numbers_and_booleans_are_null():
    inputs = [{"name": "flag", "datatype": "BOOL", "missing": "Pass"}, INPUTS[2]]
    declaration = declare(inputs=inputs)
    frame = declaration.columns.check(Rows(2, {"flag": [True, None], "gate": [None, 4]})).frame
    assert json.loads(write_request(declaration, frame)) == {"flag": [True, None], "gate": [None, 4]}


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ({}, {"predict": [0, 1], "probability": [0.25, 0.75], "more": "is left aside"}),
        ({"field": "out"}, {"out": {"predict": [0, 1.0], "probability": [0.25, 0.75]}}),
        ({"shape": "Rows"}, [{"predict": 0, "probability": 0.25}, {"predict": 1, "probability": 0.75}]),
        # As R's jsonlite writes lists, where every value is a vector of one.
        ({}, {"predict": [[0], [1]], "probability": [[0.25], [0.75]]}),
        (
            {"shape": "Rows"},
            [{"predict": [0], "probability": [0.25]}, {"predict": [1], "probability": [0.75]}],
        ),
    ],
)
def test_answers_are_read_in_the_form_that_is_declared(response, answer):
    got = read_answer(declare(response=response), json.dumps(answer).encode(), 2)
    assert got["predict"].tolist() == [0, 1]
    assert got["predict"].dtype == np.int64
    assert got["probability"].tolist() == [0.25, 0.75]


@pytest.mark.parametrize("answer", [0.5, [0.5], [[0.5]]])
def test_one_row_may_be_answered_by_a_value_or_a_list_of_one(answer):
    declaration = declare(outputs=OUTPUTS[1:], response={"shape": "List"})
    assert read_answer(declaration, json.dumps(answer).encode(), 1)["probability"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("response", "body", "says"),
    [
        ({}, b"<html>", "isn't JSON"),
        ({}, b'{"predict": [0, 1]}', "no column 'probability'"),
        ({}, b"[0, 1]", "no column 'predict'"),
        ({"field": "out"}, b'{"result": []}', "no field 'out'"),
        ({}, b'{"predict": [0], "probability": [0.5, 0.5]}', "predict has 1 values for 2 rows"),
        ({}, b'{"predict": 0, "probability": [0.5, 0.5]}', "predict isn't a list of 2 values"),
        ({}, b'{"predict": [0, null], "probability": [0.5, 0.5]}', "row 1 has null"),
        ({}, b'{"predict": [0, 1], "probability": ["NA", 0.5]}', 'row 0 has "NA"'),
        ({}, b'{"predict": [0, 0.5], "probability": [0.5, 0.5]}', "predict is INT64, and row 1 has 0.5"),
        ({}, b'{"predict": [0, 1e300], "probability": [0.5, 0.5]}', "row 1 has 1e+300"),
        ({}, b'{"predict": [0, true], "probability": [0.5, 0.5]}', "row 1 has true"),
        ({"shape": "Rows"}, b'[{"predict": 0, "probability": 1}, 3]', "isn't a list of objects"),
        ({}, b'{"predict": [0, [1, 2]], "probability": [0.5, 0.5]}', "row 1 has [1,2]"),
    ],
)
def test_another_answer_is_refused_with_the_place(response, body, says):
    with pytest.raises(AnswerMismatch) as raised:
        read_answer(declare(response=response), body, 2)
    assert says in str(raised.value)


def test_strings_and_booleans_come_as_they_are():
    outputs = [{"name": "predict", "datatype": "BYTES"}, {"name": "sure", "datatype": "BOOL"}]
    got = read_answer(declare(outputs=outputs), b'{"predict": ["a", "b"], "sure": [true, false]}', 2)
    assert got["predict"].tolist() == ["a", "b"]
    assert got["sure"].tolist() == [True, False]


def test_list_of_two_outputs_is_no_declaration():
    with pytest.raises(ValidationError, match="one output"):
        declare(response={"shape": "List"})
