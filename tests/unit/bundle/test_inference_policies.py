"""What `save` reads off the data about odd values, and what an author decides instead."""

import numpy as np
import pandas as pd
import perennial_bundle
import pytest
from perennial_bundle import InvalidBundle, Rows
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

BOTH = ["wind", "carrier"]


def build_strict_model(frame, labels):
    """A model that takes neither missing values nor unknown categories."""
    steps = make_column_transformer((StandardScaler(), ["wind"]), (OneHotEncoder(), ["carrier"]))
    return make_pipeline(steps, LogisticRegression()).fit(frame[BOTH], labels)


@pytest.fixture(scope="module")
def strict(rows):
    return build_strict_model(*rows)


def save(strict, rows, path, **options):
    frame, labels = rows
    return perennial_bundle.save(strict, frame[BOTH], path, y=labels, **options)


def test_what_to_impute_is_the_median_or_the_most_frequent(saved, rows):
    frame, _ = rows
    got = {column.name: column.impute_value for column in saved.schema.inputs}
    wind = frame.wind.sort_values(ignore_index=True)
    assert got == {
        "wind": wind[199],
        "hour": frame.hour.sort_values(ignore_index=True)[199],
        "carrier": frame.carrier.value_counts().idxmax(),
        "when": None,
        "tail": None,
    }


def test_a_policy_goes_before_what_is_read_off(strict, rows, tmp_path):
    bundle = save(
        strict,
        rows,
        tmp_path / "b",
        policies={
            "wind": {"missing": "Impute", "impute_value": 10.0, "minimum": -100, "out_of_range": "Impute"},
            "carrier": {"unknown_category": "Impute"},
        },
        enforce_ranges=["wind"],
        reject_unknown=["carrier"],
    )
    got = bundle.schema.check(Rows(2, {"wind": [None, -500.0], "carrier": ["AA", "never seen"]}))
    known = bundle.schema.by_name["carrier"].impute_value
    assert got.frame.to_dict("list") == {"wind": [10.0, -100.0], "carrier": ["AA", known]}
    assert len(got.flags) == 3
    assert bundle.predict(got.frame)["predict"].shape == (2,)


def test_rows_with_gaps_are_bundled_with_a_model_that_takes_none(strict, rows, tmp_path):
    frame, labels = rows
    gaps = frame.assign(wind=frame.wind.where(frame.index % 3 != 0))
    policies = {"wind": {"missing": "Impute"}}
    bundle = save(strict, (gaps, labels), tmp_path / "b", policies=policies)
    reference, column = bundle.reference(), bundle.schema.by_name["wind"]
    assert column.missing_seen
    assert reference.sent["wind"][:2] == [None, frame.wind[1]], "live rows are compared with what was sent"
    assert reference.inputs.wind[0] == column.impute_value
    want = strict.predict(gaps[BOTH].fillna({"wind": column.impute_value}))
    np.testing.assert_array_equal(reference.outputs["predict"], want)


def test_a_model_of_many_strings_is_not_said_to_refuse_an_unknown_one(tmp_path):
    frame = pd.DataFrame({"c": [f"c{i}" for i in range(1500)]})
    model = make_pipeline(OneHotEncoder(), LinearRegression()).fit(frame, range(1500))
    column = perennial_bundle.save(model, frame, tmp_path / "b").schema.by_name["c"]
    assert (column.categories, column.unknown_category) == (None, "Pass")


@pytest.mark.parametrize(
    ("policies", "want"),
    [
        ({"nope": {"missing": "Pass"}}, "no column 'nope'"),
        ({"wind": {"mising": "Pass"}}, "no policy 'mising'; those are missing"),
        ({"wind": {"missing": "Pass"}}, "can't take a missing value in 'wind'; let missing be"),
        ({"carrier": {"missing": "Pass"}}, "can't take a missing value in 'carrier'"),
        ({"carrier": {"unknown_category": "Pass"}}, "can't take an unknown category in 'carrier'"),
        ({"carrier": {"out_of_range": "Reject"}}, "has no range"),
        ({"wind": {"maximum": 5.0, "out_of_range": "Reject"}}, "above the maximum of 5"),
        ({"wind": {"minimum": 1e9}}, "minimum above its maximum"),
        ({"wind": {"missing": "Imput"}}, "missing: Input should be 'Reject', 'Impute' or 'Pass'"),
        ({"wind": {"missing": "Impute", "impute_value": "x"}}, "its impute_value 'x' isn't"),
    ],
)
def test_a_policy_that_cannot_be_kept_is_refused(strict, rows, tmp_path, policies, want):
    with pytest.raises(InvalidBundle, match=want):
        save(strict, rows, tmp_path / "b", policies=policies)
    assert not (tmp_path / "b").exists()


def test_a_policy_may_refuse_what_the_model_takes(rows, model, tmp_path):
    frame, labels = rows
    policies = {"wind": {"missing": "Reject"}, "carrier": {"unknown_category": "Reject"}}
    bundle = perennial_bundle.save(
        model, frame[["wind", "hour", "carrier"]], tmp_path / "b", y=labels, policies=policies
    )
    columns = bundle.schema.by_name
    assert (columns["wind"].missing, columns["hour"].missing) == ("Reject", "Pass")
    assert columns["carrier"].unknown_category == "Reject"


def test_a_categorical_keeps_the_categories_that_the_model_knows(rows, tmp_path):
    frame, labels = rows
    features = frame[["wind"]].assign(carrier=pd.Categorical(frame.carrier))
    model = HistGradientBoostingClassifier(max_iter=2, categorical_features="from_dtype").fit(
        features, labels
    )
    policies = {"carrier": {"categories": ["AA"]}}
    with pytest.raises(InvalidBundle, match="fitted on just these categories"):
        perennial_bundle.save(model, features, tmp_path / "b", policies=policies)


def test_an_ensemble_imputes_what_a_member_imputes(strict, rows, tmp_path):
    frame, labels = rows
    gaps = frame.assign(wind=frame.wind.where(frame.index % 3 != 0))[BOTH]
    policies = {"wind": {"missing": "Impute", "impute_value": 10.0}}
    members = {name: save(strict, (gaps, labels), tmp_path / name, policies=policies) for name in ("a", "b")}
    bundle = perennial_bundle.save_ensemble(members, gaps, tmp_path / "all", method="Stacking", y=labels)
    assert bundle.schema.by_name["wind"].impute_value == 10.0
    got = bundle.predict(bundle.schema.validate({"wind": [None, 10.0], "carrier": ["AA", "AA"]}))
    assert got["probability"][0] == got["probability"][1]
