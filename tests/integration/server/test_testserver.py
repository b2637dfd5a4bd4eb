"""The test double that the rollout tests serve with: what they tell it to do, it does."""

import importlib
import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from .conftest import Process, find_port, run_observer, wait_for

SERVER = Path(__file__).parents[3] / "images/testserver/server.py"
BODY = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [2], "data": [1.0, 2.0]}]}


@contextmanager
def run_test_server(tmp_path, **knobs):
    port = find_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PERENNIAL_PORT": str(port),
        "PERENNIAL_DEPLOYMENT": "wine",
        "PERENNIAL_REVISION": "wine-1a2b3c4d",
        **knobs,
    }
    process = Process([sys.executable, "-S", str(SERVER)], environment, port, tmp_path / "testserver.log")
    try:
        process.wait_up("/v2/health/ready")
        yield process
    finally:
        process.stop()


def infer(client, **headers):
    return client.post("/v2/models/wine/infer", json=BODY, headers=headers)


def count_statuses(server, n, **headers):
    with httpx.Client(base_url=server.url) as client:
        return Counter(infer(client, **headers).status_code for _ in range(n))


def test_it_answers_the_number_that_it_was_told(tmp_path):
    with run_test_server(tmp_path, PREDICT="2.5") as server, httpx.Client(base_url=server.url) as client:
        got = infer(client, **{"x-prediction-id": "p-1"})
        assert got.json()["outputs"] == [
            {"name": "predict", "shape": [2], "datatype": "FP64", "data": [2.5, 2.5]}
        ]
        assert got.headers["x-prediction-id"] == "p-1"
        assert got.headers["x-model-revision"] == "wine-1a2b3c4d"


def test_shares_of_errors_and_refusals_are_exact(tmp_path):
    with run_test_server(tmp_path, ERROR_RATE="0.2", INVALID_RATE="0.5") as server:
        # The refusals are half of what the errors leave.
        assert count_statuses(server, 100) == {500: 20, 400: 40, 200: 40}


def test_a_share_of_the_requests_is_slow(tmp_path):
    knobs = {"SLOW_RATE": "0.25", "SLOW_MS": "300"}
    with run_test_server(tmp_path, **knobs) as server, httpx.Client(base_url=server.url) as client:
        took_s = [infer(client).elapsed.total_seconds() for _ in range(12)]
    # A busy machine can only make requests slower, so the fast ones are not judged.
    assert min(took_s[3], took_s[7], took_s[11]) >= 0.3


def test_shares_are_spread_evenly(monkeypatch):
    monkeypatch.syspath_prepend(str(SERVER.parent))
    share = importlib.import_module("knobs").Even(0.25)
    assert [share.due() for _ in range(8)] == [False, False, False, True] * 2


def test_the_same_users_always_fail(tmp_path):
    with run_test_server(tmp_path, ERROR_USERS="0.3") as server:
        by_user = {user: count_statuses(server, 3, **{"x-user-id": user}) for user in map(str, range(100))}
    failing = {user for user, got in by_user.items() if got == {500: 3}}
    assert all(got == {200: 3} for user, got in by_user.items() if user not in failing)
    # The hash fixes which they are: 30 of 100 within chance.
    assert 20 <= len(failing) <= 40
    with run_test_server(tmp_path, ERROR_USERS="0.6") as server:
        assert all(count_statuses(server, 1, **{"x-user-id": user}) == {500: 1} for user in failing)


def test_it_echoes_the_headers_that_came(tmp_path):
    with run_test_server(tmp_path) as server, httpx.Client(base_url=server.url) as client:
        got = json.loads(infer(client, **{"x-test-echo": "1", "x-user-id": "ann"}).headers["x-test-echo"])
        assert got["x-user-id"] == "ann"
        assert "x-test-echo" not in infer(client).headers


def test_its_sample_is_a_request_that_it_answers(tmp_path):
    with run_test_server(tmp_path, PREDICT="3") as server, httpx.Client(base_url=server.url) as client:
        sample = client.get("/sample").json()
        assert client.post("/v2/models/wine/infer", json=sample).json()["outputs"][0]["data"] == [3]


def test_it_logs_as_a_real_server_does(tmp_path):
    token = tmp_path / "token"
    token.write_text("secret")
    with run_observer(tmp_path) as observer:
        observer.set(token="secret")
        knobs = {
            "LOG": "true",
            "PREDICT": "1",
            "REFERENCE_MEAN": "4",
            "PERENNIAL_OBSERVER_URL": observer.url,
            "PERENNIAL_TOKEN_FILE": str(token),
        }
        with run_test_server(tmp_path, **knobs) as server, httpx.Client(base_url=server.url) as client:
            infer(client, **{"x-prediction-id": "live", "x-user-id": "ann"})
            infer(client, **{"x-prediction-id": "live", "x-perennial-shadow": "true"})
            live, shadow = observer.wait_for_log(2)
        reference = wait_for(lambda: observer.read()["reference"], "the reference")[0]
    assert live["inputs"] == {"x": [1.0, 2.0]}
    assert live["outputs"] == {"predict": [1.0, 1.0]}
    assert live["client"] == "ann"
    assert "shadow" not in live
    assert shadow["shadow"] is True
    values = reference["rows"]["x"]
    assert sum(values) / len(values) == pytest.approx(4, abs=0.05)


def test_it_fails_with_the_reason_that_it_was_told(tmp_path):
    log = tmp_path / "termination"
    environment = {
        "PATH": os.environ["PATH"],
        "FAIL_REASON": "ModelLoadFailed",
        "TERMINATION_LOG": str(log),
    }
    done = subprocess.run(
        [sys.executable, "-S", str(SERVER)], env=environment, check=False, capture_output=True
    )
    assert done.returncode == 1
    assert json.loads(log.read_text())["reason"] == "ModelLoadFailed"
