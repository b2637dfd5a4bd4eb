import json

import httpx
import numpy as np
import pandas as pd
import pytest
from perennial_bundle import Column, Schema
from perennial_demo.auc import AucTrack
from perennial_demo.replay import Bodies, LateLabels, build_requests
from perennial_demo.traffic import Traffic

SCHEMA = Schema(
    inputs=(Column(name="x", datatype="FP64"),),
    outputs=(Column(name="predict", datatype="INT64", role="Output"),),
)


def traffic_to(handler, rows=6):
    frame = pd.DataFrame(
        {"time_s": np.repeat(np.arange(rows // 2), 2).astype(float), "carrier": "AA", "x": 1.0}
    )
    frame, requests = build_requests(frame, "time_s", "carrier")
    truth = np.arange(rows) % 2
    track = AucTrack(truth, frame["time_s"].to_numpy(), np.zeros(rows))
    labels = LateLabels(10.0)
    traffic = Traffic(
        "http://gateway/flights/flights",
        "flights",
        bodies=Bodies(frame, SCHEMA),
        truth=truth,
        labels=labels,
        track=track,
        concurrency=2,
        timeout_s=1,
        transport=httpx.MockTransport(handler),
    )
    return traffic, requests, track


def answer(request, *, revision="f-1"):
    n = json.loads(request.content)["inputs"][0]["shape"][0]
    outputs = [{"name": "probability", "datatype": "FP64", "shape": [n], "data": [0.25] * n}]
    headers = {"x-model-revision": revision, "x-prediction-id": f"p-{id(request)}"}
    return httpx.Response(200, json={"outputs": outputs}, headers=headers)


async def test_answers_are_kept_with_their_revision_and_labels_follow_later():
    fed = []

    def handler(request):
        if request.url.path.endswith("/feedback"):
            fed.extend(json.loads(request.content)["feedback"])
            return httpx.Response(200, json={"accepted": 2})
        assert request.url.path == "/flights/flights/v2/models/flights/infer"
        return answer(request)

    traffic, requests, track = traffic_to(handler)
    async with traffic:
        for request in requests:
            await traffic.send(request)
        await traffic.drain()
        await traffic.send_labels(now_s=9.0)
        assert fed == []
        await traffic.send_labels(now_s=11.0)
        assert [one["label"] for one in fed] == [0, 1, 0, 1]
        await traffic.send_labels(now_s=100.0)
    assert len(fed) == 6
    assert traffic.ledger.requests == {"f-1": 3}
    assert traffic.ledger.labels_sent == 6
    assert track.served.tolist() == [0.25] * 6
    assert set(track.revision) == {"f-1"}


async def test_failed_requests_are_counted_by_revision_and_have_no_labels():
    def handler(request):
        if request.url.path.endswith("/feedback"):
            raise AssertionError("nothing to feed back")
        return httpx.Response(500, text="boom", headers={"x-model-revision": "f-3"})

    traffic, requests, track = traffic_to(handler)
    async with traffic:
        for request in requests:
            await traffic.send(request)
        await traffic.drain()
        await traffic.send_labels(now_s=1e9)
    assert traffic.ledger.failed == {"f-3": 3}
    assert traffic.ledger.failures[0].text == "boom"
    assert np.isnan(track.served).all()


async def test_request_without_an_answer_is_a_failure_of_nobodys_revision():
    def handler(request):
        raise httpx.ConnectError("refused")

    traffic, requests, _ = traffic_to(handler)
    async with traffic:
        await traffic.send(requests[0])
        await traffic.drain()
    assert traffic.ledger.failed == {"": 1}


async def test_answer_that_cannot_be_read_stops_the_replay():
    traffic, requests, _ = traffic_to(lambda request: httpx.Response(200, json={"outputs": []}))
    async with traffic:
        await traffic.send(requests[0])
        await traffic.drain()
        with pytest.raises(KeyError):
            await traffic.send(requests[1])
