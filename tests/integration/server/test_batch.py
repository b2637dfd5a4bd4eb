"""Batch jobs as processes of their own: killed, ended, spread over workers."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import perennial_bundle
import pytest
from sklearn.linear_model import LogisticRegression

from .conftest import DEADLINE_S, build_environment, find_port, run_observer
from .stores import READER, ROOT, run_s3_server

ROWS = 1500
JOB_DEADLINE_S = 400


@pytest.fixture(scope="module")
def wine(tmp_path_factory):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"alcohol": rng.normal(12, 1, 300), "acid": rng.normal(5, 1, 300)})
    labels = (frame.alcohol > 12).astype(int)
    path = tmp_path_factory.mktemp("bundles") / "wine"
    return perennial_bundle.save(LogisticRegression().fit(frame, labels), frame, path, y=labels)


@pytest.fixture
def rows(tmp_path):
    """Rows in Parquet and in CSV, the latter with two that don't fit."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"id": range(ROWS), "alcohol": rng.normal(12, 1, ROWS), "acid": rng.normal(5, 1, ROWS)}
    )
    (tmp_path / "in").mkdir()
    frame.iloc[: ROWS // 2].to_parquet(tmp_path / "in" / "a.parquet", row_group_size=200)
    csv = frame.iloc[ROWS // 2 :].astype(str)
    csv.loc[ROWS // 2 + 3, "acid"] = "sour"
    csv.loc[ROWS - 1, "alcohol"] = ""
    csv.to_csv(tmp_path / "in" / "b.csv", index=False)
    return frame


def start_job(wine, tmp_path, *options, **changes):
    arguments = [
        "--bundle",
        str(wine.path),
        "--input",
        str(tmp_path / "in"),
        "--output",
        str(tmp_path / "out"),
    ]
    environment = build_environment(
        tmp_path, wine.path.as_uri(), find_port(), **{"CHUNK_ROWS": "15", **changes}
    )
    with (tmp_path / "job.log").open("a") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "perennial_server.batch", *arguments, *options],
            env=environment,
            stdout=file,
            stderr=file,
        )


def finish(job, tmp_path, want=0):
    try:
        assert job.wait(JOB_DEADLINE_S) == want, (tmp_path / "job.log").read_text()
    finally:
        job.kill()
        job.wait(DEADLINE_S)


def markers(tmp_path):
    done = tmp_path / "out" / "_perennial" / "done"
    return {path.name for path in done.iterdir() if ".tmp-" not in path.name} if done.is_dir() else set()


def wait_for_parts(job, tmp_path, n):
    """Wait until so many parts are done, or the job has ended."""
    end = time.monotonic() + JOB_DEADLINE_S
    while job.poll() is None and len(markers(tmp_path)) < n:
        assert time.monotonic() < end, f"waited {JOB_DEADLINE_S} s for {n} parts"
        time.sleep(0.005)


def kill_after(job, tmp_path, n):
    """Kill a job when so many parts are done; it mustn't have ended before."""
    try:
        wait_for_parts(job, tmp_path, n)
    finally:
        job.kill()
    assert job.wait(DEADLINE_S) == -signal.SIGKILL, (tmp_path / "job.log").read_text()


def read_parts(directory, suffix):
    read = pd.read_parquet if suffix == ".parquet" else pd.read_csv
    return pd.concat([read(path) for path in sorted(directory.glob(f"part-*{suffix}"))])


def check_all(tmp_path, rows, suffix=".parquet"):
    """Each input row is once in the output or once among the rejects."""
    got = read_parts(tmp_path / "out", suffix)
    rejects = read_parts(tmp_path / "out" / "_rejects", suffix)
    assert sorted(rejects.id.astype(int)) == [ROWS // 2 + 3, ROWS - 1]
    assert sorted([*got.id.astype(int), *rejects.id.astype(int)]) == list(rows.id)
    assert got.prediction_id.is_unique
    return got


def test_a_job_that_is_killed_over_and_over_leaves_each_row_once(wine, rows, tmp_path):
    for n_parts in (1, 50):
        kill_after(start_job(wine, tmp_path), tmp_path, n_parts)
    assert not (tmp_path / "out" / "_perennial" / "summary.json").exists()
    before = markers(tmp_path)
    finish(start_job(wine, tmp_path), tmp_path)
    assert before < markers(tmp_path)
    got = check_all(tmp_path, rows)
    fits = rows[rows.id.isin(got.id.astype(int))]
    want = wine.predict(wine.schema.validate({name: fits[name].to_numpy() for name in ("alcohol", "acid")}))
    np.testing.assert_allclose(
        got.sort_values("id", key=lambda ids: ids.astype(int)).probability, want["probability"]
    )


def test_a_signal_ends_a_job_after_its_part_and_the_next_start_goes_on(wine, rows, tmp_path):
    job = start_job(wine, tmp_path, "--output-format", "Csv")
    wait_for_parts(job, tmp_path, 1)
    job.send_signal(signal.SIGTERM)
    finish(job, tmp_path, want=128 + signal.SIGTERM)
    written = {path.stem for path in (tmp_path / "out").glob("part-*.csv")}
    assert written == {name.split(".")[0] for name in markers(tmp_path)}
    finish(start_job(wine, tmp_path, "--output-format", "Csv"), tmp_path)
    check_all(tmp_path, rows, ".csv")


def test_two_workers_score_each_row_once_though_the_job_was_killed(wine, rows, tmp_path):
    kill_after(start_job(wine, tmp_path, "--workers", "2"), tmp_path, 1)
    finish(start_job(wine, tmp_path, "--workers", "2"), tmp_path)
    check_all(tmp_path, rows)


def test_what_is_scored_is_logged_under_the_ids_of_the_output(wine, rows, tmp_path):
    with run_observer(tmp_path) as observer:
        finish(start_job(wine, tmp_path, OBSERVER_URL=observer.url, CHUNK_ROWS="1000"), tmp_path)
        got = check_all(tmp_path, rows)
        logged = [entry["prediction_id"] for entry in observer.wait_for_log(len(got))]
    assert sorted(logged) == sorted(got.prediction_id)


def test_an_observer_that_is_away_does_not_keep_a_job_from_its_end(wine, rows, tmp_path):
    changes = {"OBSERVER_URL": f"http://127.0.0.1:{find_port()}", "LOG_ATTEMPTS": "2", "CHUNK_ROWS": "1000"}
    finish(start_job(wine, tmp_path, **changes), tmp_path)
    check_all(tmp_path, rows)
    assert f"log_dropped={ROWS - 2}" in (tmp_path / "job.log").read_text()


@pytest.mark.parametrize(
    ("name", "want"), [("c.parquet", "can't be read as Parquet"), ("c.csv", "has no column 'acid'")]
)
def test_input_that_cannot_be_read_ends_the_job_with_its_name(wine, tmp_path, name, want):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(b"id,alcohol\n1,2\n")
    finish(start_job(wine, tmp_path), tmp_path, want=1)
    message = (tmp_path / "termination-log").read_text()
    assert '"reason": "UnreadableInput"' in message
    assert name in message
    assert want in message
    assert not (tmp_path / "out").exists()


def test_a_wrong_option_is_named(wine, tmp_path):
    finish(start_job(wine, tmp_path, "--chunk-rows", "0"), tmp_path, want=2)
    assert "CHUNK_ROWS" in (tmp_path / "job.log").read_text()


def test_a_job_reads_and_writes_a_bucket_and_goes_on_there_after_a_kill(wine, rows, tmp_path):
    with run_s3_server(tmp_path / "s3") as s3:
        for path in (tmp_path / "in").iterdir():
            s3.put("private", f"in/{path.name}", path.read_bytes())
        client = s3.client()

        def keys(prefix):
            found = client.list_objects_v2(Bucket="private", Prefix=prefix).get("Contents", [])
            return [entry["Key"] for entry in found]

        secret = {"key": ROOT[0], "secret": ROOT[1], "endpoint_url": s3.url}
        options = ("--input", "s3://private/in/*", "--output", "s3://private/scored")
        first = start_job(wine, tmp_path, *options, STORAGE_OPTIONS=json.dumps(secret), CHUNK_ROWS="50")
        end = time.monotonic() + JOB_DEADLINE_S
        while first.poll() is None and not keys("scored/_perennial/done/"):
            assert time.monotonic() < end, (tmp_path / "job.log").read_text()
            time.sleep(0.05)
        first.kill()
        assert first.wait(DEADLINE_S) == -signal.SIGKILL, (tmp_path / "job.log").read_text()
        finish(
            start_job(wine, tmp_path, *options, STORAGE_OPTIONS=json.dumps(secret), CHUNK_ROWS="50"), tmp_path
        )
        for key in keys("scored/"):
            target = tmp_path / "out" / key.removeprefix("scored/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(client.get_object(Bucket="private", Key=key)["Body"].read())
    check_all(tmp_path, rows)


def test_a_bucket_that_denies_access_is_named_and_no_key_is_told(wine, rows, tmp_path):
    with run_s3_server(tmp_path / "s3") as s3:
        secret = {"key": READER[0], "secret": READER[1], "endpoint_url": s3.url}
        options = ("--output", "s3://private/scored")
        job = start_job(wine, tmp_path, *options, STORAGE_OPTIONS=json.dumps(secret), BACKOFF_CAP_S="0.1")
        finish(job, tmp_path, want=1)
    message = (tmp_path / "termination-log").read_text()
    assert '"reason": "StorageFailed"' in message
    assert "private/scored" in message
    assert READER[1] not in (tmp_path / "job.log").read_text()
