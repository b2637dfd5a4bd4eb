"""Whole retraining runs in a process of their own, against an observer over HTTP."""

import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import perennial_bundle
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.integration.training.observer import ObserverState, serve

DAY = 86_400.0
RUN = {
    "run": "wine-5f3a",
    "namespace": "shop",
    "deployment": "wine",
    "event_time": "when",
    "metric": "roc_auc",
    "data": {
        "base_uri": None,
        "window_s": 60 * DAY,
        "gap_s": 2 * DAY,
        "test_s": 10 * DAY,
        "label_maturity_s": DAY,
        "weights": {"tau_s": 5 * DAY, "min_effective_samples": 300},
    },
}


def world(first_day, last_day, slope, *, per_day=40, seed=0):
    """Rows whose label depends on `a` by `slope`: the world turns when the slope changes sign."""
    rng = np.random.default_rng(seed)
    n = (last_day - first_day) * per_day
    times = np.sort(rng.uniform(first_day * DAY, last_day * DAY, n))
    a, b = rng.normal(size=n), rng.normal(size=n)
    label = (rng.uniform(size=n) < 1 / (1 + np.exp(-slope * a))).astype(int)
    return pd.DataFrame({"a": a, "b": b, "when": times, "label": label})


@pytest.fixture
def observer():
    with serve() as served:
        yield served


