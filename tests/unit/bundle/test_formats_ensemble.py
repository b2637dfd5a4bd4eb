"""Several bundles as one: what it answers, what it keeps of its members, and what it refuses."""

import hashlib
import io
import json
import shutil

import numpy as np
import pandas as pd
import perennial_bundle
import pytest
import skl2onnx
from perennial_bundle import DigestMismatch, InvalidBundle, UnsafeModel
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.tree import DecisionTreeRegressor


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.normal(size=(400, 3)).astype(np.float32), columns=["a", "b", "c"])


@pytest.fixture(scope="module")
def labels(frame):
    return (frame.a + frame.b > 0).astype(int).to_numpy()


@pytest.fixture(scope="module")
def members(frame, labels, tmp_path_factory):
    """A linear model of two columns, a forest of all, and an ONNX model of one."""
    root = tmp_path_factory.mktemp("members")
    linear = LogisticRegression().fit(frame[["a", "b"]], labels)
    forest = RandomForestClassifier(5, random_state=0).fit(frame, labels)
    single = LogisticRegression().fit(frame[["a"]].to_numpy(), labels)
    data = skl2onnx.to_onnx(
        single,
        initial_types=[("X", FloatTensorType([None, 1]))],
        options={id(single): {"zipmap": False}},
    ).SerializeToString()
    return {
        "linear": perennial_bundle.save(linear, frame[["a", "b"]], root / "linear"),
        "forest": perennial_bundle.save(forest, frame, root / "forest"),
        "single": perennial_bundle.save_onnx(
            data, frame[["a"]], root / "single", task="Classification", classes=[0, 1]
        ),
    }


@pytest.fixture(scope="module")
def voting(members, frame, labels, tmp_path_factory):
    return perennial_bundle.save_ensemble(members, frame, tmp_path_factory.mktemp("e") / "voting", y=labels)


def test_voting_answers_with_the_mean_of_the_probabilities_and_keeps_each_member_s(voting, members, frame):
    got = voting.predict(frame)
    parts = [member.predict(frame)["probability"] for member in members.values()]
    assert np.allclose(got["probability"], np.mean(parts, axis=0))
    assert got["predict"].tolist() == (got["probability"] > 0.5).astype(int).tolist()
    for name, part in zip(members, parts, strict=True):
        assert np.allclose(got[f"{name}.probability"], part)
    roles = {column.name: column.role for column in voting.schema.outputs}
    assert roles == {
        "predict": "Output",
        "probability": "Output",
        **{f"{name}.{output}": "Member" for name in members for output in ("predict", "probability")},
    }


def test_members_see_only_their_own_columns_and_the_whole_takes_all(voting):
    assert voting.schema.feature_names == ("a", "b", "c")


def test_the_reference_holds_what_every_member_answered(voting, labels):
    reference = voting.reference()
    assert set(reference.outputs) == {column.name for column in voting.schema.outputs}
    assert reference.labels.tolist() == labels.tolist()


def test_a_member_without_probabilities_casts_a_vote(members, frame, labels, tmp_path):
    ridge = perennial_bundle.save(RidgeClassifier().fit(frame, labels), frame, tmp_path / "ridge")
    bundle = perennial_bundle.save_ensemble(
        {"ridge": ridge, "linear": members["linear"].path}, frame, tmp_path / "e"
    )
    got = bundle.predict(frame)
    want = (got["ridge.predict"] + got["linear.probability"]) / 2
    assert np.allclose(got["probability"], want)


def test_weights_count_by_their_share(members, frame, tmp_path):
    pair = {name: members[name] for name in ("linear", "forest")}
    bundle = perennial_bundle.save_ensemble(pair, frame, tmp_path / "e", method="Weighted", weights=[3, 1])
    got = bundle.predict(frame)
    want = 0.75 * got["linear.probability"] + 0.25 * got["forest.probability"]
    assert np.allclose(got["probability"], want)


def test_weighted_regressions_answer_with_the_weighted_mean(frame, tmp_path):
    y = frame.a * 2
    pair = {
        "line": perennial_bundle.save(LinearRegression().fit(frame, y), frame, tmp_path / "line"),
        "tree": perennial_bundle.save(DecisionTreeRegressor().fit(frame, y), frame, tmp_path / "tree"),
    }
    bundle = perennial_bundle.save_ensemble(
        pair, frame, tmp_path / "e", method="Weighted", weights=[0.5, 1.5]
    )
    got = bundle.predict(frame)
    assert np.allclose(got["predict"], 0.25 * got["line.predict"] + 0.75 * got["tree.predict"])


def test_stacking_fits_a_model_on_what_the_members_say(members, frame, labels, tmp_path):
    flipped = 1 - labels
    bundle = perennial_bundle.save_ensemble(members, frame, tmp_path / "e", method="Stacking", y=flipped)
    got = bundle.predict(frame)
    accuracy = np.mean(got["predict"] == flipped)
    assert accuracy > 0.9
    assert np.mean(got["forest.predict"] == flipped) < 0.2


