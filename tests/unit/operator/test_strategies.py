"""Every strategy is a road that the same walker walks, one behaviour per test."""

from dataclasses import replace
from datetime import timedelta

import pytest
from perennial.rollout.decision import EventReason, ExperimentPlan
from perennial.rollout.observed import RouterView
from perennial_api.modeldeployment.status import RolloutPhase
from perennial_api.modeldeployment.warmup_status import WarmUp
from perennial_api.modelrevision import RevisionRole
from perennial_api.modelroute import Mirror

from tests.unit.operator.world import World, blue_green, challenged, immediate, revision, rollout_spec

MIRROR = {"setMirror": {"percent": 50, "duration": "10s"}}
LOOK = {"analysis": {"duration": "20s"}}


def told(world: World) -> list[str]:
    return [notice.reason.value for notice in world.notices]


def states(world: World, turns: int) -> list[str]:
    """Return the states in which the passes left the rollout, without repetitions."""
    seen: list[str] = []
    for _ in range(turns):
        state = world.turn().rollout.step_state
        if not seen or seen[-1] != state:
            seen.append(state)
    return seen


# Canary


def test_mirror_step_copies_requests_and_gives_none() -> None:
    world = challenged(rollout_spec(MIRROR, 20), requests_per_turn=100)
    decision = world.turn()
    assert decision.rollout.step_state == "Mirroring"
    assert decision.mirror == Mirror(revision="wine-2", percent=50)
    assert dict(decision.weights) == {"wine-1": 100, "wine-2": 0}
    world.run_until(lambda w: w.weights.get("wine-2") == 20)
    assert world.route is not None
    assert world.route.mirror is None


def test_time_of_a_mirror_step_runs_from_when_every_router_copies() -> None:
    world = challenged(rollout_spec(MIRROR, 20))
    world.routers_follow = False
    world.run(30)
    assert world.rollout.step_state == "Mirroring"
    world.routers_follow = True
    world.run(5)
    assert world.rollout.step_state == "Mirroring"
    world.run_until(lambda w: w.weights.get("wine-2") == 20, most=12)


def test_failing_copies_fail_nothing_and_are_told() -> None:
    world = challenged(rollout_spec(MIRROR, 20), requests_per_turn=100, error_share={"wine-2": 1.0})
    world.run_until(lambda w: w.weights.get("wine-2") == 20)
    (found,) = world.rollout.evidence
    assert (found.reason, found.dry_run) == ("Mirrored", True)
    assert found.canary.total > 0
    assert found.canary.bad == found.canary.total
    assert world.rollout.gate is None or world.rollout.gate.canary == 0


def test_analysis_step_holds_the_weight_until_the_gate_has_succeeded() -> None:
    world = challenged(rollout_spec(20, LOOK, 60, "5s"), requests_per_turn=0)
    world.run(100)
    assert (world.rollout.step_state, world.weights["wine-2"]) == ("Analyzing", 20)
    world.requests_per_turn = 1000
    world.run_until(lambda w: w.weights["wine-2"] == 60, most=5)
    assert any(e.decision.value == "Successful" for e in world.rollout.evidence)


def test_analysis_step_bakes_for_its_own_duration() -> None:
    world = challenged(rollout_spec(20, LOOK, 60, "5s"), requests_per_turn=1000)
    world.run(15)
    assert world.weights["wine-2"] == 20
    world.run_until(lambda w: w.weights["wine-2"] == 60, most=10)


def test_pause_without_duration_waits_for_promotion_and_says_the_command() -> None:
    world = challenged(rollout_spec(20, None, 60), requests_per_turn=1000)
    world.run(5)
    world.now += timedelta(days=3)
    decision = world.turn()
    assert decision.rollout.phase is RolloutPhase.PAUSED
    assert decision.rollout.step_state == "AwaitingPromotion"
    assert "kubectl perennial promote wine" in decision.rollout.message
    assert told(world).count("RolloutPaused") == 1
    assert world.say("Promote").accepted
    world.run(2)
    assert world.weights["wine-2"] == 60


def test_gate_rolls_back_during_a_pause_until_promoted() -> None:
    world = challenged(rollout_spec(20, None, 60), requests_per_turn=500)
    world.run(5)
    world.error_share = {"wine-2": 0.6}
    world.run(5)
    assert world.rollout.phase is RolloutPhase.DEGRADED
    assert world.rollout.failed_revision == "wine-2"


# BlueGreen


def test_blue_green_previews_switches_keeps_and_promotes() -> None:
    world = challenged(blue_green(preview="5s", keep="20s"), requests_per_turn=100)
    assert states(world, 40) == ["Previewing", "Shifting", "Pausing", "Completed"]
    assert world.rollout.stable == "wine-2"


def test_preview_gives_an_address_and_no_request() -> None:
    world = challenged(blue_green(preview="5s"))
    decision = world.turn()
    assert decision.preview == "wine-2"
    assert decision.rollout.preview == "wine-2"
    assert dict(decision.weights) == {"wine-1": 100, "wine-2": 0}
    world.run_until(lambda w: w.weights["wine-2"] == 100)
    assert world.rollout.preview is None


