import numpy as np
import pytest
from perennial_bundle import Schema
from perennial_bundle.encoding import build_encoder

SCHEMA = Schema.model_validate(
    {
        "inputs": [
            {"name": "x", "datatype": "FP64"},
            {"name": "kind", "datatype": "BYTES"},
            {"name": "flag", "datatype": "BOOL"},
            {"name": "at", "datatype": "FP64", "role": "EventTime"},
        ],
        "outputs": [{"name": "predict", "datatype": "INT64", "role": "Output"}],
    }
)
REFERENCE = {
    "x": [1.0, 2.0, None, 4.0],
    "kind": ["a", "a", "b", None],
    "flag": [True, False, True, True],
    "at": [1.0, 2.0, 3.0, 4.0],
}


def test_numbers_categories_and_missing_values_have_columns_of_their_own():
    encoder = build_encoder(SCHEMA, REFERENCE)
    assert encoder.names == ("x", "kind", "flag")
    got = encoder.encode(REFERENCE)
    want = [
        [1.0, 0, 1, 0, 0, 0, 1, 0],
        [2.0, 0, 1, 0, 0, 0, 0, 0],
        [np.nan, 1, 0, 1, 0, 0, 1, 0],
        [4.0, 0, 0, 0, 0, 1, 1, 0],
    ]
    np.testing.assert_array_equal(got, want)
    assert encoder.owner == (0, 0, 1, 1, 1, 1, 2, 2)


def test_an_unknown_category_counts_as_other():
    encoder = build_encoder(SCHEMA, REFERENCE)
    got = encoder.encode_rows([{"x": 1.0, "kind": "new", "flag": True}])
    assert got[0, 2:6].tolist() == [0.0, 0.0, 1.0, 0.0]


def test_rows_that_lack_a_column_have_it_missing():
    got = build_encoder(SCHEMA, REFERENCE).encode_rows([{"kind": "a", "flag": True}])
    assert np.isnan(got[0, 0])
    assert got[0, 1] == 1.0


@pytest.mark.parametrize("value", ["tall", "12", "", [1.0], {}])
def test_what_is_no_number_is_missing_in_a_column_of_numbers(value):
    got = build_encoder(SCHEMA, REFERENCE).encode_rows([{"x": value, "kind": "a", "flag": "yes"}])
    assert np.isnan(got[0, [0, 6]]).all()
    assert got[0, [1, 7]].tolist() == [1.0, 1.0]


def test_imputing_puts_the_references_median():
    encoder = build_encoder(SCHEMA, REFERENCE)
    assert encoder.impute(encoder.encode(REFERENCE))[2, 0] == 2.0


def test_a_feature_has_the_largest_statistic_of_its_columns():
    encoder = build_encoder(SCHEMA, REFERENCE)
    columns = np.array([0.1, 0.4, 0.2, np.nan, 0.3, 0.0, np.nan, np.nan])
    np.testing.assert_array_equal(encoder.by_feature(columns), [0.4, 0.3, np.nan])


def test_excluded_columns_are_not_watched():
    assert build_encoder(SCHEMA, REFERENCE, ["x", "flag"]).names == ("kind",)
    assert build_encoder(SCHEMA, REFERENCE, ["x", "flag", "kind"]) is None


def test_only_the_most_frequent_categories_have_a_column_whatever_the_order():
    values = [f"k{i}" for i in range(50) for _ in range(50 - i)]
    schema = Schema.model_validate(
        {
            "inputs": [{"name": "kind", "datatype": "BYTES"}],
            "outputs": [{"name": "predict", "datatype": "INT64"}],
        }
    )
    one, other = (build_encoder(schema, {"kind": v}) for v in (values, values[::-1]))
    assert one.features == other.features
    assert len(one.owner) == 22


