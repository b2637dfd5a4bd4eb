import asyncio
import gzip
import json
import struct
import zlib

import pytest
from perennial_bundle import Flag
from perennial_server.engine.job import Prediction
from perennial_server.engine.predictor import Predictor
from perennial_server.errors import TooLate
from perennial_server.rest.app import V2App

from .conftest import build_settings, rate_acid

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
        return sent[0]["status"], read_answer(sent[1]["body"], answer_headers), answer_headers


def read_answer(body, headers):
    """The JSON of an answer, unpacked; the raw tensors behind it are under ``raw``."""
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    json_bytes = headers.get("inference-header-content-length")
    if json_bytes is None:
        return json.loads(body)
    return json.loads(body[: int(json_bytes)]) | {"raw": body[int(json_bytes) :]}


class BrokenModel:
    """A bundle whose model raises."""

    def __init__(self, bundle):
        self.schema, self.manifest = bundle.schema, bundle.manifest

    def predict(self, frame):
        raise ZeroDivisionError("secret\n" * 1000)


class RecordedLog:
    """Keeps what is logged."""

    def __init__(self):
        self.batches = []

    def put(self, batch):
        self.batches.append(batch)


@pytest.fixture
def log():
    return RecordedLog()


@pytest.fixture
def predictor(bundle, metrics, log):
    predictor = Predictor(bundle, build_settings(max_body_bytes=10_000, max_in_flight=2), metrics, log)
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


async def test_an_inference_is_answered_counted_and_logged(client, metrics, log):
    status, got, headers = await client.call(
        "POST", INFER, json.dumps(BODY).encode(), [("X-Prediction-Id", "p-1")]
    )
    assert status == 200
    assert got["outputs"][0]["data"] == [0, 1]
    assert (headers["x-prediction-id"], headers["x-model-revision"]) == ("p-1", "wine-1a2b3c4d")
    assert metrics.registry.get_sample_value("perennial_server_predictions_total") == 2
    assert read_requests(metrics, 200) == 1
    (batch,) = log.batches
    assert ([origin.prediction_id for origin in batch.origins], batch.sizes) == (["p-1"], (2,))
    assert batch.rows.matrix.tolist() == [[11.0, 5.0], [13.0, 5.0]]
    assert batch.outputs["predict"].tolist() == [0, 1]


async def test_a_mirrored_request_is_logged_as_such_under_the_id_of_the_live_one(client, log):
    headers = [("x-prediction-id", "p-1"), ("x-perennial-shadow", "true"), ("x-user-id", "ann")]
    await client.call("POST", INFER, json.dumps(BODY).encode(), headers)
    (origin,) = log.batches[0].origins
    assert (origin.prediction_id, origin.is_shadow) == ("p-1", True)
    assert origin.client


@pytest.mark.parametrize(
    "headers",
    [
        [("x-perennial-probe", "true")],
        [("x-perennial-pin", "wine-1a2b3c4d"), ("x-prediction-id", "p-1")],
    ],
    ids=["probe", "pinned"],
)
async def test_a_trial_is_answered_and_not_logged(client, metrics, log, headers):
    status, *_ = await client.call("POST", INFER, json.dumps(BODY).encode(), headers)
    assert (status, log.batches) == (200, [])
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
        ([("content-encoding", "br")], 415),
        ([("content-encoding", "gzip, gzip")], 415),
        ([("content-encoding", "gzip")], 400),
        ([("content-encoding", "deflate")], 400),
        ([("inference-header-content-length", "12")], 400),
        ([("inference-header-content-length", "-12")], 400),
        ([("inference-header-content-length", "x")], 400),
        ([("inference-header-content-length", "9" * 5000)], 400),
        ([("content-length", "999999999")], 413),
        ([("content-length", "9" * 5000)], 413),
        ([("content-encoding", "Identity")], 200),
        ([("content-type", "application/json; charset=utf-8")], 200),
        ([("content-type", "Application/vnd.api+JSON")], 200),
    ],
)
async def test_only_what_the_protocol_knows_within_the_limit_is_read(client, headers, want):
    status, got, _ = await client.call("POST", INFER, json.dumps(BODY).encode(), headers)
    assert status == want
    assert ("error" in got) == (want != 200)


