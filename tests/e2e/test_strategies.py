"""Each way to replace a revision, under live traffic, with the split measured at each weight."""

from typing import Any

import httpx
import pytest

from tests.e2e.support.kube import Kube
from tests.e2e.support.objects import ECHO_BODY, canary
from tests.e2e.support.rollouts import FIRST, SECOND, World
from tests.e2e.support.splits import assert_split
from tests.e2e.support.traffic import Traffic

ANALYSIS = canary()["analysis"]


@pytest.fixture
def world(kube: Kube, test_runtimes: None, namespace: str, gateway_url: str) -> World:
    return World(kube, namespace, gateway_url)


def _measure(world: World, traffic: Traffic, revision: str, share: float, n: int = 500) -> None:
    """Assert the share of the traffic that a revision answers."""

    def measure(requests: int) -> tuple[int, int]:
        before = traffic.wait_more(requests, world.wait)
        counts = traffic.counts_by_revision(before)
        return counts[revision], sum(counts.values())

    print(assert_split(measure, share, n=n))


def test_canary_mirrors_shifts_analyses_and_waits_until_it_is_promoted(world: World) -> None:
    steps: list[dict[str, Any]] = [
        {"setMirror": {"percent": 100, "duration": "4s"}},
        {"setWeight": 25},
        {"analysis": {"duration": "3s"}},
        {"pause": {}},
        {"setWeight": 60},
        {"pause": {}},
    ]
    rollout = {**canary(), "canary": {"steps": steps}}
    first = world.start(rollout=rollout)
    with world.traffic(rate_per_s=120) as traffic:
        traffic.wait_more(50, world.wait)
        world.new_model()
        second = world.wait_rollout(
            lambda r: r.get("stepState") == "Mirroring" and r.get("canary"), "the mirror step"
        )["canary"]
        route = world.kube.get("modelroute", world.name, world.namespace)
        assert route is not None
        assert route["spec"]["mirror"] == {"revision": second, "percent": 100}
        before = traffic.snapshot()
        world.wait_weight(25)
        mirrored = traffic.counts_by_revision(before)
        assert world.condition("Paused").get("status") != "True"
        world.wait(lambda: world.condition("Paused").get("status") == "True", "paused until promoted")
        assert "promote" in world.condition("Paused")["message"]
        # Nobody was answered by a copy: until the first weight was asked for, only the stable revision answered.
        assert mirrored[second] <= 0.25 * sum(mirrored.values())
        _measure(world, traffic, second, 0.25)
        world.perennial("promote", world.name)
        world.wait_weight(60)
        _measure(world, traffic, second, 0.60)
        world.perennial("promote", world.name)
        assert world.wait_promoted(first) == second
        _measure(world, traffic, second, 1.0, n=100)
    assert traffic.failed() == 0, traffic.failures[:5]
    evidence = world.revision(second)["status"]["evidence"]
    assert any(e["decision"] == "Successful" for e in evidence), evidence


def test_blue_green_previews_switches_at_once_and_keeps_the_old_revision(world: World) -> None:
    rollout = {
        "type": "BlueGreen",
        "blueGreen": {"autoPromotion": False, "keep": "8s"},
        "analysis": ANALYSIS,
        "scaleDownDelay": "2s",
    }
    first = world.start(rollout=rollout)
    with world.traffic() as traffic:
        traffic.wait_more(50, world.wait)
        world.new_model()
        second = world.wait_rollout(lambda r: r.get("preview"), "the preview")["preview"]
        preview = world.infer_url.replace(f"/{world.name}/v2", f"/{world.name}:preview/v2")

        def answers() -> bool:
            return httpx.post(preview, json=ECHO_BODY, timeout=10).headers.get("x-model-revision") == second

        world.wait(answers, "the preview address answers with the new revision")
        before = traffic.wait_more(100, world.wait)
        assert traffic.share_of(first, since=before) == 1.0
        world.perennial("promote", world.name)
        world.wait(lambda: world.weights().get(second) == 100, "the switch")
        world.wait_rollout(lambda r: r.get("canary") == second and r["stepState"] == "Pausing", "the keep")
        assert world.weights()[first] == 0, "the old revision is kept"
        before = traffic.wait_more(100, world.wait)
        assert traffic.share_of(second, since=before) == 1.0
        world.wait_promoted(first)
    assert traffic.failed() == 0, traffic.failures[:5]


def test_blue_green_that_errs_after_the_switch_goes_back_at_once(world: World) -> None:
    rollout = {
        "type": "BlueGreen",
        "blueGreen": {"keep": "10m"},
        "analysis": ANALYSIS,
        "scaleDownDelay": "2s",
    }
    first = world.start(rollout=rollout)
    with world.traffic() as traffic:
        traffic.wait_more(50, world.wait)
        world.new_runtime("test-erring")
        bad = world.wait_rolled_back()["failedRevision"]
        world.wait(lambda: world.weights().get(first) == 100, "all weight back")
        world.kube.wait_condition(world.name, world.namespace, "RouteReady", "True", timeout_s=30)
        before = traffic.wait_more(200, world.wait)
        assert traffic.share_of(first, since=before) == 1.0
    assert traffic.failed(except_revision=bad) == 0, traffic.failures[:5]
    assert world.revision(bad)["status"]["role"] == "Failed"


def test_immediate_switches_as_soon_as_the_pods_are_ready(world: World) -> None:
    first = world.start(rollout={"type": "Immediate", "scaleDownDelay": "2s"})
    with world.traffic() as traffic:
        traffic.wait_more(50, world.wait)
        world.new_model()
        second = world.wait_promoted(first)
        before = traffic.wait_more(100, world.wait)
        assert traffic.share_of(second, since=before) == 1.0
    assert traffic.failed() == 0, traffic.failures[:5]


def test_spec_edited_in_the_middle_goes_back_to_the_stable_model_cleanly(world: World) -> None:
    first = world.start(rollout=canary(30, pause="60s"))
    with world.traffic() as traffic:
        world.new_model()
        world.wait_weight(30)
        world.new_model(FIRST)
        world.wait_rollout(lambda r: r["phase"] == "Healthy" and not r.get("canary"), "back to the first")
        world.wait(lambda: world.weights() == {first: 100}, "the second drained")
    assert traffic.failed() == 0, traffic.failures[:5]
    assert world.rollout()["stable"] == first


def test_steps_edited_in_the_middle_apply_to_the_running_rollout(world: World) -> None:
    first = world.start(rollout=canary(30, pause="10m"))
    with world.traffic() as traffic:
        world.new_model(SECOND)
        second = world.wait_weight(30)
        world.change(rollout=canary(30, pause="2s"))
        assert world.wait_promoted(first) == second
    assert traffic.failed() == 0, traffic.failures[:5]