@pytest.fixture
def run_refit(tmp_path, observer):
    url, state = observer
    token = tmp_path / "token"
    token.write_text(state.token)

    def go(run, module=("-m", "perennial_training.refit"), **environment):
        log = tmp_path / "termination-log"
        done = subprocess.run(
            [sys.executable, *module],
            check=False,
            env={
                "PATH": os.environ["PATH"],
                "PERENNIAL_RUN": json.dumps(run),
                "PERENNIAL_OBSERVER_URL": url,
                "PERENNIAL_TOKEN_FILE": str(token),
                "PERENNIAL_TERMINATION_LOG": str(log),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done, json.loads(log.read_text())

    return go


def push_champion(state: ObserverState, directory: Path, rows: pd.DataFrame) -> dict[str, str]:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows[["a", "b"]], rows["label"])
    bundle = perennial_bundle.save(
        model, rows[["a", "b", "when"]], directory, y=rows["label"], event_time="when", name="wine"
    )
    archive = io.BytesIO()
    digest = perennial_bundle.pack(bundle.path, archive)
    state.blobs[digest] = archive.getvalue()
    return {"revision": "wine-1a2b3c4d", "uri": f"perennial://{bundle.digest}"}


def logged(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(
        event_time=rows["when"],
        prediction_id=[f"p{i}" for i in range(len(rows))],
        row=0,
        revision="wine-1a2b3c4d",
    )


def test_decayed_champion_is_replaced_by_a_pushed_candidate(observer, run_refit, tmp_path):
    _, state = observer
    champion = push_champion(state, tmp_path / "champion", world(0, 30, slope=2))
    state.rows = logged(pd.concat([world(30, 45, slope=2, seed=1), world(45, 75, slope=-2, seed=2)]))
    state.watermark = 75 * DAY
    done, got = run_refit({**RUN, "champion": champion})

    assert done.returncode == 0, done.stderr
    assert (got["verdict"], got["reason"]) == ("Accepted", "ChallengerNoWorse")
    assert got["challenger_score"] > 0.8
    assert got["champion_score"] < 0.3
    assert got["difference_lower"] > 0.4
    assert got["train_from"].startswith("1970-01-31")
    assert got["train_to"] < "1970-03-04"
    assert got["test_from"].startswith("1970-03-06")
    assert got["test_to"].startswith("1970-03-15")
    assert got["train_rows"] > got["effective_samples"] >= 300
    assert "step=judged" in done.stdout

    digest = got["candidate_uri"].removeprefix("perennial://")
    assert digest == f"sha256:{hashlib.sha256(state.blobs[digest]).hexdigest()}"
    perennial_bundle.unpack(io.BytesIO(state.blobs[digest]), tmp_path / "candidate", expected_digest=digest)
    candidate = perennial_bundle.load(tmp_path / "candidate")
    assert candidate.model.named_steps["logisticregression"].coef_[0, 0] < 0
    reference = candidate.reference()
    assert (np.diff(reference.event_time) >= 0).all()
    assert set(np.unique(reference.labels)) == {0, 1}
    assert candidate.manifest.metadata["retraining_run"] == RUN["run"]


def test_the_same_run_twice_gives_the_same_figures(observer, run_refit, tmp_path):
    _, state = observer
    champion = push_champion(state, tmp_path / "champion", world(0, 30, slope=2))
    state.rows = logged(world(30, 75, slope=1, seed=1))
    state.watermark = 75 * DAY
    first, second = (run_refit({**RUN, "champion": champion})[1] for _ in range(2))
    for got in (first, second):
        got.pop("candidate_uri")
    assert first == second


def test_challenger_that_is_worse_is_refused_with_its_figures_and_not_pushed(observer, run_refit, tmp_path):
    _, state = observer
    champion = push_champion(state, tmp_path / "champion", world(0, 60, slope=2))
    # A world that turned for a while and turned back: what the candidate learned is no longer true.
    state.rows = logged(pd.concat([world(30, 63, slope=-2, seed=1), world(63, 75, slope=2, seed=2)]))
    state.watermark = 75 * DAY
    before = set(state.blobs)
    done, got = run_refit({**RUN, "champion": champion})
    assert done.returncode == 0, done.stderr
    assert (got["verdict"], got["reason"], got["candidate_uri"]) == ("Refused", "ChallengerWorse", None)
    assert got["champion_score"] > got["challenger_score"]
    assert set(state.blobs) == before


def test_base_dataset_trains_but_never_tests(observer, run_refit, tmp_path):
    _, state = observer
    old = world(20, 60, slope=2)
    champion = push_champion(state, tmp_path / "champion", old)
    blob = io.BytesIO()
    old.to_parquet(blob)
    digest = f"sha256:{hashlib.sha256(blob.getvalue()).hexdigest()}"
    state.blobs[digest] = blob.getvalue()
    state.rows = logged(world(60, 75, slope=2, seed=1))
    state.watermark = 75 * DAY
    run = {**RUN, "champion": champion, "data": {**RUN["data"], "base_uri": f"perennial://{digest}"}}
    _, with_base = run_refit(run)
    _, without = run_refit({**run, "data": RUN["data"]})
    assert with_base["train_rows"] == without["train_rows"] + len(old)
    assert with_base["test_rows"] == without["test_rows"]


@pytest.mark.parametrize(
    ("log", "changes", "want"),
    [
        (lambda: world(30, 75, slope=2).iloc[:0], {}, "TooFewLabels"),
        (
            lambda: world(30, 75, slope=2),
            {"weights": {"tau_s": DAY, "min_effective_samples": 10**6}},
            "TooFewEffectiveSamples",
        ),
        (lambda: world(30, 75, slope=2).assign(label=1), {}, "SingleClass"),
    ],
)
def test_rows_that_cannot_carry_a_comparison_are_refused(  # noqa: PLR0917
    observer, run_refit, tmp_path, log, changes, want
):
    _, state = observer
    champion = push_champion(state, tmp_path / "champion", world(0, 30, slope=2))
    state.rows = logged(log())
    state.watermark = 75 * DAY
    done, got = run_refit({**RUN, "champion": champion, "data": {**RUN["data"], **changes}})
    assert done.returncode == 0, done.stderr
    assert (got["verdict"], got["reason"]) == ("Refused", want)
    assert got["data_digest"].startswith("sha256:")


def test_empty_log_is_refused(observer, run_refit, tmp_path):
    _, state = observer
    champion = push_champion(state, tmp_path / "champion", world(0, 30, slope=2))
    _, got = run_refit({**RUN, "champion": champion})
    assert got["reason"] == "TooFewLabels"


def test_observer_that_stumbles_is_asked_again(observer, run_refit, tmp_path):
    _, state = observer
    champion = push_champion(state, tmp_path / "champion", world(0, 30, slope=2))
    state.rows = logged(world(30, 75, slope=2, seed=1))
    state.watermark = 75 * DAY
    state.faults_left = 2
    done, got = run_refit({**RUN, "champion": champion})
    assert done.returncode == 0, done.stderr
    assert got["verdict"] in {"Accepted", "Refused"}
    assert state.faults_left == 0


def test_tampered_champion_fails_the_job_by_its_digest(observer, run_refit, tmp_path):
    _, state = observer
    champion = push_champion(state, tmp_path / "champion", world(0, 30, slope=2))
    digest = champion["uri"].removeprefix("perennial://")
    state.blobs[digest] = state.blobs[digest][:-600] + b"\x01" * 600
    done, got = run_refit({**RUN, "champion": champion})
    assert done.returncode == 1
    assert got["reason"] == "BundleUnusable"
    assert "DigestMismatch" in got["message"]


def test_wrong_token_fails_the_job(observer, run_refit, tmp_path):
    _, state = observer
    champion = push_champion(state, tmp_path / "champion", world(0, 30, slope=2))
    state.token = "another"
    done, got = run_refit({**RUN, "champion": champion})
    assert (done.returncode, got["reason"]) == (1, "ObserverRefused")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"metric": "beauty"}, "beauty"),
        ({"metric": "rmse"}, "Regression"),
        ({"champion": {}}, "champion.revision"),
    ],
)
def test_run_that_cannot_be_understood_fails_the_job(observer, run_refit, tmp_path, changes, word):
    _, state = observer
    champion = push_champion(state, tmp_path / "champion", world(0, 30, slope=2))
    done, got = run_refit({**RUN, "champion": champion, **changes})
    assert (done.returncode, got["reason"]) == (1, "InvalidRun")
    assert word.lower() in got["message"].lower()