def test_blue_green_without_auto_promotion_waits_at_the_preview() -> None:
    world = challenged(blue_green(autoPromotion=False, keep="5s"), requests_per_turn=100)
    world.run(100, seconds=60)
    assert (world.rollout.phase, world.rollout.step_state) == (RolloutPhase.PAUSED, "Previewing")
    assert "kubectl perennial promote wine" in world.rollout.message
    assert world.say("Promote").accepted
    world.run(2)
    assert world.weights == {"wine-1": 0, "wine-2": 100}


def test_blue_green_keeps_the_old_pods_until_it_is_over() -> None:
    world = challenged(blue_green(keep="60s"), requests_per_turn=100)
    decisions = world.run(50)
    assert all("wine-1" in d.keep for d in decisions)
    assert decisions[-1].roles["wine-1"] is RevisionRole.STABLE
    world.run(60)
    assert "wine-1" not in world.turn().keep


def test_blue_green_that_fails_after_the_switch_goes_back_at_once() -> None:
    world = challenged(blue_green(keep="10m"), requests_per_turn=100)
    world.run(4)
    assert world.weights["wine-2"] == 100
    world.error_share = {"wine-2": 0.9}
    world.routers_follow = False
    world.run_until(lambda w: w.rollout.canary is None, most=10)
    assert world.weights == {"wine-1": 100, "wine-2": 0}
    assert world.revisions["wine-1"].ready_endpoints == 1


def test_blue_green_is_not_failed_by_a_comparison_with_what_gets_no_requests() -> None:
    world = challenged(blue_green(keep="60s"), requests_per_turn=100)
    world.error_share = {"wine-2": 0.2}
    world.run(90)
    assert world.rollout.stable == "wine-2"


def test_blue_green_beyond_max_rate_goes_back() -> None:
    limits = {"metrics": [{"name": "errors", "type": "ErrorRate", "maxRate": 0.05}]}
    world = challenged(blue_green(keep="10m", analysis=limits), requests_per_turn=100)
    world.error_share = {"wine-2": 0.2}
    world.run(60)
    assert world.rollout.failed_revision == "wine-2"


def test_blue_green_that_loses_its_pods_after_the_switch_is_answered_by_the_old() -> None:
    world = challenged(blue_green(keep="10m"), requests_per_turn=100)
    world.run(10)
    world.fail("wine-2")
    assert dict(world.turn().weights) == {"wine-1": 100, "wine-2": 0}


# Immediate


def test_immediate_switches_as_soon_as_the_pods_are_ready() -> None:
    world = challenged(immediate(), requests_per_turn=0)
    world.fail("wine-2")
    world.run(3)
    assert world.weights.get("wine-2", 0) == 0
    world.heal("wine-2")
    assert dict(world.turn().weights) == {"wine-1": 0, "wine-2": 100}
    world.run(2)
    assert world.rollout.stable == "wine-2"


# What may hold a step up


def test_weight_rises_only_with_the_pods_that_carry_it() -> None:
    world = challenged(rollout_spec(20, "5s", 60, "5s"), requests_per_turn=100)
    world.run(3)
    world.needed = {"wine-2": 3}
    world.run(10)
    assert (world.rollout.step_state, world.weights["wine-2"]) == ("WaitingForCapacity", 20)
    world.revisions["wine-2"] = replace(world.revisions["wine-2"], ready_endpoints=3)
    assert dict(world.turn().weights)["wine-2"] == 60


def test_capacity_that_never_comes_rolls_back_at_the_deadline() -> None:
    world = challenged(rollout_spec(20, "5s", 60, "5s"), requests_per_turn=100)
    world.run(3)
    world.needed = {"wine-2": 3}
    world.run(5)
    world.run(8, seconds=120)
    assert world.rollout.failed_revision == "wine-2"


def test_router_that_never_applies_a_weight_is_named_and_waited_for() -> None:
    world = challenged(rollout_spec(20, "5s"), requests_per_turn=100)
    world.routers["router-b"] = RouterView("router-b", ready=True, reachable=False)
    world.routers_follow = False
    world.run(12, seconds=60)
    assert world.rollout.phase is RolloutPhase.DEGRADED
    assert "router-b" in world.rollout.message
    assert world.rollout.canary == "wine-2"
    del world.routers["router-b"]
    world.routers_follow = True
    world.run(3)
    assert world.rollout.phase is RolloutPhase.PROGRESSING


def measured(world: World, *, within: bool) -> WarmUp:
    return WarmUp(revision="wine-2", time=world.now, p99_ms=40, within_budget=within, message="p99 40 ms")


def test_warm_up_is_asked_for_and_waited_for_before_the_first_request() -> None:
    world = challenged(rollout_spec(20, "5s"), requests_per_turn=100, warm_up_required=True)
    decision = world.turn()
    assert (decision.warm_up, decision.rollout.step_state) == ("wine-2", "WarmingUp")
    world.run(5)
    assert world.weights["wine-2"] == 0
    world.warm_up = measured(world, within=True)
    decision = world.turn()
    assert dict(decision.weights)["wine-2"] == 20
    assert decision.warm_up is None
    assert decision.rollout.warm_up == world.warm_up