async def test_a_body_that_lies_about_its_length_is_cut(client):
    status, _, _ = await client.call("POST", INFER, b"x" * 20_000, [("content-length", "5")])
    assert status == 413


async def test_raw_tensors_are_answered_raw_if_asked(client):
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "shape": [2, 2],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": 16},
                }
            ],
            "outputs": [{"name": "predict", "parameters": {"binary_data": True}}],
        }
    ).encode()
    body = head + struct.pack("<4f", 11, 5, 13, 5)
    headers = [
        ("content-type", "application/octet-stream"),
        ("inference-header-content-length", str(len(head))),
    ]
    status, got, answer_headers = await client.call("POST", INFER, body, headers)
    assert (status, answer_headers["content-type"]) == (200, "application/octet-stream")
    assert got["outputs"][0]["parameters"] == {"binary_data_size": 16}
    assert struct.unpack("<2q", got["raw"]) == (0, 1)


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_packed_body_is_unpacked(client, encoding, pack):
    body = pack(json.dumps(BODY).encode())
    status, got, _ = await client.call("POST", INFER, body, [("content-encoding", encoding)])
    assert (status, got["outputs"][0]["data"]) == (200, [0, 1])


@pytest.mark.parametrize(
    ("body", "want", "message"),
    [
        (gzip.compress(b"x" * 10_001), 413, "larger than 10000 bytes"),
        (gzip.compress(bytes(100_000_000)), 413, "larger"),
        (gzip.compress(json.dumps(BODY).encode())[:-10], 400, "ends in the middle"),
        (gzip.compress(b"{}") + b"x", 400, "goes on after"),
        (gzip.compress(b"{}") * 2, 400, "goes on after"),
        (b"x" * 100, 400, "isn't gzip"),
        (b"", 400, "ends in the middle"),
    ],
)
async def test_a_packed_body_that_is_damaged_or_a_bomb_is_refused(client, predictor, body, want, message):
    headers = [("content-encoding", "gzip")]
    status, got, _ = await client.call("POST", INFER, body, headers)
    assert (status, message in got["error"]) == (want, True)
    assert (await client.call("POST", INFER, json.dumps(BODY).encode()))[0] == 200


