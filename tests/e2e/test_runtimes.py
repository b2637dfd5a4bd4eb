"""A model in an image of its own: named by a ModelRuntime alone, and served, logged and restarted like any other.

The image is one that the cluster has; a script in its command is the user's server.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from perennial_demo import install

from tests.e2e.support.kube import Kube, wait_for
from tests.e2e.support.objects import API, deployment

NAME = "gusts"
PORT = 8000
REQUESTS = 10
LAST_WIND = 600.0
# Answers twice the wind and one, and ends itself at the last wind.
SCRIPT = f"""
import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({{"ready": True}})

    def do_POST(self):
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["rows"]
        if any(row["wind"] == {LAST_WIND} for row in rows):
            os._exit(3)
        self.answer([[2 * row["wind"] + 1] for row in rows])

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

ThreadingHTTPServer(("127.0.0.1", {PORT}), Handler).serve_forever()
"""


def runtime(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": "ModelRuntime",
        "metadata": {"name": "own", "namespace": namespace},
        "spec": {
            "role": "Server",
            "image": f"{install.REGISTRY}/server:dev",
            "command": ["python3", "-c", SCRIPT],
            "formats": ["container"],
            "grpcPort": 3001,
            "adapter": {
                "port": PORT,
                "readyPath": "/ready",
                "request": {"shape": "Rows", "field": "rows"},
                "response": {"shape": "List"},
                "inputs": [{"name": "wind", "datatype": "FP64", "minimum": 0, "outOfRange": "Reject"}],
                "outputs": [{"name": "predict", "datatype": "FP64"}],
            },
        },
    }


@dataclass(frozen=True)
class Served:
    """Where the model is served."""

    namespace: str
    gateway_url: str

    def infer(self, *winds: float) -> httpx.Response:
        tensor = {"name": "wind", "datatype": "FP64", "shape": [len(winds)], "data": list(winds)}
        url = f"{self.gateway_url}/{self.namespace}/{NAME}/v2/models/{NAME}/infer"
        return httpx.post(url, json={"inputs": [tensor]}, timeout=30)


@pytest.fixture(scope="module")
def served(kube: Kube, gateway_url: str) -> Iterator[Served]:
    namespace = f"own-{uuid.uuid4().hex[:6]}"
    kube.run("create", "namespace", namespace)
    kube.apply(runtime(namespace))
    kube.apply(deployment(NAME, namespace, "runtime://v1", runtime="own"))
    kube.wait_condition(NAME, namespace, "Ready", "True", timeout_s=240)
    yield Served(namespace, gateway_url)
    kube.run("delete", "namespace", namespace, "--wait=false")


def test_model_in_an_image_answers_through_the_gateway(served: Served) -> None:
    answer = served.infer(1.0, 2.5)
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"][0]["data"] == [3.0, 6.0]
    assert answer.headers["x-model-revision"].startswith(f"{NAME}-")
    refused = served.infer(-1.0)
    assert refused.status_code == 400
    assert "wind" in refused.json()["error"]


def test_it_answers_over_grpc_too(served: Served) -> None:
    tensor = triton.InferInput("wind", [2], "FP64")
    tensor.set_data_from_numpy(np.array([1.0, 2.5]))
    options = [("grpc.default_authority", f"{NAME}.{served.namespace}")]
    with triton.InferenceServerClient(
        f"{urlsplit(served.gateway_url).hostname}:80", channel_args=options
    ) as client:
        answer = client.infer(NAME, [tensor], client_timeout=30)
    assert answer.as_numpy("predict").tolist() == [3.0, 6.0]


def test_its_predictions_are_logged(kube: Kube, served: Served) -> None:
    for _ in range(REQUESTS):
        assert served.infer(1.0).status_code == 200

    def probe() -> bool | None:
        report = kube.get("monitorreport", NAME, served.namespace) or {}
        return report.get("status", {}).get("log", {}).get("predictions", 0) >= REQUESTS or None

    wait_for(probe, timeout_s=120, what=f"{REQUESTS} logged predictions")


def test_image_that_ends_is_started_again_beside_its_server(kube: Kube, served: Served) -> None:
    def restarts(statuses: str) -> int:
        (pod,) = kube.list("pod", served.namespace)
        return sum(found["restartCount"] for found in pod["status"][statuses])

    before = restarts("initContainerStatuses")
    assert served.infer(LAST_WIND).status_code >= 500
    wait_for(
        lambda: restarts("initContainerStatuses") > before or None,
        timeout_s=120,
        what="another start of the image",
    )
    wait_for(lambda: served.infer(1.0).status_code == 200 or None, timeout_s=120, what="an answer again")
    assert restarts("containerStatuses") == 0


def test_runtime_of_bundles_is_refused_by_name(kube: Kube, served: Served) -> None:
    kube.apply(deployment("lost", served.namespace, "runtime://v1"))
    found = kube.wait_condition("lost", served.namespace, "InvalidSpec", "True", timeout_s=60)
    assert found["reason"] == "RuntimeOfOtherFormat"
