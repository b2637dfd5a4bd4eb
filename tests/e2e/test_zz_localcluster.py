"""The cluster itself: it survives the death of everything, and leaves the machine as it found it.

Runs last (the name sorts so): the last test takes the session's cluster away.
"""

import contextlib
import os
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from perennial_localcluster import cleanup, cluster, images, processes, snapshot
from perennial_localcluster.api import ApiClient, ApiError
from perennial_localcluster.buildah import BASE_IMAGE
from perennial_localcluster.paths import Paths, find_paths
from perennial_localcluster.record import find_record

PODS = "/api/v1/namespaces/default/pods"
NAME = "survivor"
PORT = 8000
PATIENCE_S = 120


@pytest.fixture
def paths() -> Paths:
    where = find_paths()
    record = find_record(where)
    if record is None:
        cluster.up(where)
        record = find_record(where)
    if record is None or record.backend != "native":
        pytest.skip("only the native cluster's processes are ours to kill")
    return where


def wait_until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.2)


def build_pod() -> dict[str, object]:
    container = {
        "name": "web",
        "image": BASE_IMAGE,
        "imagePullPolicy": "Never",
        "command": ["python3", "-m", "http.server", str(PORT), "--directory", "/etc/uv"],
        "resources": {"requests": {"cpu": "10m"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


def serves(client: ApiClient) -> bool:
    """Whether the pod answers at the address that the API server names now."""
    with contextlib.suppress(OSError, ApiError):
        address = client.request("GET", f"{PODS}/{NAME}")["status"].get("podIP")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return bool(address) and opener.open(f"http://{address}:{PORT}/", timeout=2).status == 200
    return False


def find_everything(paths: Paths) -> set[int]:
    components = {pid for pid, command in processes.list_processes() if f"{paths.state}/" in command}
    return components | set(cleanup.find_container_pids(paths)) - {os.getpid()}


def kill_everything(paths: Paths) -> None:
    # As a machine that loses its power does: no component has a chance to tidy up.
    while pids := find_everything(paths):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def test_up_recovers_after_everything_was_killed_and_the_pod_serves_again(paths: Paths) -> None:
    images.build_base(paths)
    images.load(BASE_IMAGE, paths=paths)
    client = ApiClient(paths.kubeconfig)
    with contextlib.suppress(ApiError):
        client.request("POST", PODS, build_pod())
    wait_until("the pod serves", lambda: serves(client))
    uid = client.request("GET", f"{PODS}/{NAME}")["metadata"]["uid"]

    kill_everything(paths)
    assert not client.is_ready()
    cluster.up(paths)

    wait_until("the pod serves again", lambda: serves(client))
    got = client.request("GET", f"{PODS}/{NAME}")["metadata"]["uid"]
    assert got == uid, "the API server's data was lost"
    assert cluster.is_healthy(cluster.build_status(paths))


def test_second_up_changes_nothing(paths: Paths) -> None:
    before = {row["component"]: row["pid"] for row in cluster.build_status(paths)["components"]}
    started = time.monotonic()
    cluster.up(paths)
    print(f"second up: {time.monotonic() - started:.1f} s")
    after = {row["component"]: row["pid"] for row in cluster.build_status(paths)["components"]}
    assert after == before


def test_down_leaves_the_machine_as_it_was(paths: Paths) -> None:
    before = snapshot.parse(paths.snapshot.read_text())
    during = snapshot.observe(paths.state)
    assert snapshot.compare(before, during), "the comparison sees nothing of a running cluster"
    cluster.down(paths)
    assert snapshot.compare(before, snapshot.observe(paths.state)) == []
    assert not Path(paths.state).exists()
