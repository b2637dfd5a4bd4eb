import numpy as np
import pandas as pd
import perennial_bundle
import pytest
from perennial_bundle import InvalidBundle, UnsafeModel
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler, TargetEncoder


def double(values):
    return values * 2


def test_a_saved_model_predicts_the_same_after_loading(saved, rows, model):
    frame, _ = rows
    loaded = perennial_bundle.load(saved.path, expected_digest=saved.digest)
    got = perennial_bundle.predict(loaded, loaded.reference().inputs)
    features = frame[["wind", "hour", "carrier"]]
    np.testing.assert_array_equal(got["predict"], model.predict(features))
    np.testing.assert_allclose(got["probability"], model.predict_proba(features)[:, 1])


def test_the_schema_is_read_off_the_data_and_the_model(saved):
    got = {c.name: (c.datatype, c.role, c.allow_missing, c.unknown_category) for c in saved.schema.inputs}
    want = {
        "wind": ("FP64", "Feature", True, "Pass"),
        "hour": ("INT64", "Feature", True, "Pass"),
        "carrier": ("BYTES", "Feature", True, "Pass"),
        "when": ("BYTES", "EventTime", False, "Pass"),
        "tail": ("BYTES", "Passthrough", True, "Pass"),
    }
    assert got == want
    assert saved.schema.by_name["carrier"].categories == ("AA", "DL", "UA")
    assert (saved.schema.by_name["hour"].minimum, saved.schema.by_name["hour"].maximum) == (0, 23)
    assert [(c.name, c.datatype) for c in saved.schema.outputs] == [
        ("predict", "INT64"),
        ("probability", "FP64"),
    ]


def test_a_model_that_refuses_missing_values_and_unknown_categories_says_so_in_its_schema(rows, tmp_path):
    frame, labels = rows
    features = frame[["wind", "carrier"]]
    strict = make_pipeline(
        make_column_transformer((StandardScaler(), ["wind"]), (OneHotEncoder(), ["carrier"])),
        LogisticRegression(),
    ).fit(features, labels)
    bundle = perennial_bundle.save(strict, features, tmp_path / "b")
    assert not bundle.schema.by_name["wind"].allow_missing
    assert bundle.schema.by_name["carrier"].unknown_category == "Reject"


def test_the_reference_keeps_labels_outputs_and_event_time(saved, rows):
    frame, labels = rows
    reference = saved.reference()
    np.testing.assert_array_equal(reference.labels, labels)
    seconds = (frame.when - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    np.testing.assert_array_equal(reference.event_time, seconds)
    assert set(reference.outputs) == {"predict", "probability"}


def test_rows_out_of_order_are_sorted_by_event_time_with_their_labels(rows, model, tmp_path):
    frame, labels = rows
    order = np.random.default_rng(1).permutation(len(frame))
    bundle = perennial_bundle.save(
        model, frame.iloc[order], tmp_path / "b", y=labels[order], event_time="when", passthrough=["tail"]
    )
    np.testing.assert_array_equal(bundle.reference().labels, labels)


@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingClassifier(max_iter=5, early_stopping=True),
        GradientBoostingClassifier(n_estimators=3),
        RandomForestClassifier(n_estimators=3),
        make_pipeline(TargetEncoder(), StandardScaler(), RandomForestClassifier(n_estimators=2)),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_usual_classifiers_survive_saving_and_loading(rows, tmp_path, estimator):
    frame, labels = rows
    features = frame[["wind", "hour"]]
    bundle = perennial_bundle.save(estimator.fit(features, labels), features, tmp_path / "b")
    assert perennial_bundle.load(bundle.path).model.predict(features.head(3)).shape == (3,)


@pytest.mark.parametrize("regressor", [Ridge(), HistGradientBoostingRegressor(max_iter=5)])
def test_a_regressor_has_one_output_of_fp64(rows, tmp_path, regressor):
    frame, _ = rows
    bundle = perennial_bundle.save(
        regressor.fit(frame[["hour"]], frame.wind), frame[["hour"]], tmp_path / "b"
    )
    assert bundle.manifest.task == "Regression"
    assert [(c.name, c.datatype) for c in bundle.schema.outputs] == [("predict", "FP64")]


def test_string_classes_and_three_of_them(rows, tmp_path):
    frame, _ = rows
    labels = frame.carrier
    model = HistGradientBoostingClassifier(max_iter=3).fit(frame[["wind", "hour"]], labels)
    bundle = perennial_bundle.save(model, frame[["wind", "hour"]], tmp_path / "b", y=labels)
    got = bundle.predict(bundle.reference().inputs.head(4))
    assert bundle.manifest.classes == ("AA", "DL", "UA")
    assert got["probability"].shape == (4, 3)
    assert set(got["predict"]) <= {"AA", "DL", "UA"}
    assert bundle.reference().outputs["probability"].shape == (400, 3)


def test_pandas_categoricals_reach_the_model_as_categoricals(rows, tmp_path):
    frame, labels = rows
    features = frame[["wind"]].assign(carrier=pd.Categorical(frame.carrier))
    model = HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype").fit(
        features, labels
    )
    bundle = perennial_bundle.save(model, features, tmp_path / "b")
    got = bundle.predict(bundle.schema.validate({"wind": [9.0, 9.0], "carrier": ["DL", "never seen"]}))
    want = model.predict_proba(
        pd.DataFrame({"wind": [9.0, 9.0], "carrier": pd.Categorical(["DL", None], ["AA", "DL", "UA"])})
    )
    np.testing.assert_allclose(got["probability"], want[:, 1])


