"""References that have no room in memory: what monitors find by them stays the same."""

import os
import resource
from pathlib import Path

import numpy as np
import orjson
import pytest
from perennial_api.modeldeployment.monitoring import Monitor, Reference
from perennial_observer.detectors.sidecar import Sidecar
from perennial_observer.monitors.looks import assessors as looks_assessors
from perennial_observer.monitors.looks.assessors import Assessors, Question, Scope
from perennial_observer.settings import Settings
from perennial_observer.store.reference_files import ReferenceFiles
from perennial_observer.store.references import read_reference, write_reference
from perennial_observer.store.rows import DeploymentKey, LoggedRow
from perennial_observer.store.shelf import Shelf
from perennial_observer.store.store import Store

from tests.unit.observer.drift_streams import settings as monitor_settings

from .test_references import in_file, log, stretch, write_parquet

NAMES = ["sugar", "acid", "alcohol"]
KEYS = [DeploymentKey(f"uid-{i}", "shop", f"wine-{i}") for i in range(2)]
ROWS, WINDOW = 400, 60
TOO_LITTLE = 8_000
NATIVE = {"engine": "Native"}
MONITORS = [
    Monitor.model_validate({"name": "m", **monitor})
    for monitor in (
        {"type": "Drift", "drift": NATIVE},
        {"type": "Drift", "drift": {**NATIVE, "detector": "MMD"}},
        {"type": "Drift", "drift": {**NATIVE, "detector": "PSI", "features": ["sugar"]}},
        {"type": "PredictionDrift", "predictionDrift": NATIVE},
        {"type": "Outlier", "outlier": {"detector": "Mahalanobis"}},
        {"type": "DataQuality"},
    )
]


def make_reference(seed: int) -> dict:
    values = np.random.default_rng(seed).normal(size=(ROWS, len(NAMES)))
    return {
        "revision": "r",
        "bundle_digest": "sha256:0",
        "task": "Regression",
        "schema": {
            "inputs": [{"name": name, "datatype": "FP64"} for name in NAMES],
            "outputs": [{"name": "predict", "datatype": "FP64", "role": "Output"}],
        },
        "rows": {name: column.tolist() for name, column in zip(NAMES, values.T, strict=True)},
        "outputs": {"predict": values[:, 0].tolist()},
        "event_time": [3_600.0 * i for i in range(ROWS)],
    }


@pytest.fixture
def store(tmp_path):
    opened = Store.open(Settings(data_dir=tmp_path))
    for seed, key in enumerate(KEYS):
        content = orjson.dumps(make_reference(seed))
        opened.writer.submit(
            lambda c, key=key, content=content: write_reference(c, key, "r", content, now=0.0), 0
        ).result(30)
    sent = orjson.dumps({**make_reference(0), "revision": "wine-1"})
    first = DeploymentKey("uid-1", "shop", "wine")
    opened.writer.submit(lambda c: write_reference(c, first, "wine-1", sent, now=0.0), 0).result(30)
    yield opened
    opened.close()


def assess_all(assessors: Assessors, seasonality: str = "None", monitors=MONITORS) -> list:
    """Judge two windows of each monitor of each deployment, one deployment after the other."""
    random = np.random.default_rng(9)
    found = []
    for start in range(2):
        for key in KEYS:
            scope = Scope(key, "r", reference=Reference(seasonality=seasonality))
            values = random.normal(size=(WINDOW, len(NAMES)))
            rows = [
                LoggedRow(
                    i, 3_600.0 * (start + i), dict(zip(NAMES, row, strict=True)), {"predict": float(row[0])}
                )
                for i, row in enumerate(values.tolist())
            ]
            questions = [Question(scope, m, monitor_settings(WINDOW, min_samples=50), rows) for m in monitors]
            found += [assessors.assess(question) for question in questions]
    return found


@pytest.mark.parametrize(("seasonality", "monitors"), [("None", MONITORS), ("Daily", MONITORS[:1])])
def test_verdicts_are_the_same_whether_references_have_room_or_not(store, monkeypatch, seasonality, monitors):
    times_read = [0]
    find = looks_assessors.find_reference

    def count(*of):
        times_read[0] += 1
        return find(*of)

    monkeypatch.setattr(looks_assessors, "find_reference", count)
    sidecar = Sidecar(Path("/nonexistent.sock"), 1.0)
    want = assess_all(Assessors(store, sidecar), seasonality, monitors)
    assert times_read == [len(KEYS)]
    got = assess_all(Assessors(store, sidecar, max_bytes=TOO_LITTLE), seasonality, monitors)
    assert got == want
    assert any(assessment.breached is False for assessment in got)
    assert times_read[0] > 2 * len(KEYS)


