"""A model in an image that isn't Perennial's and keeps no log: the gateway logs what it answers, for the observer."""

import re

import httpx

from tests.e2e.conftest import TEST_SERVER_IMAGE
from tests.e2e.support.kube import Kube, wait_for
from tests.e2e.support.objects import ECHO_BODY, deployment, echo_runtime, merged

NAME = "foreign"
REQUESTS = 40


def count_sent(kube: Kube) -> int:
    """What all routers have sent to the observer."""
    pods = kube.list("pod", "perennial-system", selector="app.kubernetes.io/component=gateway")
    texts = [
        kube.run("get", "--raw", f"/api/v1/namespaces/perennial-system/pods/{name}:9902/proxy/metrics")
        for name in (pod["metadata"]["name"] for pod in pods)
    ]
    return sum(
        int(found)
        for text in texts
        for found in re.findall(r"^perennial_router_log_sent_total (\d+)", text, re.MULTILINE)
    )


def test_answers_of_an_image_that_keeps_no_log_are_in_the_observers(
    kube: Kube, namespace: str, gateway_url: str
) -> None:
    runtime = echo_runtime("keeps-no-log", TEST_SERVER_IMAGE)
    kube.apply(
        merged(
            runtime,
            {
                "kind": "ModelRuntime",
                "metadata": {"namespace": namespace},
                "spec": {"formats": ["container"], "loggedBy": "Gateway"},
            },
        )
    )
    kube.apply(deployment(NAME, namespace, "runtime://v1", "keeps-no-log"))
    kube.wait_condition(NAME, namespace, "Ready", "True", timeout_s=120)
    before = count_sent(kube)
    url = f"{gateway_url}/{namespace}/{NAME}"
    answers = [
        httpx.post(f"{url}/v2/models/{NAME}/infer", json=ECHO_BODY, timeout=20) for _ in range(REQUESTS)
    ]
    assert {answer.status_code for answer in answers} == {200}
    wait_for(
        lambda: count_sent(kube) - before >= REQUESTS or None,
        timeout_s=60,
        what=f"{REQUESTS} predictions sent",
    )
    labels = [
        {"prediction_id": answer.headers["x-prediction-id"], "row": 0, "label": 0} for answer in answers
    ]
    got = httpx.post(f"{url}/feedback", json={"feedback": labels}, timeout=20).json()
    assert (got["accepted"], got["unknown"]) == (REQUESTS, 0)
