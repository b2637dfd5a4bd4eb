"""Explanations over the protocol: what is answered, and what is refused."""

import asyncio
import json
import threading
import time

import numpy as np
import pytest
from perennial_bundle import Rows
from perennial_bundle.explaining import build_explainer
from perennial_server.engine.predictor import Predictor
from perennial_server.errors import ModelError, RequestError, TooBusy, TooLate
from perennial_server.explaining import desk as desks
from perennial_server.explaining.desk import Desk
from perennial_server.rest.app import V2App

from .conftest import build_settings
from .test_app import BODY, Client, RecordedLog

EXPLAIN = "/v2/models/wine/explain"
ROWS = Rows(2, {"alcohol": [11.0, 13.0], "acid": [5.0, 5.0]})


@pytest.fixture
def log():
    return RecordedLog()


@pytest.fixture
def client(bundle, settings, metrics, log):
    predictor = Predictor(bundle, settings, metrics, log)
    app = V2App(predictor)
    yield Client(app)
    app.close()
    predictor.close()


def encode(body):
    return json.dumps(body).encode()


async def test_an_explanation_is_an_answer_of_the_protocol(client, bundle, log):
    status, answer, headers = await client.call(
        "POST", EXPLAIN, encode(BODY | {"id": "seven", "parameters": {"mine": 1}})
    )
    assert status == 200, answer
    assert (answer["id"], answer["model_name"]) == ("seven", "wine")
    assert answer["parameters"] == {
        "mine": 1,
        "method": "Linear",
        "explained": "margin",
        "features": "alcohol,acid",
    }
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert outputs["contributions"]["shape"] == [2, 2]
    assert outputs["base_value"]["shape"] == [2]
    assert outputs["class"]["data"] == [1, 1]
    contributions = np.array(outputs["contributions"]["data"]).reshape(2, 2)
    frame = bundle.schema.check(ROWS).frame
    want = bundle.model.decision_function(frame[["alcohol", "acid"]])
    assert np.allclose(np.array(outputs["base_value"]["data"]) + contributions.sum(axis=1), want)
    assert headers["x-prediction-id"]
    assert log.batches == []


async def test_explanations_are_counted_apart_from_predictions(client, metrics):
    await client.call("POST", EXPLAIN, encode(BODY))
    await client.call("POST", EXPLAIN, b"{")
    text = metrics.render().decode()
    assert 'perennial_server_explanations_total{code="200"} 1.0' in text
    assert 'perennial_server_explanations_total{code="400"} 1.0' in text
    assert "perennial_server_request_duration_seconds_count 0.0" in text


async def test_a_version_is_explained_by_its_name_and_no_other(client):
    status, *_ = await client.call("POST", "/v2/models/wine/versions/wine-1a2b3c4d/explain", encode(BODY))
    assert status == 200
    status, answer, _ = await client.call("POST", "/v2/models/wine/versions/other/explain", encode(BODY))
    assert status == 404
    assert "other" in answer["error"]


async def test_contributions_come_raw_where_all_outputs_are_asked_for_raw(client):
    body = BODY | {"parameters": {"binary_data_output": True}}
    status, answer, _ = await client.call("POST", EXPLAIN, encode(body))
    assert status == 200
    sizes = [output["parameters"]["binary_data_size"] for output in answer["outputs"]]
    assert sizes == [2 * 2 * 8, 2 * 8, 2 * 8]
    assert len(answer["raw"]) == sum(sizes)


async def test_rows_that_break_the_schema_are_refused(client):
    body = {"inputs": [BODY["inputs"][0]]}
    status, answer, _ = await client.call("POST", EXPLAIN, encode(body))
    assert status == 400
    assert "acid" in answer["error"]


async def test_explaining_is_a_post(client):
    status, _, headers = await client.call("GET", EXPLAIN)
    assert (status, headers["allow"]) == (405, "POST")


@pytest.fixture
def desk(bundle):
    settings = build_settings()
    desk = Desk(bundle, max_rows=4, max_waiting=2, timeout_s=settings.explain_timeout_s)
    yield desk
    desk.close()


async def test_too_many_rows_are_refused(desk):
    rows = Rows(5, {"alcohol": [11.0] * 5, "acid": [5.0] * 5})
    with pytest.raises(RequestError, match="at most 4 rows"):
        await desk.explain(rows)


async def test_a_passed_deadline_is_told(desk):
    with pytest.raises(TooLate):
        await desk.explain(ROWS, deadline_s=time.monotonic() - 1)


class SlowExplainer:
    """Waits until it may go on."""

    def __init__(self):
        self.may_go_on = threading.Event()

    def explain(self, frame, *, deadline_s=None):
        assert self.may_go_on.wait(30)
        raise ZeroDivisionError("secret")


async def test_no_more_wait_than_allowed_and_a_place_is_free_only_after_the_work(desk, monkeypatch):
    slow = SlowExplainer()
    monkeypatch.setattr(desks, "build_explainer", lambda bundle: slow)
    first, second = (asyncio.create_task(desk.explain(ROWS)) for _ in range(2))
    await asyncio.sleep(0)
    with pytest.raises(TooBusy):
        await desk.explain(ROWS)
    first.cancel()
    await asyncio.sleep(0)
    with pytest.raises(TooBusy):
        await desk.explain(ROWS)
    slow.may_go_on.set()
    with pytest.raises(ModelError, match="ZeroDivisionError"):
        await second
    with pytest.raises(ModelError):
        await desk.explain(ROWS)


async def test_the_explainer_is_built_once(desk, monkeypatch, bundle):
    built = []

    def build(some):
        built.append(some)
        return build_explainer(some)

    monkeypatch.setattr(desks, "build_explainer", build)
    for _ in range(2):
        await desk.explain(ROWS)
    assert built == [bundle]
