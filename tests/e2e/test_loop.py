"""The loop: drift is seen, performance falls, a retraining runs once, its candidate takes the canary road."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.support.kube import Kube, wait_for
from tests.e2e.support.models import make_rows, request_body, save_classifier
from tests.e2e.support.objects import canary, deployment

NAME = "world"
ROWS_PER_REQUEST = 20


class World:
    """Clients of the deployed model: they ask for predictions and send the labels back."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.row = 0
        self.client = httpx.Client(timeout=20)

    def live(self, requests: int, **drift: Any) -> None:
        for _ in range(requests):
            frame, labels = make_rows(ROWS_PER_REQUEST, first=self.row, **drift)
            self.row += ROWS_PER_REQUEST
            answer = self.client.post(f"{self.url}/v2/models/{NAME}/infer", json=request_body(frame))
            answer.raise_for_status()
            prediction_id = answer.headers["x-prediction-id"]
            feedback = [
                {"prediction_id": prediction_id, "row": row, "label": int(label)}
                for row, label in enumerate(labels)
            ]
            self.client.post(f"{self.url}/feedback", json={"feedback": feedback}).raise_for_status()


def spec() -> dict[str, Any]:
    window = {"size": 200, "maxAge": "30d", "minSamples": 100}
    return {
        "rollout": canary(50, pause="2s", min_samples=20, bake="2s"),
        "monitoring": {
            "eventTime": "time",
            "defaults": {"window": window, "falseAlarmEvery": "1d"},
            "monitors": [
                {"name": "drift", "type": "Drift", "drift": {"detector": "KS"}},
                {"name": "outliers", "type": "Outlier", "outlier": {"contamination": 0.01, "maxRate": 0.2}},
                {
                    "name": "accuracy",
                    "type": "Performance",
                    "performance": {
                        "metric": "accuracy",
                        "min": 0.75,
                        "labels": {"maturity": "60s", "minCoverage": 0.5, "minLabels": 100},
                    },
                },
            ],
        },
        "retraining": {
            "triggers": [{"monitor": "accuracy"}],
            "cooldown": {"base": "5s", "backoff": 2, "max": "60s"},
            "limits": {"perWeek": 5, "minNewLabels": 100},
            "data": {
                "window": "30d",
                "gap": "60s",
                "test": "2h",
                "labelMaturity": "60s",
                "weights": {"type": "InverseAge", "tau": "1h", "minEffectiveSamples": 100},
            },
        },
    }


def monitors_of(kube: Kube, namespace: str) -> dict[str, dict[str, Any]]:
    report = kube.get("monitorreport", NAME, namespace) or {}
    return {m["name"]: m for m in report.get("status", {}).get("monitors", [])}


def test_drift_and_decay_lead_to_one_retraining_whose_candidate_is_promoted(
    kube: Kube, namespace: str, gateway_url: str, push: Callable[[Path], str], tmp_path: Path
) -> None:
    uri = push(save_classifier(tmp_path / "world").path)
    kube.apply(deployment(NAME, namespace, uri, **spec()))
    kube.wait_condition(NAME, namespace, "Ready", "True", timeout_s=180)
    first = status_of(kube, namespace)["rollout"]["stable"]
    world = World(f"{gateway_url}/{namespace}/{NAME}")

    world.live(40)
    wait_for(
        lambda: all(
            monitors_of(kube, namespace).get(n, {}).get("state") == "Ok"
            for n in ("drift", "outliers", "accuracy")
        ),
        timeout_s=90,
        what="all monitors Ok on a world that hasn't changed",
    )

    drift = {"shift": 1.0, "flip": True}
    world.live(60, **drift)
    alarm = wait_for(
        lambda: m if (m := monitors_of(kube, namespace).get("drift", {})).get("state") == "Alarm" else None,
        timeout_s=90,
        what="drift alarm",
    )
    assert alarm["features"][0]["name"] == "a"
    wait_for(
        lambda: monitors_of(kube, namespace).get("accuracy", {}).get("state") == "Alarm",
        timeout_s=60,
        what="performance alarm",
    )
    kube.wait_condition(NAME, namespace, "DriftDetected", "True", timeout_s=60)
    kube.wait_condition(NAME, namespace, "PerformanceDegraded", "True", timeout_s=60)

    def finished() -> dict[str, Any] | None:
        world.live(5, **drift)
        runs = kube.list("retrainingrun", namespace)
        done = [
            run for run in runs if run.get("status", {}).get("phase") in ("Accepted", "Refused", "Failed")
        ]
        return done[0] if done else None

    run = wait_for(finished, timeout_s=180, what="a finished retraining run")
    assert run["status"]["phase"] == "Accepted", json.dumps(run["status"], indent=1)
    result = run["status"]["result"]
    assert result["challengerScore"] > result["championScore"]

    def promoted() -> str | None:
        world.live(5, **drift)
        stable = status_of(kube, namespace)["rollout"]["stable"]
        return stable if stable != first else None

    second = wait_for(promoted, timeout_s=180, what="the candidate promoted")
    revision = kube.get("modelrevision", second, namespace)
    assert revision is not None
    assert revision["spec"]["origin"] == "Retraining"
    assert revision["spec"]["retrainingRun"] == run["metadata"]["name"]
    obj = kube.get("modeldeployment", NAME, namespace)
    assert obj is not None
    assert obj["spec"]["model"]["uri"] == uri, "retraining never edits the spec"
    breach = run["spec"]["trigger"]["breachId"]
    runs = [r for r in kube.list("retrainingrun", namespace) if r["spec"]["trigger"]["breachId"] == breach]
    assert len(runs) == 1


def status_of(kube: Kube, namespace: str) -> dict[str, Any]:
    obj = kube.get("modeldeployment", NAME, namespace)
    assert obj is not None
    return obj.get("status", {})
