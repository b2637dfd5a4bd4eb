"""Builders of API objects for the operator's tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from perennial_api.modeldeployment.resource import ModelDeployment, ModelDeploymentSpec
from perennial_api.monitorreport import MonitorReportStatus
from perennial_api.retrainingrun import RetrainingRun

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
UID = "uid-of-wine"
ACCURACY = {"name": "accuracy", "type": "Performance", "performance": {"metric": "roc_auc", "min": 0.7}}
DRIFT = {"name": "drift", "type": "Drift"}
OUTLIERS = {"name": "outliers", "type": "Outlier"}


def uri(letter: str) -> str:
    return f"perennial://sha256:{letter * 64}"


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


def spec_of(letter: str = "a", **parts: Any) -> ModelDeploymentSpec:
    return ModelDeploymentSpec.model_validate({"model": {"uri": uri(letter)}, **parts})


def retrained_spec(letter: str = "a", **retraining: Any) -> ModelDeploymentSpec:
    base: dict[str, Any] = {
        "triggers": [{"monitor": "accuracy"}, {"monitor": "drift"}],
        "cooldown": {"base": "1h", "backoff": 2, "max": "12h"},
        "limits": {"perWeek": 3, "minNewLabels": 100},
    }
    return spec_of(
        letter,
        monitoring={"monitors": [ACCURACY, DRIFT, OUTLIERS]},
        retraining=base | retraining,
    )


def deployment_of(spec: ModelDeploymentSpec, **status: Any) -> ModelDeployment:
    return ModelDeployment.model_validate(
        {
            "metadata": {
                "name": "wine",
                "namespace": "shop",
                "uid": UID,
                "generation": 3,
                "resourceVersion": "77",
            },
            "spec": spec.to_api(),
            "status": status,
        }
    )


def report_of(labels: int = 1000, **states: str) -> MonitorReportStatus:
    """Build a report from monitor=state; an alarm's breach is `<monitor>-1` or what follows a colon."""
    types = {
        "accuracy": "Performance",
        "answers": "PredictionDrift",
        "concept": "Concept",
        "drift": "Drift",
        "estimate": "EstimatedPerformance",
        "fair": "Fairness",
        "outliers": "Outlier",
        "own": "Custom",
        "quality": "DataQuality",
        "service": "ServiceLevel",
    }
    monitors = []
    for name, text in states.items():
        state, _, breach = text.partition(":")
        verdict = {
            "name": name,
            "type": types[name],
            "state": state,
            "reason": "Told",
            "message": f"{name} says so",
        }
        if state == "Alarm":
            verdict["breachId"] = breach or f"{name}-1"
        monitors.append(verdict)
    return MonitorReportStatus.model_validate({"log": {"labels": labels}, "monitors": monitors})


def run_of(
    name: str = "wine-run-1",
    *,
    phase: str = "Pending",
    breach: str = "accuracy-1",
    age: timedelta = timedelta(hours=2),
    champion: str = "a",
    candidate: str | None = None,
    labels: int = 0,
    **status: Any,
) -> RetrainingRun:
    if candidate is not None:
        status["result"] = {
            "verdict": "Accepted",
            "reason": "ChallengerNoWorse",
            "candidateUri": uri(candidate),
        }
    return RetrainingRun.model_validate(
        {
            "metadata": {
                "name": name,
                "namespace": "shop",
                "uid": f"uid-of-{name}",
                "creationTimestamp": (NOW - age).isoformat(),
            },
            "spec": {
                "deployment": "wine",
                "deploymentUid": UID,
                "trigger": {"monitor": "accuracy", "breachId": breach},
                "championRevision": "wine-1",
                "championUri": uri(champion),
                "trainer": "refit",
                "labelsAtStart": labels,
            },
            "status": {"phase": phase, **status},
        }
    )