@pytest.mark.parametrize("values", [[None, None], [1, 2]])
def test_integers_and_all_missing_columns_encode(values):
    schema = Schema.model_validate(
        {
            "inputs": [{"name": "n", "datatype": "INT64"}],
            "outputs": [{"name": "predict", "datatype": "INT64"}],
        }
    )
    encoder = build_encoder(schema, {"n": values})
    assert np.isfinite(encoder.impute(encoder.encode({"n": values}))).all()


def test_nan_and_infinity_count_as_missing_and_huge_numbers_stay_finite_when_squared():
    encoder = build_encoder(SCHEMA, REFERENCE)
    rows = [{"x": x, "kind": "a", "flag": True} for x in (float("nan"), float("inf"), -float("inf"), 1e308)]
    got = encoder.encode_rows(rows)
    assert np.isnan(got[:3, 0]).all()
    assert got[:, 1].tolist() == [1.0, 1.0, 1.0, 0.0]
    assert np.isfinite(got[3, 0] ** 2)


def test_an_empty_text_is_a_category_and_not_a_missing_value():
    encoder = build_encoder(SCHEMA, {**REFERENCE, "kind": ["", "", "b", None]})
    got = encoder.encode_rows([{"x": 1.0, "kind": "", "flag": True}, {"x": 1.0, "kind": None, "flag": True}])
    assert got[:, 2].tolist() == [1.0, 0.0]
    assert got[:, 5].tolist() == [0.0, 1.0]


def test_a_compact_matrix_has_one_code_for_a_category_and_tells_missing_apart():
    encoder = build_encoder(SCHEMA, REFERENCE)
    got = encoder.compact(encoder.encode(REFERENCE))
    want = [
        [1.0, 0, 0, 0, 1, 0],
        [2.0, 0, 0, 0, 0, 0],
        [np.nan, 1, 1, 0, 1, 0],
        [4.0, 0, np.nan, 1, 1, 0],
    ]
    np.testing.assert_array_equal(got, want)
    assert encoder.compact_is_category == (False, False, True, False, False, False)
    np.testing.assert_array_equal(
        encoder.by_feature(np.array([0.1, 0.4, 0.2, np.nan, np.nan, np.nan]), compact=True),
        [0.4, 0.2, np.nan],
    )


def test_chosen_features_keep_their_columns_and_medians():
    encoder = build_encoder(SCHEMA, REFERENCE)
    chosen, columns = encoder.choose(["flag", "x"])
    assert chosen.names == ("x", "flag")
    np.testing.assert_array_equal(chosen.encode(REFERENCE), encoder.encode(REFERENCE)[:, columns])
    np.testing.assert_array_equal(chosen.fill, encoder.fill[columns])


NUMBERS = [
    [1.0, np.nan, 3.0],
    [np.inf, -np.inf, 0.0],
    [1e308, -1e308, 2.0],
    [-1e100, 1e-300, 7.0],
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.bool_])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_a_matrix_of_numbers_encodes_as_its_columns(dtype, order):
    names = ["c", "a", "b"]
    schema = Schema.model_validate(
        {
            "inputs": [{"name": name, "datatype": "FP64"} for name in names],
            "outputs": [{"name": "predict", "datatype": "INT64"}],
        }
    )
    matrix = np.array(NUMBERS).astype(dtype, order=order)
    encoder = build_encoder(schema, {name: [1.0, 2.0] for name in names})
    before = matrix.copy()
    got = encoder.encode_matrix(matrix)
    want = encoder.encode({name: matrix[:, i] for i, name in enumerate(names)})
    np.testing.assert_array_equal(got, want)
    assert (got.dtype, got.flags.c_contiguous) == (want.dtype, want.flags.c_contiguous)
    np.testing.assert_array_equal(matrix, before)


def test_only_numbers_may_come_as_a_matrix():
    encoder = build_encoder(SCHEMA, REFERENCE)
    assert not encoder.takes_matrix
    assert encoder.choose(["x", "flag"])[0].takes_matrix
