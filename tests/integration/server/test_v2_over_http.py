import socket
import subprocess
import sys

import httpx
import pytest

from .conftest import INFER, Process, build_environment, build_request, find_port, read_metric, run_server


@pytest.fixture
def http(shared_server):
    with httpx.Client(base_url=shared_server.url, timeout=60) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/flights/ready", {"name": "flights", "ready": True}),
        ("/v2/models/flights/versions/flights-1a2b3c4d/ready", {"name": "flights", "ready": True}),
    ],
)
def test_health_rows_of_the_protocol(http, path, want):
    got = http.get(path)
    assert (got.status_code, got.json(), got.headers["content-type"]) == (200, want, "application/json")


def test_metadata_rows_of_the_protocol(http):
    assert http.get("/v2").json()["name"] == "perennial"
    got = http.get("/v2/models/flights").json()
    assert got == http.get("/v2/models/flights/versions/flights-1a2b3c4d").json()
    assert got["versions"] == ["flights-1a2b3c4d"]
    assert [t["name"] for t in got["inputs"]] == ["wind", "carrier", "when", "tail"]
    assert got["outputs"][0] == {"name": "predict", "datatype": "INT64", "shape": [-1]}


@pytest.mark.parametrize("path", [INFER, "/v2/models/flights/versions/flights-1a2b3c4d/infer"])
def test_inference_gives_what_the_bundle_gives(http, bundle, path):
    request = build_request(5, id="mine", parameters={"note": "x"})
    got = http.post(path, json=request, headers={"x-prediction-id": "p-7"})
    assert got.status_code == 200, got.text
    assert (got.headers["x-prediction-id"], got.headers["x-model-revision"]) == ("p-7", "flights-1a2b3c4d")
    answer = got.json()
    want = bundle.predict(bundle.schema.validate({t["name"]: t["data"] for t in request["inputs"]}))
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert outputs["predict"] == {
        "name": "predict",
        "shape": [5],
        "datatype": "INT64",
        "data": want["predict"].tolist(),
    }
    assert outputs["probability"]["data"] == pytest.approx(want["probability"].tolist())
    assert (answer["id"], answer["parameters"]) == ("mine", {"note": "x"})
    assert (answer["model_name"], answer["model_version"]) == ("flights", "flights-1a2b3c4d")


def test_a_category_and_a_wind_never_seen_are_tolerated(http):
    request = build_request(1)
    request["inputs"][0]["data"], request["inputs"][1]["data"] = [1e6], ["ZZ"]
    assert http.post(INFER, json=request).status_code == 200


def test_a_full_large_request_is_answered(http):
    got = http.post(INFER, json=build_request(10_000))
    assert got.status_code == 200
    assert got.json()["outputs"][0]["shape"] == [10_000]


def test_a_fault_names_its_field(http):
    request = build_request()
    request["inputs"][0]["data"] = ["fast", "slow"]
    got = http.post(INFER, json=request)
    assert got.json()["error"] == "wind: row 0 is 'fast', which isn't FP64 (WrongType)"
    assert got.headers["x-prediction-id"]


def send_raw(server, data):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return sock.recv(65_536)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GARBAGE\r\n\r\n",
        b"POST " + INFER.encode() + b" HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n{}",
        b"POST " + INFER.encode() + b" HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{}",
        b"GET /v2/" + b"x" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /v2/models/%00%ff/infer HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
def test_broken_http_leaves_the_server_well_and_is_no_500(shared_server, http, data):
    got = send_raw(shared_server, data)
    assert not got.startswith(b"HTTP/1.1 5")
    assert http.post(INFER, json=build_request()).status_code == 200


def test_nothing_above_was_a_500(http, shared_server):
    assert http.post(INFER, json=build_request()).status_code == 200
    assert 'code="500"' not in http.get("/metrics").text
    assert read_metric(shared_server, "perennial_server_predictions_total") > 0


def test_bentomls_own_api_and_pages_work_beside_it(http, bundle):
    assert "html" in http.get("/").headers["content-type"]
    assert "/predict" in http.get("/docs.json").json()["paths"]
    assert http.get("/livez").status_code == 200
    rows = {t["name"]: t["data"] for t in build_request(2)["inputs"]}
    got = http.post("/predict", json={"rows": rows}, headers={"x-prediction-id": "p-8"})
    assert got.status_code == 200, got.text
    assert got.json()["predict"] == bundle.predict(bundle.schema.validate(rows))["predict"].tolist()
    assert got.headers["x-prediction-id"] == "p-8"
    assert http.post("/predict", json={"rows": {"wind": ["x"]}}).status_code == 400
    assert http.post("/predict", json={"rows": rows | {"wind": ["x", "y"]}}).status_code == 400


def test_bentoml_serve_serves_the_same_service(bundle, tmp_path):
    port = find_port()
    environment = build_environment(tmp_path, f"file://{bundle.path}", port)
    arguments = [sys.executable, "-m", "bentoml", "serve", "perennial_server.service:PerennialModel"]
    server = Process([*arguments, "--port", str(port)], environment, port, tmp_path / "server.log")
    try:
        server.wait_up("/v2/health/ready")
        got = httpx.post(server.url + INFER, json=build_request(2), timeout=60)
        assert (got.status_code, got.headers["x-model-revision"]) == (200, "flights-1a2b3c4d")
        assert httpx.get(server.url + "/docs.json").status_code == 200
    finally:
        server.popen.terminate()
        try:
            server.popen.wait(30)
        except subprocess.TimeoutExpired:
            server.stop()


def test_a_server_answers_the_sample_that_it_hands_out(shared_server):
    sample = httpx.get(f"{shared_server.url}/sample", timeout=60)
    assert sample.status_code == 200
    got = httpx.post(
        shared_server.url + INFER, content=sample.content, headers={"x-perennial-probe": "true"}, timeout=60
    )
    assert got.status_code == 200
    assert got.json()["outputs"][0]["shape"] == [1]
    assert httpx.get(f"{shared_server.url}/sample", headers={"x-prediction-id": "p"}).status_code == 404


@pytest.mark.parametrize("detector", ["Mahalanobis", "KNN"])
def test_answers_say_how_odd_their_rows_are(bundle, tmp_path, detector):
    request = build_request(4)
    request["inputs"][0]["data"] = [10.0, 11.0, 500.0, 9.0]
    rows = {t["name"]: t["data"] for t in request["inputs"]}
    with run_server(tmp_path, f"file://{bundle.path}", OUTLIER_DETECTOR=detector) as server:
        answers = [
            httpx.post(server.url + path, json=body, timeout=60)
            for path, body in ((INFER, request), ("/predict", {"rows": rows}))
        ]
    told = {
        (got.headers["x-perennial-outliers"], got.headers["x-perennial-outlier-scores"]) for got in answers
    }
    assert len(told) == 1
    n_odd, scores = told.pop()
    assert n_odd == "1"
    assert [float(score) > 0 for score in scores.split(",")] == [False, False, True, False]
