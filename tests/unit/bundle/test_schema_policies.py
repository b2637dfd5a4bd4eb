"""Each policy for each datatype: what the model is given, and what is flagged."""

import math

import numpy as np
import pandas as pd
import pytest
from perennial_bundle import Column, Flag, InvalidInput, Rows
from pydantic import ValidationError

from .test_schema import build_schema

NUMBERS = [
    ("INT64", [2, 9, -9], [2, 3, 0]),
    ("FP32", [1.5, 9.5, -1.0], [1.5, 3.5, -0.5]),
    ("FP64", [0.0, 9.5, -1.0], [0.0, 3.5, -0.5]),
]
MISSING = [
    ("BOOL", [False, None], True, bool),
    ("INT64", [3, None], 7, np.int64),
    ("FP32", [1.5, None], 0.5, np.float32),
    ("FP64", [1.5, None], 0.5, np.float64),
    ("BYTES", ["a", None], "b", object),
]


def check(column, values):
    return build_schema(column).check(Rows(len(values), {"x": values}))


def flagged(checked):
    return [(flag.row, flag.kind, flag.action) for flag in checked.flags]


@pytest.mark.parametrize(("datatype", "values", "clipped"), NUMBERS)
def test_a_number_out_of_range_is_refused_clipped_or_passed(datatype, values, clipped):
    column = Column(name="x", datatype=datatype, minimum=-0.5, maximum=3.5, out_of_range="Reject")
    with pytest.raises(InvalidInput, match=r"row 2 is below the minimum of -0\.5") as caught:
        check(column, values)
    assert caught.value.reason == "OutOfRange"
    imputed = check(column.changed(out_of_range="Impute"), values)
    assert imputed.frame.x.tolist() == clipped
    assert flagged(imputed) == [(1, "OutOfRange", "Imputed"), (2, "OutOfRange", "Imputed")]
    passed = check(column.changed(out_of_range="Pass"), values)
    assert passed.frame.x.tolist() == values
    assert flagged(passed) == [(1, "OutOfRange", "Passed"), (2, "OutOfRange", "Passed")]


@pytest.mark.parametrize(("datatype", "values", "value", "dtype"), MISSING)
def test_a_missing_value_is_refused_imputed_or_passed(datatype, values, value, dtype):
    column = Column(name="x", datatype=datatype, impute_value=value)
    with pytest.raises(InvalidInput, match="row 1 is null") as caught:
        check(column, values)
    assert caught.value.reason == "MissingValue"
    imputed = check(column.changed(missing="Impute"), values)
    assert imputed.frame.x.tolist() == [values[0], value]
    assert imputed.frame.x.dtype == dtype
    assert flagged(imputed) == [(1, "Missing", "Imputed")]
    passed = check(column.changed(missing="Pass"), values)
    assert passed.frame.x.isna().tolist() == [False, True]
    assert flagged(passed) == [(1, "Missing", "Passed")]


@pytest.mark.parametrize("categorical", [False, True])
def test_an_unknown_category_is_refused_imputed_or_passed(categorical):
    column = Column(
        name="x",
        datatype="BYTES",
        categories=("a", "b"),
        unknown_category="Reject",
        impute_value="b",
        categorical=categorical,
    )
    with pytest.raises(InvalidInput, match="row 1 is 'z'"):
        check(column, ["a", "z"])
    imputed = check(column.changed(unknown_category="Impute"), ["a", "z"])
    assert imputed.frame.x.tolist() == ["a", "b"]
    assert flagged(imputed) == [(1, "UnknownCategory", "Imputed")]
    passed = check(column.changed(unknown_category="Pass"), ["a", "z"])
    assert passed.frame.x.tolist() == (
        ["a", pytest.approx(math.nan, nan_ok=True)] if categorical else ["a", "z"]
    )
    assert flagged(passed) == [(1, "UnknownCategory", "Passed")]


def test_a_missing_value_that_the_data_had_too_is_no_news_unless_it_is_imputed():
    column = Column(name="x", datatype="FP64", missing="Pass", missing_seen=True, impute_value=1.0)
    assert flagged(check(column, [None])) == []
    assert flagged(check(column.changed(missing="Impute"), [None])) == [(0, "Missing", "Imputed")]


