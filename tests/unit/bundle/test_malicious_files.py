"""Malicious and damaged bundles: none runs anything, each ends in an error that says why."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import perennial_bundle
import pytest
import skl2onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from tests.unit.bundle.malicious import archives, others, pickles, skops_files
from tests.unit.bundle.malicious.case import CASES, Place

MODULES = (archives, others, pickles, skops_files)
MOST_MIB = 256
DEADLINE_S = 900


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Sound bundles, of each kind that a case spoils."""
    root = tmp_path_factory.mktemp("good")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"wind": rng.normal(10, 3, 200), "carrier": rng.choice(["AA", "DL", "UA"], 200)})
    labels = (frame.wind > 11).astype(int).to_numpy()
    encode = make_column_transformer((OrdinalEncoder(), ["carrier"]), remainder="passthrough")
    forest = make_pipeline(encode, RandomForestClassifier(3, random_state=0)).fit(frame, labels)
    numbers = frame[["wind"]].assign(gust=frame.wind + 1)
    boosted = HistGradientBoostingClassifier(max_iter=3).fit(numbers, labels)
    neighbours = KNeighborsClassifier(algorithm="kd_tree").fit(numbers, labels)
    linear = LogisticRegression().fit(numbers.to_numpy(), labels)
    types = [("X", FloatTensorType([None, 2]))]
    plain = skl2onnx.to_onnx(linear, initial_types=types, options={id(linear): {"zipmap": False}})
    zipmap = skl2onnx.to_onnx(linear, initial_types=types).SerializeToString()
    (root / "zipmap").write_bytes(zipmap)
    save = perennial_bundle.save
    save(forest, frame, root / "forest", y=labels)
    one = save(boosted, numbers, root / "boosted")
    save(neighbours, numbers, root / "neighbours")
    wide = numbers.assign(more=1.0)
    save(LogisticRegression().fit(wide, labels), wide, root / "wide")
    two = perennial_bundle.save_onnx(
        plain.SerializeToString(), numbers, root / "onnx", task="Classification", classes=[0, 1]
    )
    perennial_bundle.save_ensemble(
        {"one": one, "two": two}, numbers, root / "ensemble", method="Stacking", y=labels
    )
    return {path.name: path for path in root.iterdir()}


@pytest.fixture(scope="module")
def results(good, tmp_path_factory):
    """Open all cases in one process, since its libraries take seconds to import."""
    root = tmp_path_factory.mktemp("cases")
    for case in CASES.values():
        (root / case.name).mkdir()
        case.build(Place(root / case.name, good))
    script = Path(__file__).with_name("malicious") / "runner.py"
    run = subprocess.run(
        [sys.executable, script, root, good["forest"].parent],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    lines = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    assert run.returncode == 0, f"the process ended after {lines[-1:]} with {run.stderr[-2000:]}"
    return {line["name"]: line | {"root": root / line["name"]} for line in lines}


@pytest.mark.parametrize("name", CASES)
def test_a_spoiled_bundle_runs_nothing_and_is_refused_with_a_reason(results, name):
    want, got = CASES[name], results[name]
    assert got["noted"] == []
    assert list(got["root"].parent.rglob("canary")) == []
    assert got["reason"] == want.reason, got["message"]
    assert re.search(want.message, got["message"]), got["message"]
    assert got["grown_mib"] < MOST_MIB


def test_what_a_payload_does_would_be_noted(good, tmp_path):
    """The watch itself is watched: a pickle that is opened leaves its canary and is noted."""
    place = Place(tmp_path, good)
    code = (
        "import pickle, sys; from tests.unit.bundle.malicious import runner; runner.is_noting = True; "
        "sys.addaudithook(runner.note); pickle.loads(sys.stdin.buffer.read()); print(runner.noted)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=pickles.dump(place),
        capture_output=True,
        timeout=DEADLINE_S,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert b"os.system" in run.stdout
    assert place.canary.exists()
