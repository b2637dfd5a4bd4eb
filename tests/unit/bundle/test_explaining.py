"""Explanations: they add up to the answer, whatever the model; the exact ones are shap's."""

import time

import numpy as np
import pandas as pd
import perennial_bundle
import pytest
import shap
from perennial_bundle.explaining import TooManyRows, build_explainer
from perennial_bundle.explaining.permutation import PermutationExplainer
from perennial_bundle.explaining.sources import find_sources
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier


def build_frame(n=300):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(n, 4)), columns=["a", "b", "c", "d"])
    return frame, frame.a * 3 - frame.b + 0.1 * rng.normal(size=n)


def build_mixed(n=300):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "wind": np.where(rng.random(n) < 0.1, np.nan, rng.normal(10, 3, n)),
            "carrier": rng.choice(["AA", "DL", "UA"], n),
            "night": rng.random(n) < 0.5,
        }
    )
    return frame, (frame.wind.fillna(10) + 5 * (frame.carrier == "AA") > 11).astype(int)


ONE_TO_ONE = make_column_transformer(
    (make_pipeline(SimpleImputer(), StandardScaler()), ["wind"]),
    (OrdinalEncoder(), ["carrier"]),
    remainder="passthrough",
)
ONE_HOT = make_column_transformer(
    (OneHotEncoder(handle_unknown="ignore"), ["carrier"]),
    (SimpleImputer(), ["wind"]),
    remainder="passthrough",
)


def two(y):
    return (y > 0).astype(int)


def three(y):
    return pd.Series(np.digitize(y, [-1, 1])).map({0: "low", 1: "middle", 2: "high"})


