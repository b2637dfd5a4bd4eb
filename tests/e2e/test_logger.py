"""`spec.logger.sink`: each prediction of a served model reaches a sink outside of the cluster as a CloudEvent."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from tests.e2e.support.kube import Kube, wait_for
from tests.e2e.support.models import make_rows, request_body, save_classifier
from tests.e2e.support.objects import deployment

NAME = "world"
REQUESTS = 5


class Sink(ThreadingHTTPServer):
    """Keeps the events of what is posted to it."""

    def __init__(self, host: str) -> None:
        self.events: list[CloudEvent] = []
        super().__init__((host, 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Sink

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.events += [JSONFormat().read(CloudEvent, json.dumps(event)) for event in json.loads(body)]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def sink(kube: Kube) -> Iterator[Sink]:
    """A sink at the address that the node, which is this machine, has for its pods."""
    addresses = kube.list("node")[0]["status"]["addresses"]
    host = next(found["address"] for found in addresses if found["type"] == "InternalIP")
    with Sink(host) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def uri(push: Callable[[Path], str], tmp_path: Path) -> str:
    return push(save_classifier(tmp_path / "world").path)


def test_predictions_reach_the_sink_as_cloud_events(
    kube: Kube, namespace: str, gateway_url: str, uri: str, sink: Sink
) -> None:
    host, port = sink.server_address[:2]
    kube.apply(
        deployment(
            NAME, namespace, uri, logger={"sink": {"url": f"http://{host!s}:{port}/events"}, "exclude": ["b"]}
        )
    )
    kube.wait_condition(NAME, namespace, "Ready", "True", timeout_s=180)
    frame, _ = make_rows(2)
    url = f"{gateway_url}/{namespace}/{NAME}/v2/models/{NAME}/infer"
    answers = [httpx.post(url, json=request_body(frame), timeout=20) for _ in range(REQUESTS)]
    assert {answer.status_code for answer in answers} == {200}
    want = {answer.headers["x-prediction-id"] for answer in answers}
    wait_for(
        lambda: len(sink.events) >= REQUESTS or None, timeout_s=60, what=f"{REQUESTS} events in the sink"
    )
    assert {event.get_id() for event in sink.events} == want
    revision = answers[0].headers["x-model-revision"]
    assert {event.get_source() for event in sink.events} == {f"/{namespace}/{NAME}/{revision}"}
    data = sink.events[0].get_data()
    assert set(data["inputs"]) == {"a", "time"}
    assert data["inputs"]["a"] == frame["a"].tolist()
    assert len(data["outputs"]["probability"]) == len(frame)
