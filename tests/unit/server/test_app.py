import json

import pytest
from perennial_server.engine.predictor import Predictor
from perennial_server.prediction_log.queue import LogQueue
from perennial_server.rest.app import V2App

from .conftest import build_settings

INFER = "/v2/models/wine/infer"
BODY = {
    "inputs": [
        {"name": "alcohol", "shape": [2], "datatype": "FP64", "data": [11.0, 13.0]},
        {"name": "acid", "shape": [2], "datatype": "FP64", "data": [5.0, 5.0]},
    ]
}


class Client:
    """Calls an ASGI application without a network."""

    def __init__(self, app):
        self.app = app

    async def call(self, method, path, body=b"", headers=()):
        parts = [body[:10], body[10:]]
        messages = [{"type": "http.request", "body": p, "more_body": i == 0} for i, p in enumerate(parts)]
        sent = []

        async def receive():
            return messages.pop(0)

        async def send(message):
            sent.append(message)

        raw = [(k.lower().encode(), v.encode("latin-1")) for k, v in headers]
        await self.app({"type": "http", "method": method, "path": path, "headers": raw}, receive, send)
        answer_headers = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        return sent[0]["status"], json.loads(sent[1]["body"]), answer_headers


class BrokenModel:
    """A bundle whose model raises."""

    def __init__(self, bundle):
        self.schema, self.manifest = bundle.schema, bundle.manifest

    def predict(self, frame):
        raise ZeroDivisionError("secret\n" * 1000)


@pytest.fixture
def queue(metrics):
    return LogQueue(100_000, metrics)


@pytest.fixture
def predictor(bundle, metrics, queue):
    predictor = Predictor(bundle, build_settings(max_body_bytes=10_000, max_in_flight=2), metrics, queue)
    yield predictor
    predictor.close()


@pytest.fixture
def client(predictor):
    return Client(V2App(predictor))


def read_requests(metrics, code):
    return metrics.registry.get_sample_value("perennial_server_requests_total", {"code": str(code)}) or 0


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/wine/ready", {"name": "wine", "ready": True}),
        ("/v2/models/wine/versions/wine-1a2b3c4d/ready", {"name": "wine", "ready": True}),
    ],
)
async def test_health_and_readiness(client, path, want):
    status, got, headers = await client.call("GET", path)
    assert (status, got, headers["x-model-revision"]) == (200, want, "wine-1a2b3c4d")


async def test_server_and_model_metadata(client):
    assert set((await client.call("GET", "/v2"))[1]) == {"name", "version", "extensions"}
    status, got, _ = await client.call("GET", "/v2/models/wine")
    assert (status, got["name"], got["versions"]) == (200, "wine", ["wine-1a2b3c4d"])
    assert got == (await client.call("GET", "/v2/models/wine/versions/wine-1a2b3c4d"))[1]


@pytest.mark.parametrize(
    ("method", "path", "want"),
    [
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/v2/models/beer", 404),
        ("GET", "/v2/models/wine/versions/wine-0", 404),
        ("POST", "/v2/models/beer/infer", 404),
        ("POST", "/v2/models/wine/versions/wine-0/infer", 404),
        ("POST", "/v2/models/wine", 405),
        ("GET", INFER, 405),
        ("DELETE", "/v2/health/live", 405),
        ("GET", "/v2/models/wine/infer/infer", 404),
    ],
)
async def test_a_wrong_path_or_method_is_a_v2_error(client, method, path, want):
    status, got, _ = await client.call(method, path)
    assert status == want
    assert list(got) == ["error"]


async def test_an_inference_is_answered_counted_and_logged(client, metrics, queue):
    status, got, headers = await client.call(
        "POST", INFER, json.dumps(BODY).encode(), [("X-Prediction-Id", "p-1")]
    )
    assert status == 200
    assert got["outputs"][0]["data"] == [0, 1]
    assert (headers["x-prediction-id"], headers["x-model-revision"]) == ("p-1", "wine-1a2b3c4d")
    assert metrics.registry.get_sample_value("perennial_server_predictions_total") == 2
    assert read_requests(metrics, 200) == 1
    (entry,) = [json.loads(e) for e in queue.take(max_bytes=10_000, max_entries=10)]
    assert entry["prediction_id"] == "p-1"
    assert entry["inputs"] == {"alcohol": [11.0, 13.0], "acid": [5.0, 5.0]}
    assert entry["outputs"]["predict"] == [0, 1]


