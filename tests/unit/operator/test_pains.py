"""What people suffer from with other tools, and that it doesn't happen here; each named with where it was reported."""

from dataclasses import replace
from typing import Any

import pytest
from perennial.errors import ConflictError
from perennial.manifests.context import Owner
from perennial.manifests.route import RouteWish, build_route
from perennial.rollout.decision import ExperimentPlan
from perennial.rollout.observed import RouterView
from perennial_api.labels import ANNOTATION_COMMAND
from perennial_api.modeldeployment.rollout import Rollout
from perennial_api.modeldeployment.server import Server
from perennial_api.modeldeployment.status import RolloutPhase
from perennial_api.modelrevision import RevisionRole, RevisionRuntime, RuntimeKind
from perennial_api.modelroute import Mirror, Sticky, StickyType

from tests.unit.operator.builders import uri
from tests.unit.operator.fake_cluster import FakeCluster
from tests.unit.operator.test_reconcile import RUNTIME, cluster_with, names, status_of, wine
from tests.unit.operator.world import (
    World,
    blue_green,
    challenged,
    immediate,
    revision,
    rollout_spec,
    settled,
)

MIRROR = {"setMirror": {"percent": 100, "duration": "5s"}}
ROADS = [
    rollout_spec(20, "5s", 60, "5s"),
    rollout_spec(MIRROR, 20, {"analysis": {"duration": "5s"}}, None, 60),
    blue_green(preview="5s", keep="1m"),
    immediate(),
]


# 6: argo#3420, #2118, #2050; flagger#1202


@pytest.mark.parametrize("spec", ROADS)
def test_pain_6_no_request_ever_goes_to_a_revision_without_ready_pods(spec: Rollout) -> None:
    world = challenged(spec, requests_per_turn=1000)
    for turn in range(60):
        (world.fail if turn % 7 in {3, 4} else world.heal)("wine-2")
        decision = world.turn()
        if not world.revisions["wine-2"].ready_endpoints and decision.rollout.stable == "wine-1":
            assert decision.weights.get("wine-2", 0) == 0
            assert decision.weights["wine-1"] == 100


def test_pain_6_after_an_abort_nothing_points_at_pods_that_are_gone() -> None:
    world = challenged(rollout_spec(20, None), requests_per_turn=1000)
    world.run(5)
    world.say("Abort")
    for decision in world.run(60):
        assert decision.weights.get("wine-2", 0) == 0
        assert "wine-2" in decision.keep or "wine-2" not in decision.weights
    assert not world.revisions["wine-2"].running


# 7: argo#2929, #841, #2048, #2109; flagger#1152, #862


def test_pain_7_abort_is_not_tried_again_by_itself() -> None:
    world = challenged(rollout_spec(20, None), requests_per_turn=1000)
    world.run(5)
    world.say("Abort")
    world.run(200, seconds=60)
    assert (world.rollout.phase, world.rollout.attempt) == (RolloutPhase.DEGRADED, 2)
    assert world.weights == {"wine-1": 100}


@pytest.mark.parametrize("by_command", [True, False])
def test_pain_7_the_same_model_can_be_tried_again_when_somebody_asks_for_it(by_command: bool) -> None:
    world = challenged(rollout_spec(20, "5s"), requests_per_turn=1000)
    world.run(3)
    world.say("Abort")
    world.run(60)
    if by_command:
        assert world.say("Retry").accepted
    else:
        world.target = "wine-1"
        world.turn()
        world.target = "wine-2"
    world.turn()
    world.heal("wine-2")
    world.run(30)
    assert world.rollout.stable == "wine-2"


# 8: argo#4128, #1774, #2522, #3316; flagger#1588, #1591


def without_pods(world: World) -> None:
    world.fail("wine-2")


def without_capacity(world: World) -> None:
    world.run(2)
    world.needed = {"wine-2": 9}


def without_routers(world: World) -> None:
    world.routers_follow = False
    world.routers["router-b"] = RouterView("router-b", ready=True)


def without_traffic(world: World) -> None:
    world.requests_per_turn = 0


def without_measurement(world: World) -> None:
    world.warm_up_required = world.refuse_too_slow = True


def with_an_experiment(world: World) -> None:
    world.experiment = ExperimentPlan({"wine-1": 100})


@pytest.mark.parametrize(
    "trouble",
    [
        without_pods,
        without_capacity,
        without_routers,
        without_traffic,
        without_measurement,
        with_an_experiment,
    ],
)
def test_pain_8_a_rollout_that_cannot_go_on_ends_or_says_what_it_waits_for(trouble: Any) -> None:
    world = challenged(rollout_spec(20, "5s", 60, "5s"), requests_per_turn=1000)
    trouble(world)
    world.run(40, seconds=60)
    rollout = world.rollout
    ended = rollout.failed_revision == "wine-2" and bool(rollout.message)
    told = rollout.phase in {RolloutPhase.DEGRADED, RolloutPhase.PAUSED} and len(rollout.message) > 20
    waits = rollout.step_state == "WaitingForExperiment" and "experiment" in rollout.message
    assert ended or told or waits, rollout
    assert world.weights["wine-1"] >= 40, "the stable revision keeps the share that the steps leave it"


@pytest.mark.parametrize("trouble", [without_capacity, without_routers, without_traffic])
def test_pain_8_the_way_back_waits_for_nothing_that_is_broken(trouble: Any) -> None:
    world = challenged(rollout_spec(20, "5s", 60, "5s"), requests_per_turn=1000)
    world.run(3)
    trouble(world)
    world.run(3)
    world.say("Abort")
    assert dict(world.turn().weights) == {"wine-1": 100, "wine-2": 0}


