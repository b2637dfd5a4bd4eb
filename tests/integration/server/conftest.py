"""Real model servers and a real little observer, each a process on loopback."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import perennial_bundle
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

DEADLINE_S = 60
INFER = "/v2/models/flights/infer"


def find_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for(condition, what):
    """Wait for a condition; a generous deadline, and no assertion on the time it takes."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if got := condition():
            return got
        time.sleep(0.02)
    raise AssertionError(f"waited {DEADLINE_S} s for {what}")


def build_request(n_rows=2, **more):
    """A valid request of the bundle below."""
    columns = {
        "wind": ("FP64", [float(i % 20) for i in range(n_rows)]),
        "carrier": ("BYTES", ["AA", "UA"] * (n_rows // 2) + ["DL"] * (n_rows % 2)),
        "when": ("BYTES", ["2013-03-01T00:00:00Z"] * n_rows),
        "tail": ("BYTES", ["N101"] * n_rows),
    }
    inputs = [
        {"name": name, "shape": [n_rows], "datatype": datatype, "data": data}
        for name, (datatype, data) in columns.items()
    ]
    return {"inputs": inputs, **more}


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    rng = np.random.default_rng(0)
    n = 500
    frame = pd.DataFrame(
        {
            "wind": rng.normal(10, 3, n),
            "carrier": rng.choice(["AA", "DL", "UA"], n),
            "when": pd.date_range("2013-01-01", periods=n, freq="h", tz="UTC"),
            "tail": rng.integers(100, 999, n).astype(str),
        }
    )
    labels = (frame.wind > 11).astype(int)
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["carrier"]), remainder="passthrough"
    )
    model = make_pipeline(encode, LogisticRegression()).fit(frame[["wind", "carrier"]], labels)
    path = tmp_path_factory.mktemp("bundles") / "flights"
    return perennial_bundle.save(model, frame, path, y=labels, event_time="when", passthrough=["tail"])


def build_slow_bundle(path):
    """A model that takes milliseconds for a row: a forest of four features."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(500, 4)), columns=["a", "b", "c", "d"])
    labels = (frame.sum(axis=1) > 0).astype(int)
    return perennial_bundle.save(
        RandomForestClassifier(100, random_state=0).fit(frame, labels), frame, path, y=labels
    )


class Process:
    """A process, the address it serves, and how to end it."""

    def __init__(self, arguments, environment, port, output):
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.output = output
        with output.open("w") as file:
            self.popen = subprocess.Popen(arguments, env=environment, stdout=file, stderr=file)

    def is_up(self, path):
        try:
            return httpx.get(self.url + path, timeout=5).is_success
        except httpx.HTTPError:
            return False

    def wait_up(self, path):
        def check():
            assert self.popen.poll() is None, self.output.read_text()
            return self.is_up(path)

        wait_for(check, f"{self.url}{path}")

    def stop(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(DEADLINE_S)


class Observer(Process):
    """The little observer."""

    def set(self, **changes):
        httpx.post(f"{self.url}/control", json=changes).raise_for_status()

    def read(self):
        return httpx.get(f"{self.url}/control").json()

    def wait_for_log(self, n):
        return wait_for(lambda: (got := self.read()["log"]) and len(got) >= n and got, f"{n} log entries")


def read_metric(server, name):
    """Sum a metric over its labels."""
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


@contextmanager
def run_observer(tmp_path, port=None):
    port = port or find_port()
    (tmp_path / "bundles").mkdir(exist_ok=True)
    script = Path(__file__).with_name("little_observer.py")
    arguments = [sys.executable, str(script), str(port), str(tmp_path / "bundles")]
    observer = Observer(arguments, dict(os.environ), port, tmp_path / "observer.log")
    try:
        observer.wait_up("/control")
        yield observer
    finally:
        observer.stop()


def build_environment(tmp_path, bundle_uri, port, **changes):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PERENNIAL_")}
    values = {
        "NAMESPACE": "shop",
        "DEPLOYMENT": "flights",
        "REVISION": "flights-1a2b3c4d",
        "BUNDLE_URI": bundle_uri,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "GRPC_PORT": "0",
        "TERMINATION_LOG": str(tmp_path / "termination-log"),
        "LOG_INTERVAL_S": "0.05",
        "BACKOFF_BASE_S": "0.05",
        "BACKOFF_CAP_S": "0.2",
        "DRAIN_DELAY_S": "0.1",
    }
    settings = {f"PERENNIAL_{k}": v for k, v in (values | changes).items() if v is not None}
    return clean | settings | {"BENTOML_HOME": str(tmp_path / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}


def start_server(tmp_path, bundle_uri, **changes):
    port = int(changes.pop("PORT", 0)) or find_port()
    environment = build_environment(tmp_path, bundle_uri, port, **changes)
    return Process(
        [sys.executable, "-m", "perennial_server.main"], environment, port, tmp_path / "server.log"
    )


@contextmanager
def run_server(tmp_path, bundle_uri, **changes):
    server = start_server(tmp_path, bundle_uri, **changes)
    try:
        server.wait_up("/v2/health/ready")
        yield server
    finally:
        server.stop()


def read_failure(server, tmp_path):
    """Wait for a server that can't start, and read what it leaves."""
    assert server.popen.wait(DEADLINE_S) == 1
    return json.loads((tmp_path / "termination-log").read_text())


@pytest.fixture(scope="module")
def shared_server(bundle, tmp_path_factory):
    """A server without an observer, for tests that only ask."""
    with run_server(
        tmp_path_factory.mktemp("server"), f"file://{bundle.path}", MAX_BODY_BYTES="1000000"
    ) as server:
        yield server