async def test_a_mirrored_request_is_logged_as_such_under_the_id_of_the_live_one(client, queue):
    headers = [("x-prediction-id", "p-1"), ("x-perennial-shadow", "true"), ("x-user-id", "ann")]
    await client.call("POST", INFER, json.dumps(BODY).encode(), headers)
    (entry,) = [json.loads(e) for e in queue.take(max_bytes=10_000, max_entries=10)]
    assert (entry["prediction_id"], entry["shadow"]) == ("p-1", True)
    assert entry["client"]


@pytest.mark.parametrize(
    "headers",
    [
        [("x-perennial-probe", "true")],
        [("x-perennial-pin", "wine-1a2b3c4d"), ("x-prediction-id", "p-1")],
    ],
    ids=["probe", "pinned"],
)
async def test_a_trial_is_answered_and_not_logged(client, metrics, queue, headers):
    status, *_ = await client.call("POST", INFER, json.dumps(BODY).encode(), headers)
    assert (status, len(queue)) == (200, 0)
    assert metrics.registry.get_sample_value("perennial_server_predictions_total") == 0


@pytest.mark.parametrize("wanted", ["", "a b", "x" * 200, "é", "a\n"])
async def test_a_prediction_id_unfit_as_a_key_is_replaced(client, wanted):
    _, _, headers = await client.call("POST", INFER, json.dumps(BODY).encode(), [("x-prediction-id", wanted)])
    assert headers["x-prediction-id"] != wanted
    assert len(headers["x-prediction-id"]) == 32


@pytest.mark.parametrize(
    ("headers", "want"),
    [
        ([("content-type", "application/octet-stream")], 415),
        ([("content-type", "text/csv")], 415),
        ([("content-encoding", "gzip")], 415),
        ([("inference-header-content-length", "12")], 415),
        ([("content-length", "999999999")], 413),
        ([("content-type", "application/json; charset=utf-8")], 200),
        ([("content-type", "Application/vnd.api+JSON")], 200),
    ],
)
async def test_only_json_within_the_limit_is_read(client, headers, want):
    status, got, _ = await client.call("POST", INFER, json.dumps(BODY).encode(), headers)
    assert status == want
    assert ("error" in got) == (want != 200)


async def test_a_body_that_lies_about_its_length_is_cut(client):
    status, _, _ = await client.call("POST", INFER, b"x" * 20_000, [("content-length", "5")])
    assert status == 413


async def test_a_value_that_breaks_the_schema_is_refused_by_column(client, queue):
    body = json.loads(json.dumps(BODY))
    body["inputs"][1]["data"][1] = "sour"
    status, got, headers = await client.call("POST", INFER, json.dumps(body).encode())
    assert status == 400
    assert got["error"].startswith("acid: row 1 is 'sour'")
    assert headers["x-prediction-id"]
    assert len(queue) == 0


async def test_a_model_that_raises_is_a_v2_error_of_500_counted(bundle, metrics):
    predictor = Predictor(BrokenModel(bundle), build_settings(), metrics, None)
    status, got, _ = await Client(V2App(predictor)).call("POST", INFER, json.dumps(BODY).encode())
    predictor.close()
    assert (status, read_requests(metrics, 500)) == (500, 1)
    assert "ZeroDivisionError" in got["error"]
    assert len(got["error"]) < 700
    assert metrics.registry.get_sample_value("perennial_server_model_errors_total") == 1


async def test_more_requests_than_places_are_refused_with_429(client, predictor, metrics):
    predictor.admit()
    predictor.admit()
    status, got, headers = await client.call("POST", INFER, json.dumps(BODY).encode())
    assert (status, headers["retry-after"]) == (429, "1")
    assert "busy" in got["error"]
    predictor.release()
    assert (await client.call("POST", INFER, json.dumps(BODY).encode()))[0] == 200
    assert read_requests(metrics, 429) == 1


async def test_a_server_that_ends_is_unready_but_still_answers(client):
    client.app.ready = False
    assert (await client.call("GET", "/v2/health/ready"))[0] == 503
    assert (await client.call("GET", "/v2/models/wine/ready"))[0] == 503
    assert (await client.call("GET", "/v2/health/live"))[0] == 200
    assert (await client.call("POST", INFER, json.dumps(BODY).encode()))[0] == 200
