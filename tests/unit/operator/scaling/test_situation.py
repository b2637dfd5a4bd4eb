"""What a pass sees of a rollout, as the scaler needs it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from perennial.cluster.observe import Children
from perennial.controller.scaling import decide_scaling, view_situation
from perennial.manifests.plan import Key
from perennial.rollout.observed import RevisionView, RouteView
from perennial.rollout.scaling import Arm, Load
from perennial_api.modeldeployment.status import ModelDeploymentStatus
from perennial_api.modelroute import Mirror

from tests.unit.operator.builders import deployment_of, spec_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SCALED = {"maxReplicas": 10, "scaleMetric": "Concurrency", "scaleTarget": 8}
STEPS = {"canary": {"steps": [{"setWeight": 10}, {"pause": {"duration": "1m"}}, {"setWeight": 60}]}}


def revision(name: str) -> RevisionView:
    return RevisionView(name, "perennial://sha256:a", "sha256:a", "abc", name, 3000, running=True)


def wine(server: dict[str, Any] = SCALED, **status: Any):
    spec = spec_of("a", server=server, rollout=STEPS)
    return deployment_of(spec).model_copy(update={"status": ModelDeploymentStatus.model_validate(status)})


def rollout(**changes: Any) -> dict[str, Any]:
    return {"phase": "Progressing", "stable": "wine-1", "canary": "wine-2", "stepIndex": 0} | changes


def children(weights: dict[str, int] | None = None, mirror: Mirror | None = None, **sizes: int) -> Children:
    names = {name.replace("_", "-"): size for name, size in sizes.items()}
    return Children(
        stored={Key("Deployment", name): {"spec": {"replicas": size}} for name, size in names.items()},
        ours=frozenset(),
        revisions={},
        views={name: revision(name) for name in ("wine-1", "wine-2")},
        route=RouteView("uid", 1, weights, mirror=mirror) if weights else None,
        routers=(),
        runs=(),
        jobs={},
        report=None,
    )


def test_canary_is_given_pods_for_the_share_that_comes():
    got = view_situation(wine(rollout=rollout()), children({"wine-1": 100}, wine_1=6), {})
    assert (got.stable, got.on_trial, got.keeps_floor) == ("wine-1", {"wine-2"}, True)
    assert got.arms == {"wine-1": Arm(6, 100), "wine-2": Arm(None, 10)}


@pytest.mark.parametrize(("index", "want"), [(1, 60), (2, 60)], ids=["while it pauses", "at the step"])
def test_next_share_is_prepared_while_the_present_one_is_tried(index, want):
    got = view_situation(
        wine(rollout=rollout(stepIndex=index)), children({"wine-1": 90, "wine-2": 10}, wine_1=6, wine_2=1), {}
    )
    assert got.arms["wine-2"] == Arm(1, want)


def test_canary_that_waits_for_an_experiment_has_no_pods_yet():
    waiting = rollout(stepState="WaitingForExperiment")
    got = view_situation(wine(rollout=waiting), children({"wine-1": 100}, wine_1=6), {})
    assert (got.on_trial, got.keeps_floor, set(got.arms)) == (frozenset(), False, {"wine-1"})


def test_copies_count_like_requests():
    mirrored = children(
        {"wine-1": 100, "wine-2": 0}, Mirror(revision="wine-2", percent=80), wine_1=4, wine_2=4
    )
    assert view_situation(wine(rollout=rollout()), mirrored, {}).arms["wine-2"] == Arm(4, 80)


def test_arms_of_a_running_experiment_are_on_trial_and_keep_no_floor():
    experiment = {
        "type": "ABTest",
        "phase": "Running",
        "specHash": "x",
        "arms": [
            {"name": "stable", "revision": "wine-1", "weightPercent": 70},
            {"name": "challenger", "revision": "wine-2", "weightPercent": 30},
        ],
    }
    stable = rollout(canary=None)
    got = view_situation(wine(rollout=stable, experiment=experiment), children(wine_1=3, wine_2=1), {})
    assert (got.on_trial, got.keeps_floor) == ({"wine-2"}, False)
    assert got.arms["wine-2"] == Arm(1, 30)
    ended = experiment | {"phase": "Ended"}
    got = view_situation(wine(rollout=stable, experiment=ended), children(wine_1=3, wine_2=1), {})
    assert got.on_trial == frozenset()


def test_revision_that_is_drained_is_an_arm_and_not_on_trial():
    got = view_situation(
        wine(rollout=rollout(canary=None)), children({"wine-1": 100}, wine_1=3, wine_2=2), {}
    )
    assert got.on_trial == frozenset()
    assert got.arms["wine-2"] == Arm(2, 0)


def test_loads_reach_the_decision():
    got = decide_scaling(
        wine(rollout=rollout(canary=None)), children({"wine-1": 100}, wine_1=1), {"wine-1": Load(30.0)}, NOON
    )
    assert got.scaling.replicas == {"wine-1": 4}


def test_autoscaler_that_can_not_scale_yet_is_looked_at_again():
    cpu = {"maxReplicas": 5, "scaleMetric": "Cpu", "scaleTarget": 80}
    deployment = wine(cpu, rollout=rollout(canary=None))
    new = decide_scaling(deployment, children(wine_1=1), {}, NOON)
    assert (new.verdict.reason, new.scaling.requeue_after_s) == ("NoMetricYet", 15.0)
    seen = children(wine_1=1)
    conditions = [{"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound"}]
    hpa = {Key("HorizontalPodAutoscaler", "wine-1"): {"status": {"conditions": conditions}}}
    works = decide_scaling(deployment, replace(seen, stored={**seen.stored, **hpa}), {}, NOON)
    assert (works.verdict.passed, works.scaling.requeue_after_s) == (True, None)


@pytest.mark.parametrize(
    ("server", "want"),
    [
        ({"minReplicas": 2}, {}),
        (SCALED, {"wine-1": 3}),
        ({"maxReplicas": 5, "scaleMetric": "Cpu", "scaleTarget": 80}, {"wine-1": None}),
    ],
    ids=["the manifest", "the operator", "the cluster's autoscaler"],
)
def test_manifest_leaves_the_number_out_where_another_sets_it(server, want):
    deployment = wine(server, rollout=rollout(canary=None))
    assert decide_scaling(deployment, children(wine_1=3), {}, NOON).targets == want
