"""The verbs of `kubectl perennial` on a real rollout under live traffic: each is acknowledged, and does what it says."""

import json

import pytest

from tests.e2e.support.kube import Kube
from tests.e2e.support.objects import canary
from tests.e2e.support.rollouts import FIRST, SECOND, THIRD, World


@pytest.fixture
def world(kube: Kube, test_runtimes: None, namespace: str, gateway_url: str) -> World:
    return World(kube, namespace, gateway_url)


def _wait_all_on(world: World, revision: str) -> None:
    world.wait(lambda: world.weights().get(revision) == 100, f"all weight on {revision}")
    world.kube.wait_condition(world.name, world.namespace, "RouteReady", "True", timeout_s=30)


def test_abort_sticks_until_retry_and_promote_full_passes_every_step(world: World) -> None:
    first = world.start(rollout=canary(20, 60, pause="10m"))
    with world.traffic() as traffic:
        world.new_model()
        second = world.wait_weight(20)
        world.perennial("abort", world.name)
        rollout = world.wait_rolled_back()
        assert (rollout["failedRevision"], rollout["stable"]) == (second, first)
        _wait_all_on(world, first)
        before = traffic.wait_more(100, world.wait)
        assert traffic.share_of(first, since=before) == 1.0

        # The same spec again, and a new operator, try nothing.
        world.apply(uri=SECOND, rollout=canary(20, 60, pause="10m"))
        world.kube.run(
            "delete", "pod", "-n", "perennial-system", "-l", "app.kubernetes.io/component=operator",
            "--wait=true",
        )  # fmt: skip
        world.change(rollout=canary(20, 60, pause="9m"))
        generation = world.object()["metadata"]["generation"]
        world.wait(lambda: world.status()["observedGeneration"] == generation, "the new operator's pass")
        assert world.rollout()["phase"] == "Degraded"

        world.perennial("retry", world.name)
        assert world.wait_weight(20) == second
        assert world.rollout()["attempt"] == 3
        world.perennial("promote", world.name, "--full")
        assert world.wait_promoted(first) == second
    assert traffic.failed() == 0, traffic.failures[:5]


def test_pause_holds_every_step_and_resume_goes_on(world: World) -> None:
    first = world.start(rollout=canary(20, 60, pause="10s"))
    with world.traffic() as traffic:
        world.new_model()
        second = world.wait_weight(20)
        world.perennial("pause", world.name)
        held_at = world.rollout()["stepIndex"]
        before = traffic.wait_more(400, world.wait)
        assert world.rollout()["stepIndex"] == held_at
        assert world.rollout()["phase"] == "Paused"
        assert 0 < traffic.share_of(second, since=before) < 0.5
        world.perennial("resume", world.name)
        assert world.wait_promoted(first) == second
    assert traffic.failed() == 0, traffic.failures[:5]


def test_undo_goes_back_and_holds_until_the_model_changes(world: World) -> None:
    first = world.start(rollout={"type": "Immediate", "scaleDownDelay": "2s"})
    with world.traffic() as traffic:
        world.new_model(SECOND)
        second = world.wait_promoted(first)
        world.wait(lambda: world.weights() == {second: 100}, "the first revision drained")
        world.perennial("undo", world.name)
        _wait_all_on(world, first)
        assert world.rollout()["stable"] == first
        # An edit of anything but the model rebases on what undo chose.
        world.change(logger={"exclude": ["y"]})
        third = world.wait_promoted(first)
        assert world.revision(third)["spec"]["model"]["uri"] == FIRST
        world.perennial("undo", world.name, "--to", second)
        _wait_all_on(world, second)
        world.new_model(THIRD)
        fourth = world.wait_promoted(second)
        assert world.revision(fourth)["spec"]["model"]["uri"] == THIRD
    assert traffic.failed() == 0, traffic.failures[:5]


def test_people_can_ask_what_is_what_was_and_why(world: World) -> None:
    first = world.start(rollout=canary(50, pause="1s"))
    with world.traffic():
        world.new_model()
        second = world.wait_promoted(first)
        world.new_runtime("test-erring", rollout=canary(50, pause="60s"))
        bad = world.wait_rolled_back()["failedRevision"]
    assert world.name in world.perennial("get")
    status = json.loads(world.perennial("status", world.name, "-o", "json"))
    assert status["metadata"]["name"] == world.name
    assert "Degraded" in world.perennial("status", world.name)
    history = world.perennial("history", world.name)
    for name in (first, second, bad):
        assert name in history
    why = world.perennial("why", second)
    assert "errors" in why
    assert "Successful" in why
    why = world.perennial("why", bad)
    assert "Failed" in why
    assert json.loads(world.perennial("why", bad, "-o", "json"))
    weights = world.perennial("weights", world.name)
    assert second in weights
    assert "100" in weights


def test_verb_in_the_wrong_state_says_what_to_do(world: World) -> None:
    first = world.start(rollout=canary(50))
    for words in (["promote"], ["abort"], ["retry"], ["resume"], ["undo"], ["undo", "--to", "echo-00000000"]):
        said = world.perennial(words[0], world.name, *words[1:], ok=False)
        assert len(said.strip()) > 20, words
    assert world.rollout()["stable"] == first
    assert "echo" in world.perennial("status", "echo-two", ok=False)
