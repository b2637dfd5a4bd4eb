import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from perennial_bundle import Column, Schema
from perennial_server.errors import RequestError
from perennial_server.protocol.datatypes import INTEGERS
from perennial_server.protocol.tensors import (
    ARRAY_FROM,
    DATATYPES,
    Tensor,
    build_rows,
    decode_raw,
    encode_raw,
)

NUMBERS = [name for name in DATATYPES if name not in {"BOOL", "BYTES"}]


def build_schema(*datatypes):
    inputs = tuple(Column(name=f"c{i}", datatype=datatype) for i, datatype in enumerate(datatypes))
    return Schema(inputs=inputs, outputs=(Column(name="predict", datatype="FP64", role="Output"),))


def build(schema, *tensors, max_rows=1000):
    return build_rows([Tensor(*tensor) for tensor in tensors], schema, max_rows=max_rows)


def read_error(schema, *tensors, **more):
    with pytest.raises(RequestError) as caught:
        build(schema, *tensors, **more)
    assert caught.value.status == 400
    return caught.value.message


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_survives_the_way_out_and_in(datatype):
    if datatype == "BYTES":
        values = np.array(["", "é", "a\0b"], dtype=object)
    else:
        values = np.array([0, 1, 1], dtype=DATATYPES[datatype].dtype)
    raw = encode_raw(values, datatype)
    assert DATATYPES[datatype].size_bytes in {None, len(raw) // 3}
    got = decode_raw("x", datatype, (3,), memoryview(raw))
    assert list(got) == values.tolist()


@settings(deadline=None)
@given(arrays("<f8", st.integers(0, 20), elements=st.floats(width=64)))
def test_every_float_survives_bit_by_bit(values):
    raw = encode_raw(values, "FP64")
    assert decode_raw("x", "FP64", (len(values),), memoryview(raw)).tobytes() == values.tobytes()


@settings(deadline=None)
@given(st.lists(st.text(max_size=20), max_size=20))
def test_every_string_survives(values):
    raw = encode_raw(np.array(values, dtype=object), "BYTES")
    assert decode_raw("x", "BYTES", (len(values),), memoryview(raw)) == values


def test_raw_values_do_not_hold_on_to_the_body():
    body = bytearray(encode_raw(np.array([1.0, 2.0]), "FP64"))
    got = decode_raw("x", "FP64", (2,), memoryview(body))
    body[:] = bytes(16)
    assert got.tolist() == [1.0, 2.0]
    assert got.flags.writeable


def test_a_byte_that_is_neither_true_nor_false_is_not_bool():
    with pytest.raises(RequestError, match="x: has a byte other than 0 and 1"):
        decode_raw("x", "BOOL", (2,), memoryview(b"\x01\x02"))


@pytest.mark.parametrize("datatype", ["INT64", "FP32", "FP64"])
@pytest.mark.parametrize("given", NUMBERS)
def test_a_matrix_has_the_models_own_dtype(datatype, given):
    values = np.array([1, 2, 3, 4], dtype=DATATYPES[given].dtype)
    if datatype == "INT64" and given not in INTEGERS:
        assert "has datatype" in read_error(build_schema(datatype, datatype), ("x", given, (2, 2), values))
        return
    for some in (values, values.tolist()):
        got = build(build_schema(datatype, datatype), ("x", given, (2, 2), some))
        assert got.matrix.dtype == DATATYPES[datatype].dtype
        assert got.matrix.tolist() == [[1, 2], [3, 4]]
        assert got.columns == {}


def test_columns_of_all_features_make_the_same_matrix_in_the_schemas_order():
    schema = build_schema("FP64", "FP64")
    want = build(schema, ("x", "FP64", (2, 2), [1.0, 2.0, 3.0, None]))
    as_lists = build(schema, ("c1", "FP64", (2,), [2.0, None]), ("c0", "INT8", (2, 1), [1, 3]))
    as_arrays = build(
        schema,
        ("c1", "FP32", (2,), np.array([2, np.nan], "f4")),
        ("c0", "INT8", (2,), np.array([1, 3], "i1")),
    )
    for got in (as_lists, as_arrays):
        np.testing.assert_array_equal(got.matrix, want.matrix)
        assert got.layout() == want.layout()


@pytest.mark.parametrize(
    "values",
    [[1.0, True], [1.0, "2"], [1.0, []], [1.0, {}]],
)
def test_what_is_no_number_is_left_for_the_schema_to_name(values):
    schema = build_schema("FP64", "FP64")
    got = build(schema, ("x", "FP64", (1, 2), values))
    assert (got.matrix, got.columns) == (None, {"c0": values[:1], "c1": values[1:]})
    got = build(schema, ("c0", "FP64", (1,), values[:1]), ("c1", "FP64", (1,), values[1:]))
    assert (got.matrix, got.columns) == (None, {"c0": values[:1], "c1": values[1:]})


@pytest.mark.parametrize("values", [[1, None], [1.0, 2]])
def test_integers_with_gaps_or_points_are_left_for_the_schema(values):
    got = build(build_schema("INT64", "INT64"), ("x", "INT64", (1, 2), values))
    assert (got.matrix, got.columns) == (None, {"c0": values[:1], "c1": values[1:]})


def test_a_missing_column_is_left_for_the_schema_to_name():
    got = build(build_schema("FP64", "FP64"), ("c0", "FP64", (1,), [1.0]))
    assert (got.n, got.columns) == (1, {"c0": [1.0]})


def test_truth_values_stay_columns():
    got = build(build_schema("BOOL", "BOOL"), ("x", "BOOL", (2, 2), [True, False, None, True]))
    assert got.columns == {"c0": [True, None], "c1": [False, True]}


@pytest.mark.parametrize(("datatype", "value"), [("FP64", 0.5), ("FP32", 0.5), ("INT64", 2**60)])
def test_a_long_column_is_an_array_at_once(datatype, value):
    schema = build_schema(datatype, "BYTES")
    got = build(schema, ("c0", datatype, (ARRAY_FROM,), [value] * ARRAY_FROM), max_rows=ARRAY_FROM)
    assert got.columns["c0"].dtype == DATATYPES[datatype].dtype
    assert got.columns["c0"].tolist() == [value] * ARRAY_FROM


def test_a_long_column_with_a_fault_is_left_for_the_schema_to_name():
    values = [0.5] * ARRAY_FROM + ["x"]
    schema = build_schema("FP64", "BYTES")
    assert build(schema, ("c0", "FP64", (len(values),), values)).columns["c0"] is values


@pytest.mark.parametrize(
    ("datatype", "given", "values", "want"),
    [
        ("INT64", "UINT64", np.array([1, 2**63], "u8"), "value 1 doesn't fit into INT64"),
        ("FP32", "FP64", np.array([1, 1e300]), "value 1 doesn't fit into FP32"),
        ("INT64", "INT16", [1, -32769], "value 1 doesn't fit into INT16"),
        ("FP64", "INT16", [1, 1.5], "value 1 isn't INT16"),
        ("FP64", "INT16", [None, "x"], "value 1 isn't INT16"),
        ("FP64", "INT16", [None, True], "value 1 isn't INT16"),
    ],
)
def test_a_value_that_its_datatype_or_the_models_cannot_hold_is_refused(datatype, given, values, want):
    assert read_error(build_schema(datatype, "BYTES"), ("c0", given, (2,), values)) == f"c0: {want}"
    assert want in read_error(build_schema(datatype, datatype), ("x", given, (1, 2), values))


@pytest.mark.parametrize(("datatype", "value"), [("FP32", 1e39), ("FP32", -1e300), ("INT64", 2**63)])
def test_a_number_too_large_for_the_column_is_left_for_the_schema_to_name(datatype, value):
    got = build(build_schema(datatype), ("c0", "FP64" if datatype == "FP32" else "UINT64", (1,), [value]))
    assert (got.matrix, got.columns) == (None, {"c0": [value]})


@settings(deadline=None)
@given(st.lists(st.floats(width=32) | st.integers(-(2**24), 2**24) | st.none(), min_size=1, max_size=20))
def test_numbers_are_what_numpy_makes_of_them(values):
    for datatype, dtype in (("FP32", np.float32), ("FP64", np.float64)):
        got = build(build_schema(datatype), ("c0", datatype, (len(values),), values)).matrix
        np.testing.assert_array_equal(got[:, 0], np.array(values, dtype=dtype))
        assert got.flags.writeable


def test_an_infinity_that_was_sent_raw_is_left_for_the_schema_to_name():
    got = build(build_schema("FP32"), ("c0", "FP64", (1,), np.array([np.inf])))
    assert np.isinf(got.matrix).all()


@pytest.mark.parametrize(
    ("tensor", "want"),
    [
        (("c0", "FP64", (), [1.0]), "c0: has no shape"),
        (("c0", "FP64", (-1,), []), "c0: needs at least one row"),
        (("c0", "FP64", (1, -1, -1), [1.0]), "c0: has shape [1, -1, -1]"),
        (("c0", "FP64", (1, 1, 1, 1, 1), [1.0]), "c0: has shape [1, 1, 1, 1, 1]"),
        (("c0", "FP64", (1, 1, 1), [1.0]), "c0: has shape [1, 1, 1]; it has to be [n] or [n, 1]"),
        (("c0", "FP64", (1, 2**40), [1.0]), "c0: has shape"),
        (("c0", "FP65", (1,), [1.0]), "c0: has datatype FP65"),
        (("x" * 3, "FP64", (1,), [1.0]), "xxx: isn't an input"),
    ],
)
def test_a_shape_or_datatype_that_no_column_has_is_refused(tensor, want):
    assert read_error(build_schema("FP64"), tensor).startswith(want)


def test_no_tensors_are_no_request():
    assert read_error(build_schema("FP64")).startswith("inputs: has 0 tensors")
