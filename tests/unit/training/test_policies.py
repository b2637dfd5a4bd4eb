import math

import pandas as pd
import perennial_bundle
import pytest
from perennial_bundle import Column, Schema
from perennial_training.policies import as_sent, as_trained_on, inherited
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

OUTPUTS = (Column(name="predict", datatype="FP64", role="Output"),)
AGE = Column(
    name="age",
    datatype="FP64",
    minimum=0,
    maximum=100,
    out_of_range="Impute",
    missing="Impute",
    impute_value=40.0,
)
CITY = Column(
    name="city",
    datatype="BYTES",
    categories=("a", "b"),
    unknown_category="Impute",
    missing="Impute",
    impute_value="a",
)
SENT = {"age": [30.0, None, 900.0], "city": ["b", "c", None]}


def build_schema(*columns):
    return Schema(inputs=columns or (AGE, CITY), outputs=OUTPUTS)


def test_logged_rows_are_read_as_they_were_sent():
    got = as_sent(build_schema()).validate(SENT)
    assert got.city.tolist()[:2] == ["b", "c"]
    assert got.age.tolist() == [30.0, pytest.approx(math.nan, nan_ok=True), 900.0]


def test_a_candidate_learns_new_categories_and_never_sees_what_is_imputed_in_service():
    schema = build_schema()
    got = as_trained_on(schema, as_sent(schema).validate(SENT))
    assert got.to_dict("list") == {"age": [30.0, 40.0, 100.0], "city": ["b", "c", "a"]}


def test_a_candidate_inherits_what_is_imputed():
    frame = as_sent(build_schema()).validate(SENT)
    assert inherited(build_schema(), frame) == {
        "age": {
            "out_of_range": "Impute",
            "minimum": 0.0,
            "maximum": 100.0,
            "missing": "Impute",
            "impute_value": 40.0,
        },
        # Nobody sends the champion's "a" any more.
        "city": {"unknown_category": "Impute", "missing": "Impute"},
    }


def test_a_candidate_puts_the_author_s_value_in_the_place_of_unknown_ones_only():
    column = CITY.changed(missing="Reject")
    got = inherited(build_schema(column), pd.DataFrame({"city": ["b", "b", "a"]}))
    assert got == {"city": {"unknown_category": "Impute", "impute_value": "a"}}


def test_a_range_that_is_enforced_grows_with_the_data_and_never_shrinks():
    column = Column(name="x", datatype="FP64", minimum=0, maximum=10, out_of_range="Reject")
    got = inherited(build_schema(column), pd.DataFrame({"x": [3.0, 12.0, math.nan]}))
    assert got == {"x": {"out_of_range": "Reject", "minimum": 0.0, "maximum": 12.0}}


def test_a_column_of_too_many_strings_no_longer_refuses_unknown_ones():
    column = Column(name="x", datatype="BYTES", categories=("a",), unknown_category="Reject")
    assert inherited(build_schema(column), pd.DataFrame({"x": ["a", "b"]})) == {
        "x": {"unknown_category": "Reject"}
    }
    assert inherited(build_schema(column), pd.DataFrame({"x": [f"v{i}" for i in range(1001)]})) == {}


def test_a_candidate_is_saved_with_the_champions_policies(tmp_path):
    schema = build_schema()
    sent = as_sent(schema).validate({name: values * 20 for name, values in SENT.items()})
    x = as_trained_on(schema, sent)
    encode = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    model = make_pipeline(encode, LinearRegression()).fit(x, range(60))
    candidate = perennial_bundle.save(model, sent, tmp_path / "b", policies=inherited(schema, sent))
    columns = candidate.schema.by_name
    assert (columns["age"].missing, columns["age"].maximum) == ("Impute", 100.0)
    assert columns["city"].categories == ("b", "c")
    assert candidate.reference().sent["age"][1] is None
    assert candidate.predict(candidate.schema.impute(sent))["predict"].shape == (60,)