def test_users_own_trainer_decides_what_is_trained(observer, run_refit, tmp_path):
    _, state = observer
    champion = push_champion(state, tmp_path / "champion", world(0, 30, slope=2))
    state.rows = logged(world(30, 75, slope=-2, seed=1))
    state.watermark = 75 * DAY
    script = tmp_path / "trainer.py"
    script.write_text(
        "import perennial_training\n"
        "from sklearn.tree import DecisionTreeClassifier\n"
        "def train(data):\n"
        "    model = DecisionTreeClassifier(max_depth=2, random_state=data.seed)\n"
        "    return model.fit(data.x, data.y, sample_weight=data.sample_weight)\n"
        "perennial_training.run(train)\n"
    )
    done, got = run_refit({**RUN, "champion": champion}, module=(str(script),))
    assert done.returncode == 0, done.stderr
    assert got["verdict"] == "Accepted"
    digest = got["candidate_uri"].removeprefix("perennial://")
    perennial_bundle.unpack(io.BytesIO(state.blobs[digest]), tmp_path / "candidate")
    assert type(perennial_bundle.load(tmp_path / "candidate").model).__name__ == "DecisionTreeClassifier"


@pytest.mark.parametrize(
    ("body", "word"), [("raise RuntimeError('no luck')", "no luck"), ("return 'a poem'", "bundled")]
)
def test_trainer_that_breaks_fails_the_job(observer, run_refit, tmp_path, body, word):
    _, state = observer
    champion = push_champion(state, tmp_path / "champion", world(0, 30, slope=2))
    state.rows = logged(world(30, 75, slope=-2, seed=1))
    state.watermark = 75 * DAY
    script = tmp_path / "trainer.py"
    script.write_text(
        f"import perennial_training\ndef train(data):\n    {body}\nperennial_training.run(train)\n"
    )
    done, got = run_refit({**RUN, "champion": champion}, module=(str(script),))
    assert (done.returncode, got["reason"]) == (1, "TrainerFailed")
    assert word in got["message"]


def test_environment_that_is_not_json_fails_the_job(run_refit):
    done, got = run_refit({}, PERENNIAL_RUN="{")
    assert (done.returncode, got["reason"]) == (1, "InvalidRun")
