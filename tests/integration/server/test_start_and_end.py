import asyncio
import hashlib
import io
import json
import pickle
import shutil
import signal
import socket
import subprocess

import httpx
import perennial_bundle
import pytest

from .conftest import (
    DEADLINE_S,
    INFER,
    build_request,
    build_slow_bundle,
    find_port,
    read_failure,
    read_metric,
    run_observer,
    run_server,
    start_server,
    wait_for,
)


def put_bundle(tmp_path, data):
    """Put bytes into the little observer's store, under their digest; return the URI."""
    digest = hashlib.sha256(data).hexdigest()
    (tmp_path / "bundles").mkdir(exist_ok=True)
    (tmp_path / "bundles" / digest).write_bytes(data)
    return f"perennial://sha256:{digest}"


def pack_bytes(path):
    buffer = io.BytesIO()
    perennial_bundle.pack(path, buffer)
    return buffer.getvalue()


def spoil(bundle, tmp_path, change):
    """Copy the bundle and change its manifest."""
    path = shutil.copytree(bundle.path, tmp_path / "spoilt")
    manifest = json.loads((path / "bundle.json").read_text())
    change(manifest, path)
    (path / "bundle.json").write_text(json.dumps(manifest))
    return path


def refuse_the_reference(manifest, path):
    """A range that the reference sample itself breaks."""
    wind = next(column for column in manifest["schema"]["inputs"] if column["name"] == "wind")
    wind.update(minimum=0.0, maximum=1.0, out_of_range="Reject")


def put_pickle(manifest, path):
    data = pickle.dumps({"a": 1})
    (path / "model.skops").write_bytes(data)
    manifest["files"]["model.skops"] = hashlib.sha256(data).hexdigest()


def take_a_feature(manifest, path):
    manifest["schema"]["inputs"] = [c for c in manifest["schema"]["inputs"] if c["name"] != "wind"]


def test_a_bundle_comes_from_the_observer_by_its_digest(bundle, tmp_path):
    uri = put_bundle(tmp_path, pack_bytes(bundle.path))
    (tmp_path / "token").write_text("right")
    with run_observer(tmp_path) as observer:
        observer.set(token="right", mode="busy")
        options = {
            "OBSERVER_URL": observer.url,
            "TOKEN_FILE": str(tmp_path / "token"),
            "BUNDLE_ATTEMPTS": "100",
        }
        server = start_server(tmp_path, uri, **options)
        try:
            wait_for(lambda: observer.read()["calls"] > 1, "a second attempt")
            observer.set(mode="ok")
            server.wait_up("/v2/health/ready")
            assert httpx.post(server.url + INFER, json=build_request()).status_code == 200
        finally:
            server.stop()


def test_a_bundle_is_served_from_a_tar_on_a_volume(bundle, tmp_path):
    (tmp_path / "flights.tar").write_bytes(pack_bytes(bundle.path))
    pin = bundle.digest.removeprefix("sha256:")
    with run_server(tmp_path, f"file://{tmp_path}/flights.tar", BUNDLE_SHA256=pin) as server:
        assert httpx.post(server.url + INFER, json=build_request()).status_code == 200


def test_a_tar_written_by_another_tool_is_served_under_its_own_digest(bundle, tmp_path):
    subprocess.run(
        [
            "tar",
            "cf",
            tmp_path / "other.tar",
            "-C",
            bundle.path,
            "model.skops",
            "reference.parquet",
            "bundle.json",
        ],
        check=True,
    )
    uri = put_bundle(tmp_path, (tmp_path / "other.tar").read_bytes())
    with run_observer(tmp_path) as observer, run_server(tmp_path, uri, OBSERVER_URL=observer.url):
        reference = wait_for(lambda: observer.read()["reference"], "the reference")[0]
        assert f"perennial://{reference['bundle_digest']}" == uri != f"perennial://{bundle.digest}"


@pytest.mark.parametrize(
    ("change", "want"),
    [
        (put_pickle, "UnsafeModel"),
        (take_a_feature, "ModelLoadFailed"),
        (refuse_the_reference, "InvalidBundle"),
        (lambda manifest, path: manifest.pop("schema"), "InvalidBundle"),
        (lambda manifest, path: (path / "model.skops").write_bytes(b"PK"), "DigestMismatch"),
        (lambda manifest, path: manifest.update(format="pickle"), "UnsafeModel"),
    ],
)
def test_a_bad_bundle_on_a_volume_ends_the_start_with_its_reason(bundle, tmp_path, change, want):
    path = spoil(bundle, tmp_path, change)
    got = read_failure(start_server(tmp_path, f"file://{path}"), tmp_path)
    assert got["reason"] == want
    assert got["message"]


@pytest.mark.parametrize(
    ("uri", "options", "want"),
    [
        ("perennial://sha256:" + "0" * 64, {}, "BundleNotFound"),
        ("file:///no/such/path", {}, "BundleNotFound"),
        ("http://example.com/model", {}, "InvalidBundle"),
        ("perennial://sha256:" + "0" * 64, {"BUNDLE_SHA256": "1" * 64}, "DigestMismatch"),
        ("perennial://sha256:" + "0" * 64, {"OBSERVER_URL": None}, "InternalError"),
        ("perennial://sha256:" + "0" * 64, {"PORT": "70000"}, "InternalError"),
    ],
)
def test_a_wrong_address_ends_the_start_with_its_reason(tmp_path, uri, options, want):
    with run_observer(tmp_path) as observer:
        got = read_failure(
            start_server(tmp_path, uri, **({"OBSERVER_URL": observer.url} | options)), tmp_path
        )
        assert got["reason"] == want