def test_what_is_held_stays_within_its_bound_and_is_dropped_with_its_revision(store):
    assessors = Assessors(store, Sidecar(Path("/nonexistent.sock"), 1.0), max_bytes=100_000)
    assess_all(assessors, monitors=MONITORS[:1])
    assert 0 < assessors._prepared.size_bytes <= 75_000
    assert 0 < len(assessors._prepared) < len(KEYS)
    assert 0 < assessors._calibrations.size_bytes <= 12_500
    assessors.keep_only(set())
    assert (len(assessors._prepared), len(assessors._calibrations)) == (0, 0)


def test_a_stretch_of_the_log_that_had_no_room_is_not_read_a_second_time(store, tmp_path):
    """More rows of it have come meanwhile: a reference never slides along with a drift."""
    log(store, [10, 20, 60])
    assessors = Assessors(store, Sidecar(Path("/nonexistent.sock"), 1.0), max_bytes=0, shelf=Shelf(tmp_path))
    want = assessors.prepare(stretch(0, 50)).reference
    log(store, [30])
    assessors.keep_only({("uid-1", "wine-1")})
    assert len(assessors._prepared) == 0
    assert assessors.prepare(stretch(0, 50)).reference == want
    assessors.keep_only(set())
    assert len(assessors.prepare(stretch(0, 50)).reference.columns["sugar"]) == 3


def test_a_file_that_had_no_room_is_not_fetched_a_second_time(store, tmp_path):
    path = write_parquet(tmp_path / "r.parquet", sugar=[1.0, None, 3.0])
    files = ReferenceFiles((f"file://{tmp_path}",))
    assessors = Assessors(
        store, Sidecar(Path("/nonexistent.sock"), 1.0), files=files, max_bytes=0, shelf=Shelf(tmp_path)
    )
    scope = in_file(path)
    want = assessors.prepare(scope).reference
    path.unlink()
    assessors.keep_only({("uid-1", "wine-1")})
    got = assessors.prepare(scope).reference
    assert (got, got.columns["sugar"]) == (want, [1.0, None, 3.0])


def test_a_shelf_keeps_to_its_bound_and_gives_back_what_is_forgotten(store, tmp_path):
    with store.read() as connection:
        first, second = (read_reference(connection, key.uid, "r") for key in KEYS[:2])
    shelf = Shelf(tmp_path)
    shelf.put("a", first)
    shelf.put("b", second)
    shelf.keep_only(lambda name: name == "b")
    assert (shelf.get("a"), shelf.get("b")) == (None, second)
    narrow = Shelf(tmp_path, max_bytes=100)
    narrow.put("a", first)
    assert narrow.get("a") is None


def test_what_a_full_volume_has_no_room_for_is_not_put_aside_and_the_rest_is_read_on(store, tmp_path):
    with store.read() as connection:
        first, second = (read_reference(connection, key.uid, "r") for key in KEYS[:2])
    shelf = Shelf(tmp_path)
    shelf.put("a", first)
    size, (soft, hard) = shelf._file.seek(0, 2), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
    try:
        shelf.put("b", second)
        got = shelf.get("a"), shelf.get("b")
        assert shelf._file.seek(0, 2) == size
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert got == (first, None)
    shelf.put("b", second)
    assert shelf.get("b") == second


def test_what_cannot_be_written_anew_stays_where_it_is(store, tmp_path):
    with store.read() as connection:
        first, second = (read_reference(connection, key.uid, "r") for key in KEYS[:2])
    shelf = Shelf(tmp_path)
    for name in ("a", "b", "c"):
        shelf.put(name, second if name == "c" else first)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        shelf.keep_only(lambda name: name == "c")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert shelf.get("c") == second
    size = shelf._file.seek(0, 2)
    shelf.keep_only(lambda name: name == "c")
    assert (shelf.get("c"), shelf._file.seek(0, 2) < size) == (second, True)


def test_what_cannot_be_read_any_more_or_was_replaced_is_not_given(store, tmp_path):
    with store.read() as connection:
        first, second = (read_reference(connection, key.uid, "r") for key in KEYS[:2])
    shelf = Shelf(tmp_path)
    shelf.put("a", first)
    shelf.put("b", second)
    shelf._file.truncate(100)
    assert (shelf.get("a"), shelf.get("b")) == (None, None)
    shelf.put("a", first)
    shelf.max_bytes = 100
    shelf.put("a", second)
    assert shelf.get("a") is None
    shelf.max_bytes = 1 << 20
    shelf.put("a", first)
    unreadable = os.open(tmp_path / "written-only", os.O_WRONLY | os.O_CREAT)
    os.dup2(unreadable, shelf._file.fileno())
    os.close(unreadable)
    assert shelf.get("a") is None
