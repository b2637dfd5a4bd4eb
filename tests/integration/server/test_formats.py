"""Real servers of an ONNX model and of an ensemble: what clients get, and what is logged."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import perennial_bundle
import pytest
import skl2onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from .conftest import read_failure, run_observer, run_server, start_server

INFER = "/v2/models/flights/infer"


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "wind": rng.normal(10, 3, 300).astype(np.float32),
            "carrier": rng.choice(["AA", "DL", "UA"], 300),
        }
    )


@pytest.fixture(scope="module")
def model(frame):
    encode = make_column_transformer(
        (StandardScaler(), ["wind"]), (OneHotEncoder(handle_unknown="ignore"), ["carrier"])
    )
    return make_pipeline(encode, LogisticRegression()).fit(frame, np.where(frame.wind > 11, "late", "fine"))


@pytest.fixture(scope="module")
def onnx_bundle(frame, model, tmp_path_factory):
    data = skl2onnx.to_onnx(
        model,
        initial_types=[("wind", FloatTensorType([None, 1])), ("carrier", StringTensorType([None, 1]))],
        options={id(model): {"zipmap": False}},
    )
    return perennial_bundle.save_onnx(
        data.SerializeToString(),
        frame,
        tmp_path_factory.mktemp("onnx") / "flights",
        task="Classification",
        classes=["fine", "late"],
    )


@pytest.fixture(scope="module")
def ensemble(frame, model, onnx_bundle, tmp_path_factory):
    root = tmp_path_factory.mktemp("ensemble")
    labels = np.where(frame.wind > 11, "late", "fine")
    forest = RandomForestClassifier(5, random_state=0).fit(frame[["wind"]], labels)
    members = {
        "graph": onnx_bundle,
        "forest": perennial_bundle.save(forest, frame[["wind"]], root / "forest"),
    }
    return perennial_bundle.save_ensemble(members, frame, root / "both", y=labels)


def build_request(**more):
    inputs = [
        {"name": "wind", "shape": [2], "datatype": "FP32", "data": [4.0, 25.0]},
        {"name": "carrier", "shape": [2], "datatype": "BYTES", "data": ["AA", "unheard of"]},
    ]
    return {"inputs": inputs, **more}


def read_outputs(answer):
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def post(server, path=INFER, **body):
    return httpx.post(server.url + path, json=build_request(**body), timeout=120)


def test_an_onnx_model_answers_as_the_model_that_it_was_made_of(onnx_bundle, model, tmp_path):
    with run_server(tmp_path, f"file://{onnx_bundle.path}") as server:
        got = read_outputs(post(server))
        explained = post(server, "/v2/models/flights/explain")
    given = pd.DataFrame({"wind": np.float32([4, 25]), "carrier": ["AA", "unheard of"]})
    assert got["predict"] == model.predict(given).tolist()
    assert np.allclose(got["probability"], model.predict_proba(given)[:, 1], atol=1e-5)
    assert explained.json()["parameters"]["method"] == "Permutation"


def test_members_are_answered_by_name_only_and_always_logged(ensemble, tmp_path):
    with (
        run_observer(tmp_path) as observer,
        run_server(tmp_path, f"file://{ensemble.path}", OBSERVER_URL=observer.url) as server,
    ):
        plain = read_outputs(post(server))
        named = read_outputs(post(server, outputs=[{"name": "forest.predict"}, {"name": "probability"}]))
        logged = observer.wait_for_log(2)
    assert set(plain) == {"predict", "probability"}
    assert set(named) == {"forest.predict", "probability"}
    assert plain["predict"] == ["fine", "late"]
    want = {column.name for column in ensemble.schema.outputs}
    assert want > {"graph.probability", "forest.probability"}
    for entry in logged:
        assert set(entry["outputs"]) == want


def test_an_archive_of_an_ensemble_is_served_by_its_digest(ensemble, tmp_path):
    with (tmp_path / "both.tar").open("wb") as file:
        digest = perennial_bundle.pack(ensemble.path, file)
    uri, sha256 = f"file://{tmp_path}/both.tar", digest.removeprefix("sha256:")
    with run_server(tmp_path, uri, BUNDLE_SHA256=sha256) as server:
        assert read_outputs(post(server))["predict"] == ["fine", "late"]


def test_a_spoiled_onnx_model_ends_the_server_with_the_reason(onnx_bundle, tmp_path):
    copy = shutil.copytree(onnx_bundle.path, tmp_path / "copy")
    data = (copy / "model.onnx").read_bytes().replace(b"ai.onnx.ml", b"com.custom")
    (copy / "model.onnx").write_bytes(data)
    manifest = json.loads((copy / "bundle.json").read_text())
    manifest["files"]["model.onnx"] = hashlib.sha256(data).hexdigest()
    (copy / "bundle.json").write_text(json.dumps(manifest))
    server = start_server(tmp_path, f"file://{copy}")
    failure = read_failure(server, tmp_path)
    assert failure["reason"] == "UnsafeModel"
    assert "com.custom" in failure["message"]


@pytest.mark.parametrize(("example", "want"), [("10-onnx", "onnx"), ("11-ensemble", "ensemble")])
def test_an_example_writes_a_bundle_that_answers_its_reference(example, want, tmp_path):
    script = Path(__file__).parents[3] / "examples" / example / "train.py"
    run = subprocess.run(
        [sys.executable, script, tmp_path / "bundle"], capture_output=True, text=True, timeout=300, check=True
    )
    bundle = perennial_bundle.load(tmp_path / "bundle", expected_digest=run.stdout.strip())
    assert bundle.manifest.format == want
    reference = bundle.reference()
    got = bundle.predict(reference.inputs)
    assert np.allclose(got["probability"], reference.outputs["probability"], atol=1e-6)