NUMBERS = {
    "linear": (LinearRegression(), lambda y: y, "Linear", "predict"),
    "logistic": (LogisticRegression(), two, "Linear", "margin"),
    "logistic of three": (LogisticRegression(), three, "Linear", "margin"),
    "scaled ridge": (make_pipeline(StandardScaler(), RidgeClassifier()), two, "Linear", "margin"),
    "tree": (DecisionTreeClassifier(max_depth=4), two, "Tree", "probability"),
    "forest of three": (RandomForestClassifier(5, random_state=0), three, "Tree", "probability"),
    "extra trees": (ExtraTreesRegressor(5, random_state=0), lambda y: y, "Tree", "predict"),
    "boosting": (GradientBoostingClassifier(n_estimators=5), two, "Tree", "margin"),
    "fast boosting": (HistGradientBoostingClassifier(max_iter=5), two, "Tree", "margin"),
    "fast boosting of three": (HistGradientBoostingClassifier(max_iter=3), three, "Tree", "margin"),
    "log link": (
        HistGradientBoostingRegressor(max_iter=3, loss="poisson"),
        np.abs,
        "Permutation",
        "predict",
    ),
    "bayes": (GaussianNB(), two, "Permutation", "probability"),
    "bayes of three": (GaussianNB(), three, "Permutation", "probability"),
    "no probabilities": (LinearSVC(), two, "Permutation", "vote"),
    "powers": (make_pipeline(PolynomialFeatures(), LinearRegression()), lambda y: y, "Permutation", "predict"),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_contributions_add_up_to_the_answer_of_models_of_numbers(name, tmp_path):
    model, target, method, explained = NUMBERS[name]
    frame, y = build_frame()
    y = target(y)
    bundle = perennial_bundle.save(model.fit(frame, y), frame, tmp_path / "b")
    check(bundle, frame, method, explained)


MIXED = {
    "one-hot logistic": (make_pipeline(ONE_HOT, LogisticRegression()), "Linear", "margin"),
    "ordinal forest": (make_pipeline(ONE_TO_ONE, RandomForestClassifier(5)), "Tree", "probability"),
    "one-hot forest": (make_pipeline(ONE_HOT, RandomForestClassifier(5)), "Permutation", "probability"),
    "voting": (
        VotingClassifier([("a", make_pipeline(ONE_HOT, LogisticRegression()))], voting="soft"),
        "Permutation",
        "probability",
    ),
}


@pytest.mark.parametrize("name", MIXED)
def test_contributions_add_up_for_strings_booleans_and_missing_values(name, tmp_path):
    model, method, explained = MIXED[name]
    frame, y = build_mixed()
    bundle = perennial_bundle.save(model.fit(frame, y), frame, tmp_path / "b")
    explanation = check(bundle, frame, method, explained)
    # The night changes nothing.
    assert np.abs(explanation.contributions[:, 2]).mean() < np.abs(explanation.contributions[:, 1]).mean()


def check(bundle, frame, method, explained):
    rows = frame.iloc[:7]
    got = build_explainer(bundle).explain(rows)
    assert (got.method, got.explained) == (method, explained)
    assert got.contributions.shape == (7, frame.shape[1])
    assert np.allclose(got.base_value + got.contributions.sum(axis=1), got.value, atol=1e-6)
    outputs = bundle.predict(rows)
    classes = bundle.manifest.classes
    if classes is None:
        assert np.allclose(got.value, outputs["predict"])
    elif len(classes) == 2:
        assert set(got.labels) == {classes[1]}
        if explained == "probability":
            assert np.allclose(got.value, outputs["probability"])
    else:
        assert got.labels.tolist() == outputs["predict"].tolist()
        if explained == "probability":
            assert np.allclose(got.value, outputs["probability"].max(axis=1))
    return got


def test_linear_contributions_are_those_of_shap(tmp_path):
    frame, y = build_frame()
    model = LogisticRegression().fit(frame, two(y))
    bundle = perennial_bundle.save(model, frame.iloc[:200], tmp_path / "b")
    got = build_explainer(bundle).explain(frame.iloc[:9])
    want = shap.LinearExplainer(model, shap.maskers.Independent(frame.iloc[:200], max_samples=200))
    assert np.allclose(got.contributions, want.shap_values(frame.iloc[:9]))
    assert np.allclose(got.base_value, want.expected_value)


def test_sampled_contributions_are_near_those_of_all_coalitions(tmp_path):
    frame, y = build_mixed(32)
    model = make_pipeline(ONE_HOT, RandomForestClassifier(5, random_state=0)).fit(frame, y)
    bundle = perennial_bundle.save(model, frame, tmp_path / "b")
    got = build_explainer(bundle).explain(frame.iloc[:3])

    def answer(codes):
        columns = {n: frame[n].to_numpy()[codes[:, i].astype(int)] for i, n in enumerate(frame.columns)}
        return model.predict_proba(pd.DataFrame(columns))[:, 1]

    codes = np.repeat(np.arange(32.0)[:, np.newaxis], 3, axis=1)
    exact = shap.explainers.ExactExplainer(answer, shap.maskers.Independent(codes, max_samples=32))
    want = exact(codes[:3] + 0.25)
    assert np.allclose(got.base_value, want.base_values, atol=1e-6)
    assert np.allclose(got.contributions, want.values, atol=0.05)


def test_the_same_rows_get_the_same_explanation(tmp_path):
    frame, y = build_frame()
    bundle = perennial_bundle.save(GaussianNB().fit(frame, two(y)), frame, tmp_path / "b")
    first, second = (build_explainer(bundle).explain(frame.iloc[:3]) for _ in range(2))
    assert np.array_equal(first.contributions, second.contributions)


def test_one_feature_takes_all_of_the_difference(tmp_path):
    frame, y = build_frame()
    bundle = perennial_bundle.save(GaussianNB().fit(frame[["a"]], two(y)), frame[["a"]], tmp_path / "b")
    got = build_explainer(bundle).explain(frame[["a"]].iloc[:3])
    assert np.allclose(got.contributions[:, 0], got.value - got.base_value)


def build_sampler(frame, **options):
    return PermutationExplainer(
        lambda rows: rows.to_numpy(dtype=float).sum(axis=1, keepdims=True), frame, None, "predict", **options
    )


def test_no_more_rows_are_asked_for_than_allowed():
    frame, _ = build_frame()
    asked = []

    def answer(rows):
        asked.append(len(rows))
        return rows[["a"]].to_numpy()

    explainer = PermutationExplainer(answer, frame, None, "predict", max_model_rows=5000)
    explainer.explain(frame.iloc[:4])
    assert sum(asked) <= 5000 + 4 * 2 * 32
    with pytest.raises(TooManyRows, match="at most 26"):
        explainer.explain(frame)


def test_an_explanation_ends_at_its_deadline():
    frame, _ = build_frame()
    with pytest.raises(TimeoutError):
        build_sampler(frame).explain(frame.iloc[:2], deadline_s=time.monotonic() - 1)


@pytest.mark.parametrize(
    ("step", "want"),
    [
        ("drop", []),
        (None, [0, 1, 2]),
        (PolynomialFeatures(), None),
        (OneHotEncoder(drop="first"), None),
        (SimpleImputer(add_indicator=True), None),
        (make_column_transformer((StandardScaler(), ["c", "a"])), [2, 0]),
        (make_column_transformer((StandardScaler(), [2]), (PolynomialFeatures(), [0])), None),
        (make_column_transformer((StandardScaler(), slice(1, 3)), remainder="passthrough"), [1, 2, 0]),
        (make_column_transformer((StandardScaler(), [True, False, True])), [0, 2]),
    ],
)
def test_sources_of_columns_are_known_only_where_each_has_one(step, want):
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "c": [5.0, 6.0]})
    fitted = step.fit(frame) if hasattr(step, "fit") else step
    assert find_sources(fitted, 3) == want
