"""A new revision takes the canary road under live traffic, is promoted or rolled back, and nobody is hurt."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from perennial_demo import install

from tests.e2e.support.kube import Kube
from tests.e2e.support.objects import canary
from tests.e2e.support.rollouts import SECOND, THIRD, World


@pytest.fixture
def world(kube: Kube, test_runtimes: None, namespace: str, gateway_url: str) -> World:
    return World(kube, namespace, gateway_url)


def canary_weights(world: World, first: str, *, until: Callable[[dict[str, Any]], bool]) -> Iterator[int]:
    """Yield the route's weight of whatever isn't the first revision, until the status fits."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        yield sum(weight for name, weight in world.weights().items() if name != first)
        if until(world.rollout()):
            return
        time.sleep(0.3)
    raise AssertionError(f"rollout did not end: {world.rollout()}")


def promoted(first: str) -> Callable[[dict[str, Any]], bool]:
    return lambda rollout: rollout.get("stable") not in (None, first) and rollout["phase"] == "Healthy"


def test_healthy_revision_takes_every_step_and_is_promoted_without_a_failed_request(world: World) -> None:
    """Pain 5: no answer is lost at the cut-over, nor while the old revision's pods go."""
    first = world.start(rollout=canary(20, 60))
    with world.traffic() as traffic:
        traffic.wait_more(100, world.wait)
        world.new_model()
        weights = list(canary_weights(world, first, until=promoted(first)))
        second = world.rollout()["stable"]
        before = traffic.wait_more(60, world.wait)
        assert traffic.share_of(second, since=before) == 1.0
        world.wait(lambda: world.kube.get("deployment", first, world.namespace) is None, "the old pods gone")
        traffic.wait_more(60, world.wait)
    assert weights == sorted(weights)
    assert {20, 60} <= set(weights)
    assert traffic.failed() == 0, traffic.failures[:5]
    assert all(name in (first, second) for name, _ in traffic.snapshot())
    revision = world.revision(second)
    assert revision["status"]["role"] == "Stable"
    assert revision["status"]["evidence"], "a promotion must say why"


def test_revision_that_errs_is_rolled_back_and_stays_out(world: World) -> None:
    first = world.start(rollout=canary(20, 60, pause="60s"))
    with world.traffic() as traffic:
        world.new_runtime("test-erring")
        rollout = world.wait_rolled_back()
        assert rollout["stable"] == first
        world.wait(lambda: world.weights().get(first) == 100, "all weight back")
        # In a status that says Degraded this is about the rollback's weights, applied by every router.
        world.kube.wait_condition(world.name, world.namespace, "RouteReady", "True", timeout_s=30)
        before = traffic.wait_more(200, world.wait)
        assert traffic.share_of(first, since=before) == 1.0
    bad = rollout["failedRevision"]
    assert traffic.failed(except_revision=bad) == 0, traffic.failures[:5]
    revision = world.revision(bad)
    assert revision["status"]["role"] == "Failed"
    assert revision["status"]["message"]
    evidence = rollout["evidence"][-1]
    assert evidence["decision"] == "Failed"
    assert evidence["canary"]["bad"] > 0


def test_newer_spec_in_the_middle_of_a_rollout_wins(world: World) -> None:
    first = world.start(rollout=canary(20, pause="40s"))
    with world.traffic() as traffic:
        world.new_model(SECOND)
        second = world.wait_weight(20)
        world.new_model(THIRD, rollout=canary(20, pause="3s"))
        third = world.wait_promoted(first, timeout_s=120)
    assert third not in (first, second)
    assert traffic.failed() == 0, traffic.failures[:5]


def test_operator_killed_in_the_middle_resumes_without_a_weight_jump(world: World) -> None:
    first = world.start(rollout=canary(10, 30, 60, pause="5s"))
    with world.traffic() as traffic:
        world.new_model()
        seen: list[int] = []
        killed = False
        for weight in canary_weights(world, first, until=promoted(first)):
            seen.append(weight)
            if weight == 30 and not killed:
                world.kube.run(
                    "delete", "pod", "-n", install.NAMESPACE, "-l", "app.kubernetes.io/component=operator",
                    "--grace-period=0", "--force",
                )  # fmt: skip
                killed = True
    assert killed
    assert seen == sorted(seen)
    assert {10, 30, 60} <= set(seen)
    assert traffic.failed() == 0, traffic.failures[:5]


def test_revision_that_never_gets_ready_leaves_the_stable_one_alone(world: World) -> None:
    """Pain 6: no weight without a ready pod."""
    first = world.start(rollout=canary(20))
    with world.traffic() as traffic:
        world.new_runtime("test-failing")

        def failure() -> dict[str, Any] | None:
            got = world.status().get("modelStatus", {}).get("lastFailureInfo")
            return got if got and got["reason"] == "ModelLoadFailed" else None

        assert world.wait(failure, "lastFailureInfo", timeout_s=90)["message"]
        before = traffic.wait_more(60, world.wait)
        assert traffic.share_of(first, since=before) == 1.0
    assert traffic.failed() == 0, traffic.failures[:5]


def test_pods_lost_in_the_middle_cost_no_request_and_the_rollout_goes_on(world: World) -> None:
    """Pain 6: a revision that loses its last pod loses its share until it has one again."""
    first = world.start(rollout=canary(50, pause="6s"))
    with world.traffic() as traffic:
        world.new_model()
        second = world.wait_weight(50)
        world.kube.run(
            "delete", "pod", "-n", world.namespace, "-l", f"perennial.dev/revision={second}", "--wait=false"
        )
        assert world.wait_promoted(first) == second
    assert traffic.failed() == 0, traffic.failures[:5]


def test_objects_written_by_others_all_along_hold_no_rollout_up(world: World) -> None:
    """Pains 9 and 10: neither conflicts nor a GitOps tool that applies the same spec again move a weight."""
    first = world.start(rollout=canary(30, 60))
    with world.traffic() as traffic:
        world.new_model()
        weights = []
        for turn, weight in enumerate(canary_weights(world, first, until=promoted(first))):
            weights.append(weight)
            world.apply(uri=SECOND, rollout=canary(30, 60))
            world.kube.patch(
                "modeldeployment", world.name, world.namespace, {"metadata": {"labels": {"turn": str(turn)}}}
            )
    assert weights == sorted(weights)
    assert world.rollout()["attempt"] == 2, "the same spec starts nothing anew"
    assert traffic.failed() == 0, traffic.failures[:5]
