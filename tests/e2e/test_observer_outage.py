"""The observer away: predictions go on unharmed, and the log resumes."""

import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
from perennial_demo import install

from tests.e2e.support.kube import Kube, wait_for
from tests.e2e.support.models import make_rows, request_body, save_classifier
from tests.e2e.support.objects import deployment
from tests.e2e.support.traffic import Traffic

NAME = "world"


def test_predictions_go_on_without_the_observer_and_the_log_resumes(
    kube: Kube, namespace: str, gateway_url: str, push: Callable[[Path], str], tmp_path: Path
) -> None:
    uri = push(save_classifier(tmp_path / "world").path)
    kube.apply(deployment(NAME, namespace, uri))
    kube.wait_condition(NAME, namespace, "Ready", "True", timeout_s=180)
    frame, _ = make_rows(1)
    url = f"{gateway_url}/{namespace}/{NAME}"
    with Traffic(f"{url}/v2/models/{NAME}/infer", request_body(frame), rate_per_s=30) as traffic:
        wait_for(lambda: traffic.total > 50, timeout_s=30, what="traffic")
        kube.run("scale", "deployment", "perennial-observer", "-n", install.NAMESPACE, "--replicas=0")
        try:
            wait_for(
                lambda: not kube.list("pod", install.NAMESPACE, "app.kubernetes.io/component=observer"),
                timeout_s=90,
                what="the observer gone",
            )
            before = traffic.total
            wait_for(lambda: traffic.total > before + 200, timeout_s=30, what="traffic without the observer")
        finally:
            kube.run("scale", "deployment", "perennial-observer", "-n", install.NAMESPACE, "--replicas=1")
            kube.run(
                "rollout",
                "status",
                "deployment/perennial-observer",
                "-n",
                install.NAMESPACE,
                "--timeout=120s",
                timeout_s=130,
            )
    assert traffic.failed() == 0, traffic.failures[:5]
    assert {code for _, code in traffic.snapshot()} == {200}

    def known_label() -> bool:
        answer = httpx.post(f"{url}/v2/models/{NAME}/infer", json=request_body(frame), timeout=20)
        label = {"prediction_id": answer.headers["x-prediction-id"], "row": 0, "label": 1}

        def accepted() -> bool:
            got = httpx.post(f"{url}/feedback", json={"feedback": [label]}, timeout=20)
            return got.status_code == 200 and got.json()["accepted"] + got.json()["duplicates"] == 1

        return wait_for(accepted, timeout_s=60, what="feedback for a prediction after the outage")

    assert known_label()


def test_feedback_for_a_prediction_nobody_made_is_told_so(
    kube: Kube, namespace: str, gateway_url: str, push: Callable[[Path], str], tmp_path: Path
) -> None:
    uri = push(save_classifier(tmp_path / "world").path)
    kube.apply(deployment(NAME, namespace, uri))
    kube.wait_condition(NAME, namespace, "Ready", "True", timeout_s=180)
    label = {"prediction_id": str(uuid.uuid4()), "row": 0, "label": 1}
    got = httpx.post(f"{gateway_url}/{namespace}/{NAME}/feedback", json={"feedback": [label]}, timeout=20)
    assert got.json()["unknown"] == 1
