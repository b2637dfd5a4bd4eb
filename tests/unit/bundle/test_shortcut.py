import warnings

import numpy as np
import pandas as pd
import perennial_bundle
import pytest
from perennial_bundle import Rows
from perennial_bundle.formats.shortcut import NAMES, find_shortcut, without_names
from perennial_bundle.scoring import score
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

MODELS = {
    "scaled": make_pipeline(StandardScaler(), LogisticRegression()),
    "bare": LogisticRegression(),
    "forest": RandomForestClassifier(5, random_state=0),
    "boosting": HistGradientBoostingClassifier(max_iter=5),
    "neighbours": make_pipeline(StandardScaler(), KNeighborsClassifier()),
    "vote": VotingClassifier([("a", LogisticRegression()), ("b", RandomForestClassifier(3))], voting="soft"),
    "regression": make_pipeline(StandardScaler(), LinearRegression()),
    "trees": RandomForestRegressor(5, random_state=0),
}


def build_frame(n=200):
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.normal(size=(n, 3)), columns=["b", "a", "c"])


def save(model, frame, y, tmp_path):
    saved = perennial_bundle.save(model.fit(frame, y), frame, tmp_path / "bundle", y=y)
    return perennial_bundle.load(saved.path)


@pytest.mark.parametrize("name", MODELS)
def test_the_short_road_leads_to_the_same(name, tmp_path):
    frame = build_frame()
    y = frame.sum(axis=1) if name in {"regression", "trees"} else (frame.sum(axis=1) > 0).astype(int)
    bundle = save(MODELS[name], frame, y, tmp_path)
    assert bundle.scorer.shortcut is not None
    for n in (1, 7):
        checked = bundle.schema.check(Rows(n, {}, build_frame(n).to_numpy())).frame
        want = score(bundle.model, bundle.schema, bundle.manifest.task, checked)
        with warnings.catch_warnings(action="error"):
            got = bundle.predict(checked)
        assert want.keys() == got.keys()
        for output in want:
            np.testing.assert_allclose(got[output], want[output], rtol=1e-12)


def test_the_model_itself_still_knows_its_columns(tmp_path):
    frame = build_frame()
    bundle = save(MODELS["scaled"], frame, (frame.b > 0).astype(int), tmp_path)
    assert list(bundle.model.feature_names_in_) == ["b", "a", "c"]
    assert not hasattr(bundle.scorer.shortcut.first, NAMES)


def test_a_copy_without_names_shares_its_arrays():
    frame = build_frame()
    model = LogisticRegression().fit(frame, frame.a > 0)
    bare = without_names(model)
    assert bare.coef_ is model.coef_
    assert not hasattr(bare, NAMES)
    assert hasattr(model, NAMES)


def test_passthrough_columns_do_not_reach_the_model(tmp_path):
    frame = build_frame()
    y = (frame.b > 0).astype(int)
    model = MODELS["scaled"].fit(frame, y)
    with_tag = frame.assign(tag="t")
    saved = perennial_bundle.save(model, with_tag, tmp_path / "bundle", y=y, passthrough=["tag"])
    bundle = perennial_bundle.load(saved.path)
    assert bundle.scorer.shortcut is not None
    rows = Rows(1, {"a": [1.0], "b": [2.0], "c": [0.5], "tag": ["x"]})
    assert bundle.predict(bundle.schema.check(rows).frame)["predict"].tolist() == [1]


def test_a_pipeline_transforms_once_for_classes_and_probabilities(tmp_path, monkeypatch):
    frame = build_frame()
    bundle = save(MODELS["scaled"], frame, (frame.b > 0).astype(int), tmp_path)
    checked = bundle.schema.check(Rows(2, {}, build_frame(2).to_numpy())).frame
    assert bundle.scorer.shortcut is not None
    calls = []
    transform = StandardScaler.transform
    monkeypatch.setattr(
        StandardScaler,
        "transform",
        lambda self, *args, **more: calls.append(1) or transform(self, *args, **more),
    )
    bundle.predict(checked)
    assert calls == [1]


def test_a_model_that_wants_names_or_strings_takes_the_long_road(tmp_path):
    frame = build_frame().assign(kind=["x", "y"] * 100)
    y = (frame.b > 0).astype(int)
    encode = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough")
    bundle = save(make_pipeline(encode, LogisticRegression()), frame, y, tmp_path)
    assert bundle.scorer.shortcut is None
    by_name = make_pipeline(make_column_transformer((StandardScaler(), ["b"])), LogisticRegression())
    numbers = build_frame()
    named = save(by_name, numbers, y, tmp_path / "named")
    assert named.scorer.shortcut is None
    assert len(named.predict(named.schema.check(Rows(3, {}, numbers[:3].to_numpy())).frame)["predict"]) == 3


def test_a_road_that_leads_elsewhere_is_not_taken():
    class Fickle(LogisticRegression):
        """Says otherwise to those who name no columns."""

        def predict(self, X):  # noqa: N803  scikit-learn's name
            return super().predict(X) if hasattr(X, "columns") else 1 - super().predict(X.copy())

    frame = build_frame()
    model = Fickle().fit(frame, (frame.a > 0).astype(int))
    inputs = tuple(perennial_bundle.Column(name=name, datatype="FP64") for name in frame)
    output = perennial_bundle.Column(name="predict", datatype="INT64", role="Output")
    schema = perennial_bundle.Schema(inputs=inputs, outputs=(output,))
    assert find_shortcut(model, schema, "Classification", frame) is None