def test_bytes_other_than_the_digest_says_end_the_start(bundle, tmp_path):
    uri = put_bundle(tmp_path, pack_bytes(bundle.path))
    stored = tmp_path / "bundles" / uri.removeprefix("perennial://sha256:")
    stored.write_bytes(stored.read_bytes()[:-5000])
    with run_observer(tmp_path) as observer:
        got = read_failure(start_server(tmp_path, uri, OBSERVER_URL=observer.url), tmp_path)
    assert got["reason"] == "DigestMismatch"


def test_a_pickle_pushed_as_a_bundle_is_unsafe(tmp_path):
    uri = put_bundle(tmp_path, pickle.dumps([1] * 1000))
    with run_observer(tmp_path) as observer:
        got = read_failure(start_server(tmp_path, uri, OBSERVER_URL=observer.url), tmp_path)
    assert got["reason"] == "UnsafeModel"


def test_an_observer_that_stays_away_ends_the_start(tmp_path):
    options = {"OBSERVER_URL": f"http://127.0.0.1:{find_port()}", "BUNDLE_ATTEMPTS": "3"}
    got = read_failure(start_server(tmp_path, "perennial://sha256:" + "0" * 64, **options), tmp_path)
    assert got["reason"] == "ObserverUnavailable"


def test_a_port_that_is_taken_ends_the_start(bundle, tmp_path):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        server = start_server(tmp_path, f"file://{bundle.path}", PORT=str(sock.getsockname()[1]))
        assert read_failure(server, tmp_path)["reason"] == "InternalError"


def test_a_signal_during_the_start_ends_it_at_once(tmp_path):
    with run_observer(tmp_path) as observer:
        observer.set(mode="hang")
        server = start_server(tmp_path, "perennial://sha256:" + "0" * 64, OBSERVER_URL=observer.url)
        wait_for(lambda: observer.read()["calls"] > 0, "the first attempt")
        server.popen.send_signal(signal.SIGTERM)
        assert server.popen.wait(DEADLINE_S) == 0
        assert not (tmp_path / "termination-log").exists()


def start_request(server, prediction_id):
    """Send a request's head and half of its body."""
    body = json.dumps(build_request(2)).encode()
    head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\nx-prediction-id: {prediction_id}\r\ncontent-length: {len(body)}\r\n\r\n"
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S)
    sock.sendall(head.encode() + body[:100])
    return sock, body[100:]


def is_unready(server):
    return httpx.get(server.url + "/v2/health/ready").status_code == 503


def is_closed(server):
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S).close()
    except ConnectionRefusedError:
        return True
    return False


def test_sigterm_lets_requests_in_flight_end_and_sends_their_log(bundle, tmp_path):
    with run_observer(tmp_path) as observer:
        options = {"OBSERVER_URL": observer.url, "DRAIN_DELAY_S": "3", "LOG_INTERVAL_S": "3600"}
        with run_server(tmp_path, f"file://{bundle.path}", **options) as server:
            early, early_rest = start_request(server, "early")
            late, late_rest = start_request(server, "late")
            server.popen.send_signal(signal.SIGTERM)
            wait_for(lambda: is_unready(server), "unreadiness")
            # New requests are still answered: routers hear of the end a little later.
            headers = {"x-prediction-id": "new"}
            got = httpx.post(server.url + INFER, json=build_request(), headers=headers)
            assert (got.status_code, got.headers["connection"]) == (200, "close")
            early.sendall(early_rest)
            assert early.recv(65_536).startswith(b"HTTP/1.1 200")
            wait_for(lambda: is_closed(server), "the port to close")
            # Closed to others, it still ends what it has begun.
            late.sendall(late_rest)
            assert late.recv(65_536).startswith(b"HTTP/1.1 200")
            assert server.popen.wait(DEADLINE_S) == 0
            early.close()
            late.close()
        assert {entry["prediction_id"] for entry in observer.read()["log"]} == {"early", "late", "new"}


def is_idle(server):
    return read_metric(server, "perennial_server_in_flight") == 0


def test_sigterm_with_200_requests_in_flight_answers_all_of_them(tmp_path):
    slow = build_slow_bundle(tmp_path / "slow")
    tensor = {"name": "all", "shape": [1, 4], "datatype": "FP64", "data": [0.5] * 4}
    one_at_a_time = {"MAX_BATCH_ROWS": "1", "PREDICT_THREADS": "1", "INLINE_BELOW_S": "0"}
    options = {"MAX_WAIT_S": "600", "DRAIN_TIMEOUT_S": "600", **one_at_a_time}

    def count_in_flight():
        return read_metric(server, "perennial_server_in_flight")

    async def end_with_requests_in_flight():
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=server.url, timeout=DEADLINE_S, limits=limits) as client:
            sent = [asyncio.create_task(client.post(INFER, json={"inputs": [tensor]})) for _ in range(300)]
            await asyncio.to_thread(wait_for, lambda: count_in_flight() >= 200, "200 requests in flight")
            server.popen.send_signal(signal.SIGTERM)
            return [await answered for answered in asyncio.as_completed(sent)]

    with run_server(tmp_path, f"file://{slow.path}", **options) as server:
        answers = asyncio.run(end_with_requests_in_flight())
        assert server.popen.wait(DEADLINE_S) == 0
    assert [answer.status_code for answer in answers] == [200] * 300
    assert answers[-1].headers["connection"] == "close", "the last to be answered comes no more"


def test_a_request_that_never_ends_cannot_hold_the_server(bundle, tmp_path):
    options = {"DRAIN_TIMEOUT_S": "1", "DRAIN_DELAY_S": "0"}
    with run_server(tmp_path, f"file://{bundle.path}", **options) as server:
        sock, _ = start_request(server, "stuck")
        server.popen.send_signal(signal.SIGTERM)
        assert server.popen.wait(DEADLINE_S) == 0
        sock.close()