def test_a_value_to_impute_may_lie_out_of_range_and_stays_as_it_is():
    column = Column(
        name="x",
        datatype="FP64",
        minimum=0,
        maximum=1,
        out_of_range="Impute",
        missing="Impute",
        impute_value=-1.0,
    )
    assert check(column, [None, -5.0]).frame.x.tolist() == [-1.0, 0.0]


def test_whole_numbers_beyond_a_float_survive_beside_a_missing_value_that_is_imputed():
    column = Column(name="x", datatype="INT64", missing="Impute", impute_value=5)
    assert check(column, [2**53 + 1, None]).frame.x.tolist() == [2**53 + 1, 5]


def test_only_features_are_flagged():
    schema = build_schema(
        Column(name="x", datatype="FP64"),
        Column(name="at", datatype="FP64", role="EventTime", minimum=0, maximum=1),
        Column(name="note", datatype="BYTES", role="Passthrough", missing="Pass"),
    )
    got = schema.check(Rows(1, {"x": [1.0], "at": [5.0], "note": [None]}))
    assert got.flags == ()


def test_flags_come_in_the_order_of_the_columns_and_then_of_the_rows():
    bounds = {"minimum": 0, "maximum": 1, "missing": "Pass"}
    schema = build_schema(
        Column(name="i", datatype="INT64", **bounds),
        Column(name="s", datatype="BYTES", missing="Pass"),
        Column(name="f", datatype="FP64", **bounds),
    )
    got = schema.check(Rows(3, {"f": [None, 2.0, None], "s": ["a", None, "b"], "i": [5, None, 1]}))
    assert got.flags == (
        Flag(0, "i", "OutOfRange", "Passed"),
        Flag(1, "i", "Missing", "Passed"),
        Flag(1, "s", "Missing", "Passed"),
        Flag(0, "f", "Missing", "Passed"),
        Flag(1, "f", "OutOfRange", "Passed"),
        Flag(2, "f", "Missing", "Passed"),
    )


def test_a_matrix_is_judged_as_its_columns_are():
    bounds = {"minimum": 0, "maximum": 3, "out_of_range": "Impute", "missing": "Impute"}
    schema = build_schema(
        Column(name="f", datatype="FP64", impute_value=0.5, **bounds),
        Column(name="i", datatype="INT64", impute_value=1, **bounds),
        Column(name="g", datatype="FP32", impute_value=0.25, **bounds),
    )
    matrix = np.array([[1.5, 2, math.nan], [9.0, math.nan, -1.0]])
    got = schema.check(Rows(2, {}, matrix))
    assert got.frame.to_dict("list") == {"f": [1.5, 3.0], "i": [2, 1], "g": [0.25, 0.0]}
    assert [str(dtype) for dtype in got.frame.dtypes] == ["float64", "int64", "float32"]
    by_column = {"f": [1.5, 9.0], "i": [2, None], "g": [None, -1.0]}
    assert got.flags == schema.check(Rows(2, by_column)).flags
    assert matrix[1, 0] == 9.0, "what was sent is still to be logged"


@pytest.mark.parametrize(
    ("matrix", "field", "reason"),
    [
        ([[1.0, math.inf]], "g", "NotFinite"),
        ([[1.0, 1e39]], "g", "NotFinite"),
        ([[math.nan, 1.0]], "f", "MissingValue"),
        ([[1.0]], "f", "LengthMismatch"),
        ([1.0, 2.0], "f", "LengthMismatch"),
        ([[True, False]], "f", "WrongType"),
        ([["1.5", "2"]], "f", "WrongType"),
    ],
)
def test_a_fault_in_a_matrix_names_its_column(matrix, field, reason):
    schema = build_schema(Column(name="f", datatype="FP64"), Column(name="g", datatype="FP32"))
    with pytest.raises(InvalidInput) as caught:
        schema.check(Rows(1, {}, np.array(matrix)))
    assert (caught.value.field, caught.value.reason) == (field, reason)


