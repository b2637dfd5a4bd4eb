"""Explanations by a real server, over a real model of mixed columns."""

import concurrent.futures

import httpx
import numpy as np
import pytest

from .conftest import INFER, build_request, run_observer, run_server

EXPLAIN = "/v2/models/flights/explain"


def post(server, path, **options):
    return httpx.post(server.url + path, timeout=120, **options)


@pytest.mark.parametrize("path", [EXPLAIN, "/v2/models/flights/versions/flights-1a2b3c4d/explain"])
def test_contributions_add_up_to_the_margin_of_each_row(shared_server, bundle, path):
    request = build_request(5)
    got = post(shared_server, path, json=request)
    assert got.status_code == 200, got.text
    answer = got.json()
    assert answer["parameters"] == {"method": "Linear", "explained": "margin", "features": "wind,carrier"}
    outputs = {output["name"]: output for output in answer["outputs"]}
    contributions = np.array(outputs["contributions"]["data"]).reshape(outputs["contributions"]["shape"])
    frame = bundle.schema.validate({t["name"]: t["data"] for t in request["inputs"]})
    want = bundle.model.decision_function(frame[["wind", "carrier"]])
    assert np.allclose(np.array(outputs["base_value"]["data"]) + contributions.sum(axis=1), want)


def test_more_rows_than_allowed_are_refused_with_how_many_are(shared_server):
    got = post(shared_server, EXPLAIN, json=build_request(65))
    assert got.status_code == 400
    assert "at most 64 rows" in got.json()["error"]


def test_a_body_that_is_no_request_gets_the_error_body_of_the_protocol(shared_server):
    got = post(shared_server, EXPLAIN, content=b"{")
    assert got.status_code == 400
    assert set(got.json()) == {"error"}


def test_predictions_are_answered_while_many_ask_for_explanations(shared_server):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        explained = [pool.submit(post, shared_server, EXPLAIN, json=build_request(64)) for _ in range(24)]
        predicted = [post(shared_server, INFER, json=build_request(2)).status_code for _ in range(5)]
        statuses = {future.result().status_code for future in explained}
    assert predicted == [200] * 5
    assert 200 in statuses
    assert statuses <= {200, 429}


def test_an_explanation_is_not_a_prediction_and_is_not_logged(bundle, tmp_path):
    with (
        run_observer(tmp_path) as observer,
        run_server(tmp_path, f"file://{bundle.path}", OBSERVER_URL=observer.url) as server,
    ):
        assert post(server, EXPLAIN, json=build_request(2)).status_code == 200
        assert post(server, INFER, json=build_request(2)).status_code == 200
        assert len(observer.wait_for_log(1)) == 1