# 9: argo#1904, #3080, #5052


class Contested(FakeCluster):
    """Somebody else writes every object between a read and every other write."""

    tries: int = 0

    async def replace(self, body: Any, subresource: str | None = None) -> Any:
        self.tries += 1
        if self.tries % 2:
            raise ConflictError(body["metadata"]["name"])
        return await super().replace(body, subresource)


async def test_pain_9_conflicts_lose_nothing_and_are_answered_by_reading_again() -> None:
    calm, contested = cluster_with(RUNTIME, wine(), requests_per_turn=500), Contested(requests_per_turn=500)
    for body in (RUNTIME, wine()):
        contested.add(body)
    for cluster in (calm, contested):
        await cluster.run(20)
        cluster.edit("ModelDeployment", "wine", lambda spec: spec["model"].update(uri=uri("b")))
        await cluster.run(80)
    want, got = status_of(calm)["rollout"], status_of(contested)["rollout"]
    assert (got["phase"], got["stable"]) == (want["phase"], want["stable"])
    assert names(contested, "ModelRevision") == names(calm, "ModelRevision")
    created = [w for w in contested.writes if w[0] == "create"]
    assert len(created) == len(set(created))
    quiet = len(contested.writes)
    await contested.run(20)
    assert len(contested.writes) == quiet, "once settled nobody is contested"


# 10: argo#3854, #2185, #2463; gatewayapi plugin#208, #190


async def test_pain_10_a_weight_changed_by_hand_is_set_right_and_never_taken_over() -> None:
    cluster = cluster_with(RUNTIME, wine(rollout={"canary": {"steps": [{"setWeight": 20}, {"pause": {}}]}}))
    await cluster.run(5)
    cluster.edit("ModelDeployment", "wine", lambda spec: spec["model"].update(uri=uri("b")))
    await cluster.run(6)

    def weights() -> list[int]:
        route = cluster.find("ModelRoute", "wine")
        assert route is not None
        return [r["weightPercent"] for r in route["spec"]["revisions"]]

    def drift(spec: Any) -> None:
        for entry, weight in zip(spec["revisions"], (30, 70), strict=True):
            entry["weightPercent"] = weight

    assert weights() == [80, 20]
    before = status_of(cluster)["rollout"]["stepIndex"]
    cluster.edit("ModelRoute", "wine", drift)
    await cluster.run(1)
    assert weights() == [80, 20]
    assert status_of(cluster)["rollout"]["stepIndex"] == before


# 11: gatewayapi plugin#158, #191, #225, #124; openkruise#140

OWNER = Owner("ModelDeployment", "wine", "shop", "uid", "wine")
SERVING = RevisionRuntime(
    kind=RuntimeKind.CLUSTER_MODEL_RUNTIME, name="bentoml-skops", image="server:v1", port=3000
)
STICKY = Sticky(type=StickyType.HEADER, name="x-user-id", salt="s1")


def test_pain_11_the_whole_route_is_rendered_from_the_decision_each_time() -> None:
    world = challenged(rollout_spec(MIRROR, 20), requests_per_turn=100)
    runtimes = dict.fromkeys(world.revisions, SERVING)
    mirroring = build_route(OWNER, RouteWish.of(world.turn()), runtimes, Server())["spec"]
    assert mirroring["mirror"] == {"revision": "wine-2", "percent": 100}
    world.run_until(lambda w: w.weights["wine-2"] == 20)
    shifted = build_route(OWNER, RouteWish.of(world.decide()), runtimes, Server())["spec"]
    assert "mirror" not in shifted
    assert [r["weightPercent"] for r in shifted["revisions"]] == [80, 20]


def test_pain_11_a_change_of_weights_leaves_sticky_and_mirror_and_sums_to_100() -> None:
    world = settled(rollout_spec(20))
    for name in ("wine-x", "wine-y", "wine-old"):
        world.revisions[name] = revision(name)
    for share in (5, 15, 25):
        world.experiment = ExperimentPlan(
            {"wine-x": share, "wine-y": 10, "wine-1": 90 - share},
            mirror=Mirror(revision="wine-y"),
            sticky=STICKY,
            keep=frozenset({"wine-x", "wine-y"}),
            roles={"wine-x": RevisionRole.VARIANT, "wine-y": RevisionRole.VARIANT},
        )
        decision = world.turn()
        runtimes = dict.fromkeys(world.revisions, SERVING)
        route = build_route(OWNER, RouteWish.of(decision), runtimes, Server())["spec"]
        assert route["sticky"]["salt"] == "s1"
        assert route["mirror"]["revision"] == "wine-y"
        assert sum(r["weightPercent"] for r in route["revisions"]) == 100
        assert [r["name"] for r in route["revisions"]][:3] == ["wine-x", "wine-y", "wine-1"]
    world.experiment = replace(world.experiment, mirror=None) if world.experiment else None
    assert world.turn().mirror is None


def test_pain_11_commands_change_the_route_only_through_the_decision() -> None:
    """The annotation is on the user's object; nobody but the operator writes the route."""
    assert ANNOTATION_COMMAND.startswith("perennial.dev/")
    world = challenged(rollout_spec(20, None), requests_per_turn=1000)
    world.run(5)
    before = world.weights
    world.say("Promote")
    assert world.weights == before
