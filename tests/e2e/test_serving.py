"""A real bundle on the BentoML server behind the gateway, asked by the Open Inference Protocol."""

import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.e2e.support.kube import Kube
from tests.e2e.support.models import make_rows, request_body, save_classifier
from tests.e2e.support.objects import deployment

NAME = "world"


@pytest.fixture(scope="module")
def served(
    kube: Kube, gateway_url: str, push: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The URL of a model that is served, in a namespace of the module's own."""
    namespace = f"serving-{uuid.uuid4().hex[:6]}"
    kube.run("create", "namespace", namespace)
    uri = push(save_classifier(tmp_path_factory.mktemp("bundle") / "world").path)
    kube.apply(deployment(NAME, namespace, uri, server={"outlierScores": {"detector": "Mahalanobis"}}))
    kube.wait_condition(NAME, namespace, "Ready", "True", timeout_s=180)
    return f"{gateway_url}/{namespace}/{NAME}"


def test_model_answers_through_the_gateway_with_revision_and_prediction_id(served: str) -> None:
    frame, _ = make_rows(3)
    answer = httpx.post(
        f"{served}/v2/models/{NAME}/infer", json={**request_body(frame), "id": "mine"}, timeout=20
    )
    assert answer.status_code == 200, answer.text
    got = answer.json()
    assert got["model_name"] == NAME
    assert got["id"] == "mine"
    assert answer.headers["x-model-revision"] == got["model_version"]
    uuid.UUID(answer.headers["x-prediction-id"])
    outputs = {output["name"]: output for output in got["outputs"]}
    assert outputs["predict"]["shape"] == [3]
    assert set(outputs["predict"]["data"]) <= {0, 1}
    assert all(0 <= p <= 1 for p in outputs["probability"]["data"])


def test_prediction_ids_are_never_the_clients(served: str) -> None:
    frame, _ = make_rows(1)
    headers = {"x-prediction-id": "mine", "x-request-id": "mine"}
    answers = [
        httpx.post(f"{served}/v2/models/{NAME}/infer", json=request_body(frame), headers=headers, timeout=20)
        for _ in range(3)
    ]
    ids = {answer.headers["x-prediction-id"] for answer in answers}
    assert len(ids) == 3
    assert "mine" not in ids


def test_answers_say_which_rows_are_odd_if_the_spec_asks(served: str) -> None:
    frame, _ = make_rows(3)
    frame.loc[1, "a"] = 50.0
    answer = httpx.post(f"{served}/v2/models/{NAME}/infer", json=request_body(frame), timeout=20)
    assert answer.headers["x-perennial-outliers"] == "1"
    scores = [float(score) for score in answer.headers["x-perennial-outlier-scores"].split(",")]
    assert [score > 0 for score in scores] == [False, True, False]


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/health/live", "/v2/health/ready", f"/v2/models/{NAME}", f"/v2/models/{NAME}/ready"]
)
def test_protocols_metadata_and_health_answer(served: str, path: str) -> None:
    assert httpx.get(served + path, timeout=20).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"inputs": []}, "a"),
        ({"inputs": [{"name": "b", "datatype": "FP64", "shape": [1], "data": [1.0]}]}, "a"),
        (
            {
                "inputs": [
                    {"name": name, "datatype": "FP64", "shape": [1], "data": [value]}
                    for name, value in (("a", 1.0), ("b", "text"), ("time", 1.0))
                ]
            },
            "b: row 0",
        ),
        ({"inputs": [{"name": "nonsense", "datatype": "FP64", "shape": [1], "data": [1.0]}]}, "nonsense"),
        ({"inputs": [{"name": "a", "datatype": "FP64", "shape": [2], "data": [1.0]}]}, "a"),
        ({"inputs": [{"name": "a", "datatype": "FP128", "shape": [1], "data": [1.0]}]}, "datatype"),
        ({"nothing": 1}, "inputs"),
    ],
)
def test_malformed_request_is_told_the_field_at_fault(
    served: str, body: dict[str, object], field: str
) -> None:
    answer = httpx.post(f"{served}/v2/models/{NAME}/infer", json=body, timeout=20)
    assert 400 <= answer.status_code < 500, answer.text
    assert field in answer.json()["error"]


def test_request_that_is_not_json_is_refused(served: str) -> None:
    answer = httpx.post(f"{served}/v2/models/{NAME}/infer", content=b"\xff\x00{", timeout=20)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]


def test_unknown_model_is_a_404_that_says_so(served: str, gateway_url: str) -> None:
    answer = httpx.get(f"{served}/v2/models/other", timeout=20)
    assert answer.status_code == 404
    assert "other" in answer.json()["error"]
    assert httpx.get(f"{gateway_url}/nowhere/nothing/v2", timeout=20).status_code == 404
