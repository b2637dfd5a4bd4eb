"""Objects as the API server gives them, and a cluster that holds them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

from perennial.cli.answer import Answer
from perennial.cli.errors import NotAllowedError
from perennial_api import ModelDeployment, ModelRevision, RetrainingRun
from perennial_api.labels import ANNOTATION_COMMAND, LABEL_DEPLOYMENT, LABEL_REVISION
from rich.console import Console, RenderableType

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DIGEST = "sha256:" + "9f2c" * 16

Json = dict[str, Any]


def drawn(view: RenderableType) -> str:
    text = StringIO()
    Console(width=200, file=text).print(view)
    return text.getvalue()


def ago(**span: float) -> str:
    return (NOW - timedelta(**span)).isoformat()


def deployment_body(status: Json | None = None, *, generation: int = 0, **spec: Any) -> Json:
    return {
        "apiVersion": "perennial.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {
            "name": "wine",
            "namespace": "shop",
            "uid": "u1",
            "generation": generation,
            "creationTimestamp": ago(days=3),
        },
        "spec": {
            "model": {"uri": f"perennial://{DIGEST}"},
            "server": {"runtime": "bentoml-skops"},
            "rollout": {
                "type": "Canary",
                "canary": {"steps": [{"setWeight": 5}, {"pause": {"duration": "2m"}}, {"setWeight": 50}]},
            },
            **spec,
        },
        "status": status or {},
    }


def deployment(status: Json | None = None, **changes: Any) -> ModelDeployment:
    return ModelDeployment.model_validate(deployment_body(status, **changes))


def revision_body(name: str, role: str, *, spec: Json | None = None, **status: Any) -> Json:
    return {
        "apiVersion": "perennial.dev/v1alpha1",
        "kind": "ModelRevision",
        "metadata": {"name": name, "namespace": "shop", "creationTimestamp": ago(hours=2)},
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
            **(spec or {}),
        },
        "status": {"role": role, **status},
    }


def revision(name: str, role: str, *, spec: Json | None = None, **status: Any) -> ModelRevision:
    return ModelRevision.model_validate(revision_body(name, role, spec=spec, **status))


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
                "startTime": ago(minutes=5),
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


def route_body() -> Json:
    return {
        "apiVersion": "perennial.dev/v1alpha1",
        "kind": "ModelRoute",
        "metadata": {"name": "wine", "namespace": "shop", "generation": 4},
        "spec": {
            "revisions": [
                {"name": "wine-b", "service": "wine-b", "port": 3000, "weightPercent": 5},
                {"name": "wine-a", "service": "wine-a", "port": 3000, "weightPercent": 95},
            ],
            "mirror": {"revision": "wine-b", "percent": 25},
            "preview": "wine-b",
        },
    }


def pod_body(
    name: str, revision: str = "", *, ready: bool = True, waits_for: str = "", restarts: int = 0
) -> Json:
    state = {"waiting": {"reason": waits_for}} if waits_for else {"running": {}}
    return {
        "metadata": {"name": name, "labels": {LABEL_REVISION: revision}},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"restartCount": restarts, "state": state}],
        },
    }


EVIDENCE = {
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
ROLLOUT = {
    "phase": "Progressing",
    "stable": "wine-a",
    "canary": "wine-b",
    "stepIndex": 1,
    "stepState": "Paused",
    "stepStartedAt": ago(seconds=90),
    "canaryWeightPercent": 5,
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
    "evidence": [EVIDENCE],
}


class FakeCluster:
    """The API server in memory; `operator` answers what is annotated, as the real one does in its next pass."""

    def __init__(self, *bodies: Json, operator: Callable[[Json], Json | None] = lambda command: None) -> None:
        self.namespace = "shop"
        self.bodies = {(b["kind"].lower() + "s", b["metadata"]["name"]): b for b in bodies}
        self.operator = operator
        self.pods: list[Json] | None = []
        self.agents: dict[str, Answer] = {}
        self.may_patch = True
        self.commands: list[Json] = []

    def get(self, plural: str, namespace: str, name: str) -> Json | None:
        return self.bodies.get((plural, name)) if namespace == "shop" else None

    def find(self, plural: str, namespace: str | None, deployment: str | None) -> list[Json]:
        if namespace not in (None, "shop"):
            return []
        return [body for (kind, _), body in self.bodies.items() if kind == plural]

    def list_pods(self, namespace: str, selector: str) -> list[Json] | None:
        ours = LABEL_DEPLOYMENT in selector
        return (
            [p for p in self.pods if bool(p["metadata"]["labels"][LABEL_REVISION]) == ours]
            if self.pods is not None
            else None
        )

    def annotate(self, plural: str, namespace: str, name: str, uid: str, annotations: Json) -> None:
        if not self.may_patch:
            raise NotAllowedError("You are not allowed to patch modeldeployments shop/wine.")
        body = self.bodies[(plural, name)]
        assert body["metadata"]["uid"] == uid
        body["metadata"].setdefault("annotations", {}).update(annotations)
        command = json.loads(annotations[ANNOTATION_COMMAND])
        self.commands.append(command)
        answer = self.operator(command)
        if answer is not None:
            body["status"]["lastCommand"] = {"id": command["id"], "verb": command["verb"], **answer}

    def get_through_proxy(self, namespace: str, pod: str, port: int, path: str) -> Answer:
        assert (port, path) == (9902, "/status")
        return self.agents[pod]
