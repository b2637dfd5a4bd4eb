import gc
import json
import random
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import perennial_bundle
import pytest
from perennial_bundle import Rows
from perennial_server.backoff import backoff_delays
from perennial_server.loading.errors import LoadTimeout
from perennial_server.main import report_failure, spare_collector
from perennial_server.prediction_log.reference import render_reference
from perennial_server.runtime import compare_outputs, learn_in_time
from perennial_server.settings import Settings
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression

from .conftest import build_settings


def test_settings_come_from_the_environment(monkeypatch):
    for name, value in {
        "NAMESPACE": "shop",
        "DEPLOYMENT": "wine",
        "REVISION": "wine-1",
        "BUNDLE_URI": "file:///x",
        "LOG_EXCLUDE": " ssn, name,,",
        "BUNDLE_SHA256": "",
        "OBSERVER_URL": "",
    }.items():
        monkeypatch.setenv(f"PERENNIAL_{name}", value)
    got = Settings()
    assert got.log_exclude == {"ssn", "name"}
    assert (got.bundle_sha256, got.observer_url, got.port) == (None, None, 3000)


@pytest.mark.parametrize("change", [{"bundle_sha256": "zz"}, {"port": 0}, {"log_mode": "Some"}])
def test_settings_that_make_no_sense_are_refused(change):
    with pytest.raises(ValidationError):
        build_settings(**change)


def test_every_setting_says_what_it_is():
    assert all(field.description for field in Settings.model_fields.values())


def test_a_token_is_read_anew_each_time(tmp_path):
    settings = build_settings(token_file=tmp_path / "token")
    for token in ("one", "two"):
        (tmp_path / "token").write_text(token + "\n")
        assert settings.read_token().get_secret_value() == token


def test_delays_grow_to_the_cap_and_are_one_less_than_attempts():
    delays = list(backoff_delays(6, base_s=1, cap_s=8, rng=random.Random(0)))
    assert len(delays) == 5
    for delay, whole in zip(delays, (1, 2, 4, 8, 8), strict=True):
        assert whole / 2 <= delay <= whole


def test_a_failure_is_written_for_the_kubelet_and_fits(tmp_path, capsys):
    report_failure(tmp_path / "log", "DigestMismatch", "x" * 10_000)
    text = (tmp_path / "log").read_text()
    assert json.loads(text)["reason"] == "DigestMismatch"
    assert len(text) < 4096
    report_failure(tmp_path / "absent" / "log", "DigestMismatch", "no place to write")
    assert "can't be written" in capsys.readouterr().err


def test_the_reference_lacks_excluded_columns(bundle):
    got = json.loads(render_reference(bundle, "wine-1", frozenset({"acid"})))
    assert got["classes"] == [0, 1]
    assert list(got["rows"]) == ["alcohol"]
    assert [column["name"] for column in got["schema"]["inputs"]] == ["alcohol"]
    assert len(got["rows"]["alcohol"]) == len(got["outputs"]["predict"]) == 200
    assert (got["task"], got["bundle_digest"], got["event_time"]) == ("Classification", bundle.digest, None)
    assert render_reference(bundle, "wine-1", frozenset({"acid", "alcohol"})) is None


def test_the_reference_carries_the_labels_that_the_bundle_has(tmp_path):
    frame = pd.DataFrame({"x": [0.0, 1.0] * 60})
    labels = np.array(["no", "yes"] * 60)
    model = LogisticRegression().fit(frame, labels)
    for name, y, want in (("with", labels, ["no", "yes"] * 60), ("without", None, None)):
        bundle = perennial_bundle.save(model, frame, tmp_path / name, y=y)
        assert json.loads(render_reference(bundle, "wine-1", frozenset()))["labels"] == want


def test_outputs_are_compared_by_the_share_of_rows_that_differ():
    want = {"p": np.array([[0.1, 0.9], [0.5, 0.5], [1.0, 0.0]]), "c": np.array(["a", "b", "c"], dtype=object)}
    got = {"p": np.array([[0.1, 0.9], [0.4, 0.6]]), "c": np.array(["a", "b"], dtype=object)}
    assert compare_outputs(want, got) == {"p": 0.5, "c": 0.0}


def test_the_garbage_collector_has_nothing_to_look_through_when_serving_begins():
    before = len(gc.get_objects())
    try:
        spare_collector()
        assert len(gc.get_objects()) < before / 10
    finally:
        gc.unfreeze()


async def test_learning_what_is_odd_has_the_time_that_loading_has(bundle, monkeypatch):
    goes_on = threading.Event()
    monkeypatch.setattr("perennial_server.runtime.learn_outliers", lambda *_: goes_on.wait(30))
    try:
        with pytest.raises(LoadTimeout, match=r"after 0\.01 s: remove server\.outlierScores"):
            await learn_in_time(bundle, build_settings(outlier_detector="KNN", load_timeout_s=0.01))
    finally:
        goes_on.set()


async def test_a_rater_is_learnt_in_time(bundle):
    rate = await learn_in_time(bundle, build_settings(outlier_detector="Mahalanobis"))
    assert rate(Rows(1, {"alcohol": [12.0], "acid": [50.0]})) > 0


def test_a_server_that_rates_nothing_loads_no_raters():
    """They bring modules along that take memory and time, and that most servers never need."""
    program = (
        "import sys, perennial_server.rest.app, perennial_server.rpc.service, perennial_server.runtime\n"
        "print(sorted({'perennial_bundle.oddness', 'sklearn.neighbors', 'sklearn.covariance'} & set(sys.modules)))"
    )
    got = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert got.stdout.strip() == "[]"
