"""CloudEvents to a sink, beside the log to the observer."""

import json

import httpx
import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from .conftest import INFER, build_request, find_port, run_observer, run_server, wait_for
from .log_metrics import read_settled

# Short patience and a small queue, so that a broken sink shows at once.
IMPATIENT = {
    "SINK_QUEUE_BYTES": "30000",
    "SINK_TIMEOUT_S": "0.5",
    "SINK_ATTEMPTS": "2",
    "LOG_BATCH_ENTRIES": "20",
    "FLUSH_TIMEOUT_S": "1",
}


@pytest.fixture
def observer(tmp_path):
    with run_observer(tmp_path) as observer:
        yield observer


def read_events(observer):
    """Every event that the sink has, as the specification's own library reads them."""
    return [
        JSONFormat().read(CloudEvent, json.dumps(event))
        for message in observer.read()["sink"]
        for event in json.loads(message["body"])
    ]


def test_each_request_is_a_cloud_event_without_excluded_columns(bundle, observer, tmp_path):
    uri = f"file://{bundle.path}"
    settings = {"OBSERVER_URL": observer.url, "SINK_URL": f"{observer.url}/sink", "LOG_EXCLUDE": "tail,wind"}
    with run_server(tmp_path, uri, **settings) as server:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for i in range(30):
                headers = {"x-prediction-id": f"p{i}"} | ({"x-perennial-shadow": "true"} if i == 29 else {})
                answer = client.post(INFER, json=build_request(2), headers=headers)
                assert answer.status_code == 200
        assert read_settled(server, 30, "Sink")["sent"] == 30
        assert read_settled(server, 30, "Observer")["sent"] == 30
    events = read_events(observer)
    assert [event.get_id() for event in events] == [f"p{i}" for i in range(30)]
    assert {event.get_type() for event in events} == {"dev.perennial.prediction.v1"}
    assert {event.get_source() for event in events} == {"/shop/flights/flights-1a2b3c4d"}
    assert {event.get_specversion() for event in events} == {"1.0"}
    assert [event.get_extension("shadow") for event in events] == [None] * 29 + [True]
    times = [event.get_time() for event in events]
    assert times == sorted(times)
    assert times[0].tzinfo is not None
    data = events[0].get_data()
    outputs = answer.json()["outputs"]
    assert data == {
        "inputs": {"carrier": ["AA", "UA"], "when": ["2013-03-01T00:00:00Z"] * 2},
        "outputs": {output["name"]: output["data"] for output in outputs},
        "flags": [],
    }
    headers = [message["headers"] for message in observer.read()["sink"]]
    assert {each["Content-Type"] for each in headers} == {"application/cloudevents-batch+json; charset=utf-8"}
    assert not any("Authorization" in each for each in headers)
    assert all(set(entry["inputs"]) == {"carrier", "when"} for entry in observer.read()["log"])


@pytest.mark.parametrize(
    ("mode", "want"),
    [
        ("dead", {"QueueFull", "Undelivered"}),
        ("hang", {"QueueFull", "Undelivered"}),
        ("error", {"QueueFull", "Undelivered"}),
        ("refuse", {"QueueFull", "Refused"}),
        ("redirect", {"QueueFull", "Refused"}),
    ],
)
def test_a_broken_sink_changes_nothing_for_clients_and_the_observer(bundle, observer, tmp_path, mode, want):
    sink = f"http://127.0.0.1:{find_port()}/sink" if mode == "dead" else f"{observer.url}/sink"
    if mode != "dead":
        observer.set(sink_mode=mode)
    uri = f"file://{bundle.path}"
    with run_server(tmp_path, uri, OBSERVER_URL=observer.url, SINK_URL=sink, **IMPATIENT) as server:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for _ in range(200):
                assert client.post(INFER, json=build_request(2)).status_code == 200
        got = read_settled(server, 200, "Observer")
        assert (got["sent"], got["dropped"]) == (200, {})
        lost = read_settled(server, 200, "Sink")
        assert lost["sent"] == 0
        assert set(lost["dropped"]) <= want
        # A redirect that was followed would have brought events into the observer's log.
        assert len(observer.read()["log"]) == 200
        server.popen.terminate()
        assert server.popen.wait(60) == 0


def test_a_sink_alone_gets_the_sample_and_what_is_left_at_the_end(bundle, observer, tmp_path):
    uri, sink = f"file://{bundle.path}", f"{observer.url}/sink"
    settings = {"SINK_URL": sink, "LOG_PERCENT": "50", "LOG_MODE": "Response", "LOG_INTERVAL_S": "3600"}
    with run_server(tmp_path, uri, **settings) as server:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for i in range(40):
                headers = {"x-prediction-id": f"p{i}"}
                assert client.post(INFER, json=build_request(1), headers=headers).status_code == 200
        assert observer.read()["sink"] == []
        server.popen.terminate()
        assert server.popen.wait(60) == 0
    events = read_events(observer)
    assert 0 < len(events) < 40
    assert all(set(event.get_data()["inputs"]) == {"when"} for event in events)
    assert observer.read()["calls"] == 0


def test_a_sink_that_comes_back_gets_what_has_waited(bundle, observer, tmp_path):
    observer.set(sink_mode="busy")
    uri, sink = f"file://{bundle.path}", f"{observer.url}/sink"
    with run_server(tmp_path, uri, SINK_URL=sink, SINK_ATTEMPTS="100") as server:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for _ in range(10):
                assert client.post(INFER, json=build_request(1)).status_code == 200
        wait_for(lambda: observer.read()["sink_calls"] > 1, "a second attempt")
        observer.set(sink_mode="ok")
        got = read_settled(server, 10, "Sink")
        assert (got["sent"], got["dropped"], len(read_events(observer))) == (10, {}, 10)