def test_three_classes_stack_by_a_column_for_each(frame, tmp_path):
    y = np.digitize(frame.a, [-0.5, 0.5])
    pair = {
        name: perennial_bundle.save(
            RandomForestClassifier(3, random_state=seed).fit(frame, y), frame, tmp_path / name
        )
        for seed, name in enumerate(["one", "two"])
    }
    bundle = perennial_bundle.save_ensemble(pair, frame, tmp_path / "e", method="Stacking", y=y)
    got = bundle.predict(frame)
    assert got["probability"].shape == (400, 3)
    assert got["one.probability"].shape == (400, 3)
    assert np.mean(got["predict"] == y) > 0.9


def test_what_a_member_refuses_the_whole_refuses(members, frame, labels, tmp_path):
    strict = perennial_bundle.save(
        LogisticRegression().fit(frame, labels), frame, tmp_path / "strict", enforce_ranges=["b"]
    )
    bundle = perennial_bundle.save_ensemble(
        {"strict": strict, "linear": members["linear"]}, frame, tmp_path / "e"
    )
    with pytest.raises(perennial_bundle.InvalidInput, match="b"):
        bundle.schema.validate({"a": [0.0], "b": [1e6], "c": [0.0]})


def test_an_archive_of_an_ensemble_is_one_bundle(voting, frame, tmp_path):
    buffer = io.BytesIO()
    digest = perennial_bundle.pack(voting.path, buffer)
    buffer.seek(0)
    assert perennial_bundle.unpack(buffer, tmp_path / "got", expected_digest=digest) == digest
    got = perennial_bundle.load(tmp_path / "got").predict(frame)
    assert np.allclose(got["probability"], voting.predict(frame)["probability"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": {}}, "no members"),
        ({"method": "Weighted"}, "weights"),
        ({"weights": [1, 1]}, "weights"),
        ({"method": "Weighted", "weights": [0, 0]}, "weights"),
        ({"method": "Weighted", "weights": [1]}, "weights"),
        ({"method": "Weighted", "weights": [1, -1]}, "weights"),
        ({"method": "Stacking"}, "needs y"),
        ({"final": LogisticRegression()}, "Stacking"),
        ({"method": "Stacking", "y": np.arange(400) % 3}, "classes"),
    ],
)
def test_what_makes_no_ensemble_is_refused(members, frame, tmp_path, change, message):
    arguments = {"members": {name: members[name] for name in ("linear", "forest")}} | change
    with pytest.raises(InvalidBundle, match=message):
        perennial_bundle.save_ensemble(X=frame, path=tmp_path / "e", **arguments)


def test_members_of_other_tasks_classes_or_columns_are_refused(members, frame, labels, tmp_path):
    others = {
        "is for Regression": (LinearRegression().fit(frame, labels), frame),
        "has the classes": (LogisticRegression().fit(frame, labels + 1), frame),
        "as other values": (LogisticRegression().fit(frame.astype(int), labels), frame.astype(int)),
    }
    for message, (model, rows) in others.items():
        other = perennial_bundle.save(model, rows, tmp_path / message.replace(" ", "-"))
        with pytest.raises(InvalidBundle, match=message):
            perennial_bundle.save_ensemble({"a": members["linear"], "b": other}, frame, tmp_path / "e")


def test_an_ensemble_is_no_member(voting, members, frame, tmp_path):
    with pytest.raises(InvalidBundle, match="is an ensemble"):
        perennial_bundle.save_ensemble({"a": voting, "b": members["linear"]}, frame, tmp_path / "e")


@pytest.fixture
def copy(voting, tmp_path):
    return shutil.copytree(voting.path, tmp_path / "copy")


def rewrite(directory, name, data, change=lambda manifest: None):
    """Replace a file and its digest in the manifest, as somebody who means harm would."""
    (directory / name).write_bytes(data)
    manifest = json.loads((directory / "bundle.json").read_text())
    manifest["files"][name] = hashlib.sha256(data).hexdigest()
    change(manifest)
    (directory / "bundle.json").write_text(json.dumps(manifest))


def test_a_member_swapped_for_another_bundle_is_a_mismatch(copy):
    shutil.copy(copy / "member-linear.tar", copy / "member-forest.tar")
    with pytest.raises(DigestMismatch, match="member-forest"):
        perennial_bundle.load(copy)


def test_a_member_that_holds_a_pickle_is_unsafe_and_named(copy, members, tmp_path):
    spoiled = shutil.copytree(members["linear"].path, tmp_path / "spoiled")
    rewrite(spoiled, "model.skops", b"\x80\x04K\x01.")
    buffer = io.BytesIO()
    perennial_bundle.pack(spoiled, buffer)
    rewrite(copy, "member-linear.tar", buffer.getvalue())
    with pytest.raises(UnsafeModel, match="member 'linear'"):
        perennial_bundle.load(copy)


def test_a_manifest_that_promises_what_no_member_answers_is_invalid(copy):
    data = (copy / "reference.parquet").read_bytes()
    rewrite(
        copy, "reference.parquet", data, lambda m: m["schema"]["outputs"][-1].update(name="other.predict")
    )
    with pytest.raises(InvalidBundle, match=r"other\.predict"):
        perennial_bundle.load(copy)