@pytest.mark.parametrize(
    ("accepted", "want"),
    [
        ("gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("br", False),
        ("", False),
    ],
)
async def test_a_large_answer_is_packed_for_who_takes_it(bundle, metrics, accepted, want):
    predictor = Predictor(bundle, build_settings(), metrics, None)
    n = 10_000
    inputs = [{"name": "x", "shape": [n, 2], "datatype": "FP64", "data": [12.5, 5.0] * n}]
    body = json.dumps({"inputs": inputs}).encode()
    status, got, headers = await Client(V2App(predictor)).call(
        "POST", INFER, body, [("accept-encoding", accepted)]
    )
    predictor.close()
    assert (status, headers.get("content-encoding") == "gzip") == (200, want)
    assert got["outputs"][0]["shape"] == [n]
    assert len(set(got["outputs"][0]["data"])) == 1


async def test_a_small_answer_is_not_packed(client):
    _, _, headers = await client.call("POST", INFER, json.dumps(BODY).encode(), [("accept-encoding", "gzip")])
    assert "content-encoding" not in headers


async def test_what_the_schema_let_through_is_told(client, predictor):
    flags = tuple(Flag(row, "acid", "Missing", "Imputed") for row in range(2))
    predict = predictor.predict

    async def predict_with_flags(rows, origin, *, deadline_s=None):
        return Prediction((await predict(rows, origin)).outputs, flags)

    predictor.predict = predict_with_flags
    _, got, headers = await client.call("POST", INFER, json.dumps(BODY).encode())
    assert got["parameters"] == {"flags": "acid:Missing:Imputed"}
    assert headers["x-perennial-flags"] == "2"


async def test_the_gateways_deadline_reaches_the_engine(client, predictor):
    got = []
    predict = predictor.predict

    async def predict_and_note(rows, origin, *, deadline_s=None):
        got.append(deadline_s)
        return await predict(rows, origin)

    predictor.predict = predict_and_note
    for value in ("60000", "soon", "", "9" * 40):
        headers = [("x-envoy-expected-rq-timeout-ms", value)]
        assert (await client.call("POST", INFER, json.dumps(BODY).encode(), headers))[0] == 200
    assert got[0] > 0
    assert got[1:] == [None] * 3


async def test_a_deadline_that_has_passed_is_refused_before_any_work(client):
    headers = [("x-envoy-expected-rq-timeout-ms", "0")]
    status, got, _ = await client.call("POST", INFER, json.dumps(BODY).encode(), headers)
    assert status in {429, 504}
    assert "deadline" in got["error"]


async def test_a_deadline_that_passes_while_waiting_is_a_v2_error_of_504(client, predictor, metrics):
    async def wait_too_long(rows, origin, *, deadline_s=None):
        raise TooLate

    predictor.predict = wait_too_long
    status, got, _ = await client.call("POST", INFER, json.dumps(BODY).encode())
    assert (status, read_requests(metrics, 504)) == (504, 1)
    assert "deadline" in got["error"]


@pytest.mark.parametrize(("method", "path", "want"), [("GET", INFER, "POST"), ("PUT", "/v2", "GET, HEAD")])
async def test_a_wrong_method_is_told_the_right_ones(client, method, path, want):
    status, _, headers = await client.call(method, path)
    assert (status, headers["allow"]) == (405, want)


@pytest.mark.parametrize(
    ("headers", "body", "want"),
    [
        ([("content-length", "9")], b"x" * 9, [9]),
        ([], b"x" * 9, [65_536, 9]),
        ([], b"x" * 70_000, [65_536, 100_000, 70_000]),
        ([("content-encoding", "gzip"), ("content-length", "30")], gzip.compress(b"x"), [65_536, 1]),
        ([("content-encoding", "gzip")], gzip.compress(b"x" * 70_000), [65_536, 100_000, 70_000]),
    ],
)
async def test_one_place_is_taken_for_as_much_as_a_body_may_become_and_kept_for_what_it_is(
    bundle, metrics, headers, body, want
):
    predictor = Predictor(bundle, build_settings(max_body_bytes=100_000, max_in_flight=1), metrics, None)
    admission = predictor._admission
    held = []
    for name in ("take", "resize"):
        change = getattr(admission, name)

        def record(*sizes, change=change):
            held.append(sizes[-1])
            return change(*sizes)

        setattr(admission, name, record)
    assert (await Client(V2App(predictor)).call("POST", INFER, body, headers))[0] == 400
    predictor.close()
    assert held == want
    assert (admission.requests, admission.size_bytes) == (0, 0)


async def test_a_body_that_outgrows_the_room_is_refused_and_leaves_no_trace(bundle, metrics):
    settings = build_settings(max_body_bytes=100_000, max_in_flight_bytes=150_000)
    predictor = Predictor(bundle, settings, metrics, None)
    predictor.admit(60_000)
    status, _, headers = await Client(V2App(predictor)).call("POST", INFER, b"x" * 70_000)
    assert (status, headers["retry-after"]) == (429, "1")
    assert metrics.registry.get_sample_value("perennial_server_refused_total", {"reason": "Full"}) == 1
    predictor.release(60_000)
    predictor.close()
    assert metrics.registry.get_sample_value("perennial_server_in_flight") == 0
    assert metrics.registry.get_sample_value("perennial_server_in_flight_bytes") == 0


async def test_a_value_that_breaks_the_schema_is_refused_by_column(client, log):
    body = json.loads(json.dumps(BODY))
    body["inputs"][1]["data"][1] = "sour"
    status, got, headers = await client.call("POST", INFER, json.dumps(body).encode())
    assert status == 400
    assert got["error"].startswith("acid: row 1 is 'sour'")
    assert headers["x-prediction-id"]
    assert log.batches == []


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
    # Where nobody says how much is still to come, nobody reads it; a small body is read over.
    assert headers["connection"] == "close"
    small = [("content-length", str(len(json.dumps(BODY))))]
    _, _, headers = await client.call("POST", INFER, json.dumps(BODY).encode(), small)
    assert "connection" not in headers
    predictor.release()
    assert (await client.call("POST", INFER, json.dumps(BODY).encode()))[0] == 200
    assert read_requests(metrics, 429) == 2


async def test_a_server_that_ends_is_unready_but_still_answers(client):
    client.app.ready = False
    assert (await client.call("GET", "/v2/health/ready"))[0] == 503
    assert (await client.call("GET", "/v2/models/wine/ready"))[0] == 503
    assert (await client.call("GET", "/v2/health/live"))[0] == 200
    assert (await client.call("POST", INFER, json.dumps(BODY).encode()))[0] == 200


def rows_of_acid(*acid):
    n = len(acid)
    columns = {"alcohol": [12.0] * n, "acid": list(acid)}
    return json.dumps(
        {
            "inputs": [
                {"name": k, "shape": [n], "datatype": "FP64", "data": values} for k, values in columns.items()
            ]
        }
    ).encode()


@pytest.fixture
def rating_client(bundle, metrics):
    predictor = Predictor(bundle, build_settings(), metrics, None, rate=rate_acid)
    yield Client(V2App(predictor))
    predictor.close()


async def test_answers_say_how_odd_their_own_rows_are(rating_client):
    """Also those of requests that were answered by one call of the model."""
    got = await asyncio.gather(
        *(rating_client.call("POST", INFER, rows_of_acid(*acid)) for acid in ([4.5, 7.0], [6.0], [1.0]))
    )
    told = [(headers["x-perennial-outliers"], headers["x-perennial-outlier-scores"]) for _, _, headers in got]
    assert told == [("1", "-0.5,2"), ("1", "1"), ("0", "-4")]


async def test_many_rows_are_counted_only(rating_client):
    _, _, headers = await rating_client.call("POST", INFER, rows_of_acid(*[7.0] * 101))
    assert headers["x-perennial-outliers"] == "101"
    assert "x-perennial-outlier-scores" not in headers


async def test_nobody_is_told_who_does_not_ask(client):
    _, _, headers = await client.call("POST", INFER, rows_of_acid(7.0))
    assert not [name for name in headers if "outlier" in name]


async def test_a_rater_that_fails_takes_no_prediction_along(bundle, metrics):
    def fail(rows):
        raise FloatingPointError

    predictor = Predictor(bundle, build_settings(), metrics, None, rate=fail)
    status, got, headers = await Client(V2App(predictor)).call("POST", INFER, rows_of_acid(7.0))
    predictor.close()
    assert (status, len(got["outputs"][0]["data"])) == (200, 1)
    assert not [name for name in headers if "outlier" in name]


async def test_rows_that_can_not_be_rated_are_counted_and_told_of_once(bundle, metrics, caplog):
    def rate(rows):
        if rows.n > 1:
            raise FloatingPointError("too odd")
        return rate_acid(rows)

    predictor = Predictor(bundle, build_settings(), metrics, None, rate=rate)
    for acid in ([7.0, 1.0], [7.0], [7.0, 1.0, 2.0]):
        await Client(V2App(predictor)).call("POST", INFER, rows_of_acid(*acid))
    predictor.close()
    assert metrics.registry.get_sample_value("perennial_server_unrated_rows_total") == 5
    (told,) = [record for record in caplog.records if record.exc_info]
    assert "can't be rated" in told.message


async def test_rows_that_nobody_asks_to_rate_are_not_counted_as_unrated(client, metrics):
    await client.call("POST", INFER, rows_of_acid(7.0))
    assert metrics.registry.get_sample_value("perennial_server_unrated_rows_total") == 0