def test_a_model_with_a_function_of_the_author_is_refused_by_that_name(rows, tmp_path):
    frame, _ = rows
    model = make_pipeline(FunctionTransformer(double), LinearRegression()).fit(frame[["wind"]], frame.hour)
    with pytest.raises(UnsafeModel, match="double"):
        perennial_bundle.save(model, frame[["wind"]], tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("change", "options", "want"),
    [
        (lambda f: f.to_numpy(), {}, "DataFrame"),
        (lambda f: f.drop(columns="wind"), {}, "lacks the columns"),
        (lambda f: f.assign(extra=1), {}, "passthrough"),
        (lambda f: f, {"event_time": "nope"}, "no column 'nope'"),
        (lambda f: f, {"enforce_ranges": ["nope"]}, "no column 'nope'"),
        (lambda f: f, {"y": [1, 2, 3]}, "y has shape"),
        (lambda f: f.head(0), {}, "no rows"),
        (lambda f: f.assign(when="yesterday"), {"event_time": "when"}, "ISO 8601"),
        (lambda f: f, {"metadata": {"a": float("nan")}}, "metadata"),
        (lambda f: f.assign(wind=[object()] * len(f)), {}, "wind"),
    ],
)
def test_what_cannot_be_bundled_is_refused_with_what_to_change(rows, tmp_path, change, options, want):
    frame, _ = rows
    frame = frame[["wind", "hour"]]
    model = LinearRegression().fit(frame, frame.wind)
    with pytest.raises(InvalidBundle, match=want):
        perennial_bundle.save(model, change(frame), tmp_path / "b", **options)


def test_a_model_of_two_targets_is_refused(rows, tmp_path):
    frame, _ = rows
    model = LinearRegression().fit(frame[["wind"]], frame[["hour", "wind"]])
    with pytest.raises(InvalidBundle, match="2 targets"):
        perennial_bundle.save(model, frame[["wind"]], tmp_path / "b")


def test_saving_replaces_a_bundle_but_nothing_else(rows, tmp_path):
    frame, _ = rows
    model = DummyRegressor().fit(frame[["wind"]], frame.wind)
    first = perennial_bundle.save(model, frame[["wind"]], tmp_path / "b")
    second = perennial_bundle.save(model, frame[["wind"]], tmp_path / "b", metadata={"run": 2})
    assert first.digest != second.digest
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("…")
    with pytest.raises(InvalidBundle, match="isn't a bundle"):
        perennial_bundle.save(model, frame[["wind"]], tmp_path / "precious")
    assert (tmp_path / "precious" / "thesis.tex").exists()
