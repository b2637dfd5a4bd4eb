"""docs/cli.md shows what the views draw; `GOLDEN=write` in the environment rewrites its blocks."""

from __future__ import annotations

import os
import re
from io import StringIO
from pathlib import Path

import pytest
from perennial.cli.main import app
from perennial.cli.views.deployments import render_deployments
from perennial.cli.views.experiment import add_experiment
from perennial.cli.views.history import render_history
from perennial.cli.views.status import render_status
from perennial.cli.views.view import PodLine, View
from perennial.cli.views.weights import RouterLine, render_weights
from perennial.cli.views.why import render_why
from perennial_api import ModelDeployment, ModelRevision, ModelRoute
from rich.console import Console, RenderableType
from rich.tree import Tree

from tests.unit.operator.cli.objects import NOW, Json, ago, deployment_body, revision_body, route_body

DOCS = Path(__file__).parents[4] / "docs" / "cli.md"
FIRST, OLD, NEW = "wine-1f3b90c2", "wine-a6600e1d", "wine-7d20c1aa"


def _evidence(
    metric: str, canary: tuple[int, int], stable: tuple[int, int], e_value: float, **more: object
) -> Json:
    return {
        "time": ago(minutes=2),
        "metric": metric,
        "stepIndex": 1,
        "canary": {"bad": canary[0], "total": canary[1]},
        "stable": {"bad": stable[0], "total": stable[1]},
        "eValue": e_value,
        "bound": 200,
        **more,
    }


FAILED = _evidence(
    "errors",
    (9, 160),
    (30, 3040),
    445.9,
    decision="Failed",
    reason="RatioExceeded",
    message="errors: 5.62% of 160 requests failed, more than the stable revision's 0.99% of 3040 requests; "
    "evidence 446, 200 fails.",
)
SLOW = _evidence(
    "slow",
    (2, 160),
    (24, 3040),
    0.548,
    decision="Inconclusive",
    reason="TooFewSamples",
    message="slow: the canary has 160 of the 200 requests that a verdict needs.",
)
STEPS = [
    {"setMirror": {"percent": 100, "duration": "1m"}},
    {"setWeight": 5},
    {"analysis": {"duration": "5m"}},
    {"setWeight": 50},
    {"pause": {}},
]
READY = {"type": "Ready", "status": "True", "reason": "Serving", "lastTransitionTime": ago(days=2)}
STATUS = {
    "url": "http://perennial-gateway.perennial-system/shop/wine",
    "conditions": [READY],
    "monitorsSummary": "Ok",
    "rollout": {
        "phase": "Progressing",
        "stable": OLD,
        "canary": NEW,
        "canaryWeightPercent": 5,
        "stepIndex": 2,
        "stepState": "Analyzing",
        "stepStartedAt": ago(minutes=3),
        "warmUp": {
            "revision": NEW,
            "time": ago(minutes=6),
            "withinBudget": True,
            "message": f"{NEW} answered 200 sample requests with a p50 of 4.1 ms and a p99 of 11.8 ms, "
            "14.8 ms with a margin of 25%: within the latency budget of 50 ms.",
        },
        "weights": [
            {"revision": NEW, "weightPercent": 5, "role": "Canary"},
            {"revision": OLD, "weightPercent": 95, "role": "Stable"},
        ],
        "gate": {
            "metrics": [
                {"name": "errors", "canary": {"bad": 2, "total": 388}, "stable": {"bad": 70, "total": 7404}},
                {"name": "slow", "canary": {"bad": 4, "total": 388}, "stable": {"bad": 58, "total": 7404}},
            ]
        },
    },
    "monitors": [
        {"name": "drift", "type": "Drift", "state": "Ok", "message": "", "statistic": 0.04, "threshold": 0.11}
    ],
}
ARMS = [
    {"name": "stable", "revision": OLD, "weightPercent": 24, "state": "Running", "successes": 3010, "failures": 402,
     "probabilityBest": 0.06},
    {"name": "forest", "revision": NEW, "weightPercent": 71, "state": "Running", "successes": 3204, "failures": 301,
     "probabilityBest": 0.94},
    {"name": "linear", "revision": "wine-0c55d2e9", "weightPercent": 5, "state": "Running", "successes": 402,
     "failures": 121, "probabilityBest": 0.0},
]  # fmt: skip


