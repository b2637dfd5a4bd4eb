"""What `status` draws."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

from perennial.cli.view import View, render_status
from perennial_api import ModelDeployment, ModelRevision, RetrainingRun
from rich.console import Console

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DIGEST = "sha256:" + "9f2c" * 16


def drawn(view: View) -> str:
    text = StringIO()
    Console(width=200, file=text).print(render_status(view, NOW))
    return text.getvalue()


def deployment(status: dict[str, Any] | None = None) -> ModelDeployment:
    return ModelDeployment.model_validate(
        {
            "apiVersion": "perennial.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": "wine", "namespace": "shop", "uid": "u1"},
            "spec": {
                "model": {"uri": f"perennial://{DIGEST}"},
                "server": {"runtime": "bentoml-skops"},
                "rollout": {
                    "type": "Canary",
                    "canary": {"steps": [{"setWeight": 5}, {"pause": {"duration": "2m"}}, {"setWeight": 50}]},
                },
            },
            "status": status or {},
        }
    )


def revision(name: str, role: str, **status: Any) -> ModelRevision:
    return ModelRevision.model_validate(
        {
            "apiVersion": "perennial.dev/v1alpha1",
            "kind": "ModelRevision",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {
                "deployment": "wine",
                "deploymentUid": "u1",
                "model": {"uri": f"perennial://{DIGEST}", "digest": DIGEST, "shortDigest": DIGEST[7:19]},
                "runtime": {
                    "kind": "ClusterModelRuntime",
                    "name": "bentoml-skops",
                    "image": "server:dev",
                    "port": 3000,
                },
                "podTemplate": {},
                "origin": "Spec",
                "modelHash": "ab",
                "inputsHash": "ab",
            },
            "status": {"role": role, **status},
        }
    )


def run() -> RetrainingRun:
    return RetrainingRun.model_validate(
        {
            "apiVersion": "perennial.dev/v1alpha1",
            "kind": "RetrainingRun",
            "metadata": {"name": "wine-run-1", "namespace": "shop"},
            "spec": {
                "deployment": "wine",
                "deploymentUid": "u1",
                "trigger": {"monitor": "accuracy", "breachId": "accuracy-1"},
                "championRevision": "wine-a",
                "championUri": f"perennial://{DIGEST}",
                "trainer": "refit",
            },
            "status": {
                "phase": "Refused",
                "startTime": (NOW - timedelta(minutes=5)).isoformat(),
                "result": {
                    "verdict": "Refused",
                    "reason": "ChallengerWorse",
                    "metric": "roc_auc",
                    "championScore": 0.7,
                    "challengerScore": 0.6,
                },
            },
        }
    )


ROLLOUT = {
    "phase": "Progressing",
    "stable": "wine-a",
    "canary": "wine-b",
    "stepIndex": 1,
    "stepState": "Paused",
    "stepStartedAt": (NOW - timedelta(seconds=90)).isoformat(),
    "weights": [
        {"revision": "wine-a", "weightPercent": 95, "role": "Stable"},
        {"revision": "wine-b", "weightPercent": 5, "role": "Canary"},
    ],
    "gate": {
        "metrics": [
            {"name": "errors", "canary": {"total": 100, "bad": 10}, "stable": {"total": 1900, "bad": 19}}
        ],
        "canary": 100,
        "stable": 1900,
    },
    "evidence": [
        {
            "time": NOW.isoformat(),
            "metric": "errors",
            "stepIndex": 1,
            "canary": {"total": 100, "bad": 10},
            "stable": {"total": 1900, "bad": 19},
            "eValue": 50367,
            "bound": 100,
            "decision": "Failed",
            "reason": "RatioExceeded",
            "message": "errors: too many [10 %]",
        }
    ],
}


def test_deployment_without_status_is_pending() -> None:
    assert "shop/wine  Pending" in drawn(View(deployment()))


def test_rollout_shows_its_step_and_both_arms() -> None:
    got = drawn(View(deployment({"rollout": ROLLOUT})))
    assert "shop/wine  Progressing" in got
    assert "step 2 of 3 Paused 1m ago" in got
    assert "canary  10 of 100 failed (10.00%)" in got
    assert "stable  19 of 1900 failed (1.00%)" in got


def test_gate_shows_its_evidence_and_keeps_brackets() -> None:
    got = drawn(View(deployment({"rollout": ROLLOUT})))
    assert "Failed (RatioExceeded)  evidence 5.04e+04, fails at 100" in got
    assert "too many [10 %]" in got


def test_revisions_show_role_weight_and_why_they_failed() -> None:
    revisions = (
        revision("wine-a", "Stable"),
        revision("wine-b", "Canary"),
        revision("wine-c", "Failed", message="rolled back"),
    )
    got = drawn(View(deployment({"rollout": ROLLOUT}), revisions)).splitlines()
    assert any(
        "wine-a" in line and "Stable" in line and "95 %" in line and "9f2c9f2c9f2c" in line for line in got
    )
    assert any("wine-b" in line and "Canary" in line and "5 %" in line for line in got)
    assert any("wine-c" in line and "Failed" in line and "rolled back" in line for line in got)


def test_serving_revisions_are_shown_however_many_others_there_are() -> None:
    others = tuple(revision(f"wine-x{i}", "Retired") for i in range(20))
    got = drawn(View(deployment({"rollout": ROLLOUT}), (*others, revision("wine-a", "Stable"))))
    assert "wine-a" in got


def test_monitors_show_figures_and_the_alarm_its_sentence() -> None:
    monitors = [
        {
            "name": "drift",
            "type": "Drift",
            "state": "Alarm",
            "message": "temp moved",
            "statistic": 0.31,
            "threshold": 0.12,
        },
        {"name": "outliers", "type": "Outlier", "state": "Ok", "message": "calm"},
    ]
    got = drawn(View(deployment({"monitors": monitors})))
    assert "drift  Alarm  0.31 (threshold 0.12)  temp moved" in got
    assert "outliers  Ok" in got
    assert "calm" not in got


def test_retraining_shows_scores_and_when_the_next_may_start() -> None:
    status = {"retraining": {"nextAllowedAt": (NOW + timedelta(hours=3)).isoformat()}}
    got = drawn(View(deployment(status), runs=(run(),)))
    assert "wine-run-1  Refused  for accuracy 5m ago" in got
    assert "roc_auc: champion 0.700, challenger 0.600" in got
    assert "next run in 3h at the earliest" in got


def test_failure_of_a_server_is_named() -> None:
    status = {
        "modelStatus": {
            "transitionStatus": "BlockedByFailedLoad",
            "lastFailureInfo": {"reason": "DigestMismatch", "message": "push it again"},
        }
    }
    assert "DigestMismatch: push it again" in drawn(View(deployment(status)))