def test_a_feature_given_twice_or_rows_that_were_not_announced_are_refused():
    schema = build_schema(Column(name="f", datatype="FP64"))
    for rows, reason in (
        (Rows(1, {"f": [1.0]}, np.ones((1, 1))), "GivenTwice"),
        (Rows(2, {"f": [1.0]}), "LengthMismatch"),
        (Rows(1, {"f": 1.0}), "WrongType"),
    ):
        with pytest.raises(InvalidInput) as caught:
            schema.check(rows)
        assert (caught.value.field, caught.value.reason) == ("f", reason)


@pytest.mark.parametrize(
    ("fields", "want"),
    [
        ({"missing": "Impute"}, "has no impute_value"),
        ({"missing": "Impute", "impute_value": "a"}, "its impute_value 'a' isn't"),
        ({"impute_value": True}, "its impute_value True isn't"),
        ({"datatype": "INT64", "impute_value": 1.5}, "its impute_value 1.5 isn't"),
        ({"datatype": "INT64", "impute_value": 2**63}, "isn't"),
        ({"datatype": "FP32", "impute_value": 1e39}, "isn't"),
        ({"datatype": "BOOL", "impute_value": 1}, "its impute_value 1 isn't"),
        ({"datatype": "BYTES", "impute_value": 1}, "its impute_value 1 isn't"),
        ({"out_of_range": "Reject"}, "neither minimum nor maximum"),
        ({"out_of_range": "Impute"}, "neither minimum nor maximum"),
        ({"datatype": "BYTES", "out_of_range": "Reject"}, "has no range"),
        ({"minimum": 2, "maximum": 1}, "minimum above its maximum"),
        ({"minimum": math.nan}, "finite"),
        ({"datatype": "INT64", "minimum": 0.2, "maximum": 0.8, "out_of_range": "Impute"}, "no whole number"),
        ({"datatype": "BYTES", "unknown_category": "Reject"}, "has no categories"),
        ({"unknown_category": "Reject"}, "has no categories"),
        ({"datatype": "BYTES", "categories": ("a",), "unknown_category": "Impute"}, "has no impute_value"),
        (
            {"datatype": "BYTES", "categories": ("a",), "unknown_category": "Impute", "impute_value": "b"},
            "isn't one of its categories",
        ),
        (
            {"datatype": "BYTES", "categories": ("a",), "categorical": True, "impute_value": "b"},
            "isn't one of its categories",
        ),
        ({"role": "Passthrough", "missing": "Impute", "impute_value": 1.0}, "isn't a Feature"),
        ({"missing": "Ignore"}, "Reject"),
    ],
)
def test_policies_that_make_no_sense_are_refused_with_what_to_change(fields, want):
    with pytest.raises(ValidationError, match=want):
        Column.model_validate({"name": "x", "datatype": "FP64"} | fields)


def test_a_column_of_an_older_bundle_keeps_its_meaning():
    older = {
        "name": "x",
        "datatype": "FP64",
        "role": "Feature",
        "minimum": None,
        "maximum": None,
        "out_of_range": "Reject",
        "categories": None,
        "unknown_category": "Reject",
        "allow_missing": True,
        "categorical": False,
    }
    got = Column.model_validate(older)
    assert (got.missing, got.missing_seen, got.allow_missing) == ("Pass", True, True)
    # It had nothing to compare with, so it has never refused anything.
    assert (got.out_of_range, got.unknown_category) == ("Pass", "Pass")
    assert flagged(check(got, [None])) == []
    assert Column.model_validate(older | {"allow_missing": False}).missing == "Reject"
    assert Column.model_validate(got.model_dump()) == got


def test_rows_as_they_were_sent_become_those_that_the_model_is_given():
    schema = build_schema(
        Column(name="f", datatype="FP64", missing="Impute", impute_value=0.5),
        Column(name="i", datatype="INT64", minimum=0, maximum=9, out_of_range="Reject"),
    )
    sent = pd.DataFrame({"f": [1.0, math.nan], "i": [3.0, math.nan]}, index=[7, 8])
    got = schema.impute(sent)
    assert got.f.tolist() == [1.0, 0.5]
    assert got.i.tolist() == [3.0, pytest.approx(math.nan, nan_ok=True)]
    assert got.index.tolist() == [7, 8]
    plain = build_schema(Column(name="f", datatype="FP64"))
    assert plain.impute(sent) is sent
