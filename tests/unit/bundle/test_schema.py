import numpy as np
import pytest
from perennial_bundle import Column, InvalidInput, Schema, event_time_seconds
from pydantic import ValidationError

OUTPUTS = (Column(name="predict", datatype="FP64", role="Output"),)


def build_schema(*columns):
    return Schema(inputs=columns, outputs=OUTPUTS)


def test_rows_come_out_in_the_schemas_order_and_dtypes(saved, request_columns):
    got = saved.schema.validate(dict(reversed(request_columns.items())))
    assert list(got.columns) == ["wind", "hour", "carrier", "when"]
    assert [str(d) for d in got.dtypes[:2]] == ["float64", "int64"]


def test_a_missing_value_becomes_nan_where_it_is_allowed(saved, request_columns):
    got = saved.schema.validate(
        request_columns | {"wind": [None, 1], "hour": [None, 2], "carrier": [None, "AA"]}
    )
    assert got.isna().sum().tolist() == [1, 1, 1, 0]
    assert str(got.dtypes["hour"]) == "float64"


@pytest.mark.parametrize(
    ("column", "values", "want"),
    [
        ("wind", ["9", "10"], "WrongType"),
        ("wind", [True, False], "WrongType"),
        ("wind", [float("inf"), 1.0], "NotFinite"),
        ("wind", [10**400, 1], "OutOfRange"),
        ("wind", [[1.0], [2.0]], "WrongType"),
        ("wind", [{"a": 1}, 2.0], "WrongType"),
        ("wind", [1.0], "LengthMismatch"),
        ("hour", [1.5, 2], "WrongType"),
        ("hour", [2**63, 1], "OutOfRange"),
        ("hour", [1e300, 1], "OutOfRange"),
        ("carrier", [1, 2], "WrongType"),
        ("carrier", ["x" * 100_000, "AA"], "TooLong"),
        ("when", [None, None], "MissingValue"),
        ("when", ["yesterday", "2013-01-01"], "WrongType"),
        ("when", ["2013-13-01T00:00:00Z", "2013-01-01"], "WrongType"),
        ("typo", [1, 2], "UnknownColumn"),
    ],
)
def test_a_fault_names_its_column_and_reason(saved, request_columns, column, values, want):
    with pytest.raises(InvalidInput) as caught:
        saved.schema.validate(request_columns | {column: values})
    blamed = "hour" if want == "LengthMismatch" else column
    assert (caught.value.field, caught.value.reason) == (blamed, want)
    assert len(str(caught.value)) < 400


def test_a_feature_or_event_time_left_out_is_missing_but_a_passthrough_is_not(saved, request_columns):
    saved.schema.validate(request_columns)
    for name in ("wind", "when"):
        with pytest.raises(InvalidInput, match="required"):
            saved.schema.validate({k: v for k, v in request_columns.items() if k != name})


def test_no_rows_are_refused(saved, request_columns):
    with pytest.raises(InvalidInput) as caught:
        saved.schema.validate({name: [] for name in request_columns})
    assert caught.value.reason == "EmptyInput"


def test_a_range_counts_only_where_it_is_enforced():
    strict = Column(name="x", datatype="FP64", minimum=0, maximum=1, out_of_range="Reject")
    with pytest.raises(InvalidInput) as caught:
        build_schema(strict).validate({"x": [0.5, 1.5]})
    assert caught.value.reason == "OutOfRange"
    build_schema(strict.model_copy(update={"out_of_range": "Pass"})).validate({"x": [0.5, 1.5]})


def test_an_unknown_category_is_refused_only_where_the_schema_says_so():
    column = Column(name="c", datatype="BYTES", categories=("a", "b"), unknown_category="Reject")
    with pytest.raises(InvalidInput) as caught:
        build_schema(column).validate({"c": ["z"]})
    assert (caught.value.field, caught.value.reason) == ("c", "UnknownCategory")
    build_schema(column.model_copy(update={"unknown_category": "Pass"})).validate({"c": ["z"]})


def test_whole_floats_pass_as_integers_and_integers_as_floats():
    schema = build_schema(Column(name="i", datatype="INT64"), Column(name="f", datatype="FP32"))
    got = schema.validate({"i": [3.0], "f": [3]})
    assert [str(d) for d in got.dtypes] == ["int64", "float32"]


def test_a_float_too_large_for_fp32_is_refused_not_made_infinite():
    with pytest.raises(InvalidInput) as caught:
        build_schema(Column(name="f", datatype="FP32")).validate({"f": [1e300]})
    assert caught.value.reason == "NotFinite"


def test_numpy_arrays_are_rows_too():
    got = build_schema(Column(name="f", datatype="FP64")).validate({"f": np.array([1.0, 2.0])})
    assert got.f.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "columns",
    [
        [],
        [{"name": "a", "datatype": "FP64"}, {"name": "a", "datatype": "FP64"}],
        [{"name": "__label__", "datatype": "FP64"}],
        [{"name": "a", "datatype": "FP64", "role": "Passthrough"}],
        [{"name": "a", "datatype": "FP128"}],
        [{"name": "a", "datatype": "FP64", "minimum": 2, "maximum": 1}],
        [{"name": "a", "datatype": "BYTES", "categorical": True}],
        [{"name": "a", "datatype": "FP64", "surprise": 1}],
    ],
)
def test_a_schema_that_makes_no_sense_is_refused(columns):
    with pytest.raises(ValidationError):
        Schema.model_validate({"inputs": columns, "outputs": [{"name": "predict", "datatype": "FP64"}]})


def test_event_times_are_seconds_whatever_their_spelling():
    got = event_time_seconds(
        ["1970-01-01T00:01:00Z", "1970-01-01T01:01:00+01:00", "1970-01-01T00:01:00", 60, 60.0]
    )
    assert got.tolist() == [60.0] * 5