def test_slow_warm_up_is_a_warning_or_a_refusal_as_asked() -> None:
    for refuses in (False, True):
        world = challenged(rollout_spec(20, "5s"), warm_up_required=True, refuse_too_slow=refuses)
        world.turn()
        world.warm_up = measured(world, within=False)
        world.turn()
        assert "WarmUpMeasured" in told(world)
        assert (world.rollout.failed_revision == "wine-2") is refuses
        assert (world.outcome is not None and world.outcome.reason == "TooSlow") is refuses


def test_measurement_of_an_earlier_attempt_does_not_count() -> None:
    world = challenged(rollout_spec(20, "5s"), warm_up_required=True)
    world.warm_up = measured(world, within=True)
    world.now += timedelta(minutes=1)
    assert world.turn().rollout.step_state == "WarmingUp"


def test_warm_up_that_never_comes_holds_nothing_up_for_ever() -> None:
    world = challenged(rollout_spec(20, "5s"), warm_up_required=True)
    world.run(12, seconds=60)
    assert world.weights["wine-2"] == 20
    assert any("unmeasured" in n.message for n in world.notices)


# Edits in the middle


def test_later_steps_may_be_edited_without_disturbing_the_present_one() -> None:
    world = challenged(rollout_spec(20, "60s", 60), requests_per_turn=100)
    world.run(10)
    began = world.rollout.step_started_at
    world.spec = rollout_spec(20, "60s", 40, "5s", 80)
    world.run(2)
    assert world.rollout.step_started_at == began
    assert world.weights["wine-2"] == 20


def test_edited_steps_never_raise_the_weight_by_themselves() -> None:
    world = challenged(rollout_spec(20, "60s", 60), requests_per_turn=100)
    world.run(10)
    world.spec = rollout_spec(10, "10m", 90, "10m")
    world.run(5)
    assert world.weights["wine-2"] == 10
    assert world.rollout.canary == "wine-2"


def test_change_to_blue_green_in_the_middle_skips_no_preview() -> None:
    world = challenged(rollout_spec(20, "60s", 60), requests_per_turn=100)
    world.run(10)
    world.spec = blue_green(autoPromotion=False)
    world.run(5)
    assert world.rollout.step_state == "Previewing"
    assert world.weights["wine-2"] == 0


def test_shorter_pause_applies_at_once() -> None:
    world = challenged(rollout_spec(20, "60m", 60), requests_per_turn=100)
    world.run(10)
    world.spec = rollout_spec(20, "2s", 60)
    assert dict(world.turn().weights)["wine-2"] == 60


# Experiments

PLAN = ExperimentPlan(
    weights={"wine-x": 30, "wine-1": 70},
    keep=frozenset({"wine-x"}),
    roles={"wine-x": RevisionRole.VARIANT},
)


def experimenting(world: World) -> World:
    world.revisions["wine-x"] = revision("wine-x")
    world.experiment = PLAN
    return world


def test_rollout_waits_for_the_experiment_and_then_begins() -> None:
    world = experimenting(challenged(rollout_spec(20, "5s"), requests_per_turn=100))
    decisions = world.run(50, seconds=60)
    assert world.rollout.step_state == "WaitingForExperiment"
    assert world.weights == {"wine-x": 30, "wine-1": 70}
    assert decisions[-1].roles["wine-x"] is RevisionRole.VARIANT
    assert "wine-2" not in decisions[-1].keep
    world.experiment = None
    assert world.turn().rollout.step_state != "WaitingForExperiment"
    world.heal("wine-2")
    world.run(3)
    assert world.weights["wine-2"] == 20
    assert world.weights["wine-x"] == 0


def test_variants_are_drained_like_any_revision_when_the_experiment_ends() -> None:
    world = experimenting(challenged(rollout_spec(20)))
    world.target = "wine-1"
    world.run(3)
    world.experiment = None
    decision = world.turn()
    assert dict(decision.weights) == {"wine-1": 100, "wine-x": 0}
    assert decision.roles["wine-x"] is RevisionRole.RETIRED
    assert "wine-x" in decision.keep
    assert "wine-x" not in world.run(40)[-1].keep


def test_first_revision_waits_for_no_experiment() -> None:
    world = World(rollout_spec(20), {"wine-1": revision("wine-1")}, "wine-1", experiment=PLAN)
    world.turn()
    assert world.rollout.stable == "wine-1"


@pytest.mark.parametrize("spec", [rollout_spec(20, None), blue_green(keep="10m"), rollout_spec(MIRROR)])
def test_return_to_the_stable_model_ends_any_rollout_cleanly(spec: object) -> None:
    world = challenged(spec, requests_per_turn=100)  # type: ignore[arg-type] # of three kinds
    world.run(5)
    world.target = "wine-1"
    decision = world.turn()
    assert decision.rollout.phase is RolloutPhase.HEALTHY
    assert dict(decision.weights) == {"wine-1": 100, "wine-2": 0}
    assert (decision.mirror, decision.preview) == (None, None)
    assert EventReason.ROLLOUT_SUPERSEDED in {n.reason for n in decision.notices}