def _deployment() -> ModelDeployment:
    rollout = {"type": "Canary", "canary": {"steps": STEPS}}
    return ModelDeployment.model_validate(deployment_body(STATUS, rollout=rollout))


def _revisions() -> tuple[ModelRevision, ...]:
    first = revision_body(
        FIRST, "Retired", stableTime=ago(days=3), retiredTime=ago(days=1), reason="Replaced"
    )
    old = revision_body(OLD, "Stable", spec={"origin": "Retraining", "retrainingRun": "wine-9b2f71c0"})
    old["status"] |= {"canaryTime": ago(days=1, hours=1), "stableTime": ago(days=1), "reason": "Promoted"}
    new = revision_body(NEW, "Canary", spec={"parent": OLD}, canaryTime=ago(minutes=6))
    for body, made in ((first, ago(days=3)), (old, ago(days=1, hours=1)), (new, ago(minutes=7))):
        body["metadata"]["creationTimestamp"] = made
    return tuple(ModelRevision.model_validate(body) for body in (first, old, new))


def _status() -> RenderableType:
    pods = (
        PodLine("b", NEW, ready=True, state="Running"),
        PodLine("a", OLD, ready=True, state="Running"),
        PodLine("c", OLD, ready=True, state="Running"),
    )
    return render_status(View(_deployment(), _revisions(), pods=pods), NOW)


def _why() -> RenderableType:
    failed = revision_body(
        NEW,
        "Failed",
        spec={"parent": OLD},
        retiredTime=ago(minutes=2),
        reason="RatioExceeded",
        message="Rolled back at 5 %.",
        evidence=[SLOW, FAILED],
    )
    revision = ModelRevision.model_validate(failed)
    return render_why(revision, revision.status.evidence, NOW)


def _weights() -> RenderableType:
    route = route_body()
    for revision, name in zip(route["spec"]["revisions"], (NEW, OLD), strict=True):
        revision["name"] = name
    route["spec"] = {"revisions": route["spec"]["revisions"]}
    routers = [
        RouterLine("perennial-gateway-6f9d5-2xkqp", True, "Applied", 4, {NEW: 201, OLD: 3790}),
        RouterLine("perennial-gateway-6f9d5-9m4tz", True, "Applied", 3, {NEW: 187, OLD: 3614}),
    ]
    return render_weights(ModelRoute.model_validate(route), _deployment().status.rollout, routers)


def _experiment() -> RenderableType:
    status = {"type": "Bandit", "phase": "Running", "specHash": "a", "startedAt": ago(hours=5), "arms": ARMS}
    tree = Tree("shop/wine  Healthy")
    add_experiment(tree, ModelDeployment.model_validate(deployment_body({"experiment": status})), NOW)
    return tree


DRAWN = {
    "get": lambda: render_deployments([_deployment()], NOW),
    "status": _status,
    "history": lambda: render_history(_revisions(), NOW),
    "why": _why,
    "weights": _weights,
    "experiment": _experiment,
}


def _draw(view: RenderableType) -> str:
    text = StringIO()
    Console(width=132, file=text).print(view)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _block(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- drawn: {name} -->\n```\n)(.*?)(```\n)", re.DOTALL)


@pytest.mark.parametrize("name", DRAWN)
def test_docs_show_what_is_drawn(name) -> None:
    want = f"{_draw(DRAWN[name]())}\n"
    if os.environ.get("GOLDEN") == "write":
        DOCS.write_text(_block(name).sub(lambda found: found[1] + want + found[3], DOCS.read_text()))
    found = _block(name).search(DOCS.read_text())
    assert found is not None
    assert found[2] == want


def test_docs_name_every_command() -> None:
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    missing = [name for name in names if f"`{name} " not in DOCS.read_text()]
    assert len(names) == 13
    assert missing == []
