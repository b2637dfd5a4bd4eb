"""The rollout's state machine, one behaviour per test."""

from dataclasses import replace
from datetime import timedelta

import pytest
from perennial.rollout.decision import EventReason
from perennial.rollout.observed import Failure, RouterView
from perennial_api.modeldeployment.status import RolloutPhase
from perennial_api.modelrevision import RevisionRole

from tests.unit.operator.world import World, challenged, revision, rollout_spec, settled

CANARY = rollout_spec(20, "5s", 60, "5s")


def weights_of(world: World) -> dict[str, int]:
    return dict(world.route.weights) if world.route else {}


def test_first_revision_is_stable_as_soon_as_it_is_ready() -> None:
    world = World(CANARY, {"wine-1": revision("wine-1")}, "wine-1")
    decision = world.turn()
    assert decision.rollout.stable == "wine-1"
    assert decision.rollout.phase is RolloutPhase.HEALTHY
    assert dict(decision.weights) == {"wine-1": 100}
    assert decision.roles["wine-1"] is RevisionRole.STABLE


def test_first_revision_that_is_not_ready_gets_no_route_and_waits() -> None:
    world = World(CANARY, {"wine-1": revision("wine-1", ready_endpoints=0)}, "wine-1")
    decision = world.turn()
    assert dict(decision.weights) == {}
    assert decision.rollout.phase is RolloutPhase.PROGRESSING
    assert "wine-1" in decision.keep


def test_first_revision_needs_no_gateway_to_become_stable() -> None:
    world = World(CANARY, {"wine-1": revision("wine-1")}, "wine-1", routers={})
    world.run(2)
    assert world.status is not None
    assert world.status.stable == "wine-1"


def test_first_revision_past_its_deadline_is_degraded_and_still_recovers() -> None:
    world = World(CANARY, {"wine-1": revision("wine-1", ready_endpoints=0)}, "wine-1")
    world.run(3, seconds=300)
    assert world.turn().rollout.phase is RolloutPhase.DEGRADED
    world.heal("wine-1")
    assert world.turn().rollout.phase is RolloutPhase.HEALTHY


def test_canary_takes_every_step_and_is_promoted() -> None:
    world = challenged(CANARY, requests_per_turn=100)
    seen = [dict(d.weights).get("wine-2", 0) for d in world.run(30)]
    assert world.status is not None
    assert world.status.stable == "wine-2"
    assert world.status.phase is RolloutPhase.HEALTHY
    steps = [w for i, w in enumerate(seen[: seen.index(100) + 1]) if i == 0 or w != seen[i - 1]]
    assert steps == [20, 60, 100]


def test_promotion_says_why_on_the_revision() -> None:
    world = challenged(CANARY, requests_per_turn=100)
    outcome = next(d.outcome for d in world.run(30) if d.outcome)
    assert outcome.revision == "wine-2"
    assert outcome.reason == "WithinLimits"
    assert outcome.evidence[0].canary.total >= 100


def test_promotion_changes_roles_only_and_keeps_both_running_until_the_old_is_drained() -> None:
    world = challenged(CANARY, requests_per_turn=100)
    decision = next(d for d in world.run(30) if d.outcome)
    assert decision.keep >= {"wine-1", "wine-2"}
    assert decision.roles["wine-1"] is RevisionRole.RETIRED
    assert decision.roles["wine-2"] is RevisionRole.STABLE


def test_step_does_not_advance_before_every_ready_router_has_loaded_it() -> None:
    world = challenged(CANARY, requests_per_turn=100)
    world.routers["router-b"] = RouterView("router-b", ready=True, reachable=True, epoch="e1")
    world.routers_follow = False
    world.run(20)
    assert world.status is not None
    assert (world.status.step_index, world.status.step_state) == (0, "Shifting")
    world.load_route()
    world.turn()
    assert world.status.step_index == 1


def test_router_that_is_not_ready_holds_nothing_up() -> None:
    world = challenged(CANARY, requests_per_turn=100)
    world.routers["router-b"] = RouterView("router-b", ready=False)
    world.run(3)
    assert world.status is not None
    assert world.status.step_index == 1


def test_ready_router_that_does_not_answer_holds_the_step() -> None:
    world = challenged(CANARY)
    world.routers["router-b"] = RouterView("router-b", ready=True, reachable=False)
    world.run(1)
    world.routers["router-b"] = RouterView("router-b", ready=True, reachable=False)
    world.run(1)
    world.routers["router-b"] = RouterView("router-b", ready=True, reachable=False)
    decision = world.turn()
    assert decision.rollout.step_state == "Shifting"


def test_canary_does_not_advance_without_any_ready_router() -> None:
    world = challenged(CANARY)
    world.routers.clear()
    world.run(50)
    assert world.status is not None
    assert world.status.step_index == 0
    assert world.status.stable == "wine-1"


def test_canary_without_ready_pod_gets_no_weight() -> None:
    world = challenged(CANARY)
    world.fail("wine-2")
    decision = world.turn()
    assert dict(decision.weights).get("wine-2", 0) == 0
    assert decision.rollout.step_state == "WaitingForPods"


def test_canary_gets_its_first_requests_when_all_its_pods_are_ready_and_keeps_them_with_one() -> None:
    world = challenged(CANARY, replicas=3)
    assert dict(world.turn().weights)["wine-2"] == 0
    world.revisions["wine-2"] = replace(world.revisions["wine-2"], ready_endpoints=3)
    assert dict(world.turn().weights)["wine-2"] == 20
    world.revisions["wine-2"] = replace(world.revisions["wine-2"], ready_endpoints=1)
    assert dict(world.turn().weights)["wine-2"] == 20


def test_canary_that_loses_its_pods_loses_its_weight_and_gets_it_back_with_them() -> None:
    world = challenged(CANARY, requests_per_turn=100)
    world.run(3)
    assert weights_of(world)["wine-2"] == 20
    world.fail("wine-2")
    assert dict(world.turn().weights) == {"wine-1": 100, "wine-2": 0}
    world.heal("wine-2")
    assert dict(world.turn().weights) == {"wine-1": 80, "wine-2": 20}


def test_canary_without_ready_pod_at_the_deadline_is_rolled_back_with_the_pods_own_reason() -> None:
    world = challenged(CANARY)
    failure = Failure("DigestMismatch", "the bytes are others", 1)
    world.revisions["wine-2"] = replace(world.revisions["wine-2"], ready_endpoints=0, failure=failure)
    world.turn()
    world.now += timedelta(minutes=10)
    decision = world.turn()
    assert decision.rollout.phase is RolloutPhase.DEGRADED
    assert decision.outcome is not None
    assert decision.outcome.reason == "DigestMismatch"


def test_failing_canary_is_rolled_back_at_once_whatever_the_routers_do() -> None:
    world = challenged(rollout_spec(20, "60s"), requests_per_turn=200)
    world.run(5)
    world.routers_follow = False
    world.error_share = {"wine-2": 0.5}
    decisions = world.run(6)
    decision = next(d for d in decisions if d.outcome)
    assert dict(decision.weights) == {"wine-1": 100, "wine-2": 0}
    assert decision.rollout.failed_revision == "wine-2"
    assert decision.roles["wine-2"] is RevisionRole.FAILED
    assert any(n.reason is EventReason.ROLLED_BACK and n.is_warning for n in decision.notices)


def test_failed_revision_is_not_tried_again() -> None:
    world = challenged(CANARY, requests_per_turn=200, error_share={"wine-2": 0.5})
    world.run(200)
    assert world.status is not None
    assert world.status.phase is RolloutPhase.DEGRADED
    assert world.status.attempt == 2  # the first revision's and the failed one's
    assert weights_of(world) == {"wine-1": 100}


def test_return_to_the_stable_model_makes_the_rollout_healthy_and_allows_another_attempt() -> None:
    world = challenged(CANARY, requests_per_turn=200, error_share={"wine-2": 0.5})
    world.run(60)
    world.target = "wine-1"
    assert world.turn().rollout.phase is RolloutPhase.HEALTHY
    world.target, world.error_share = "wine-2", {}
    world.heal("wine-2")
    decision = world.turn()
    assert decision.rollout.canary == "wine-2"


def test_newer_revision_in_the_middle_of_a_rollout_wins_and_starts_from_the_first_step() -> None:
    world = challenged(CANARY, requests_per_turn=100)
    world.run(12)
    assert weights_of(world)["wine-2"] == 60
    world.revisions["wine-3"] = revision("wine-3")
    world.target = "wine-3"
    decision = world.turn()
    assert decision.rollout.canary == "wine-3"
    assert dict(decision.weights) == {"wine-1": 80, "wine-3": 20, "wine-2": 0}
    assert decision.roles["wine-2"] is RevisionRole.RETIRED


def test_replaced_revision_keeps_its_pods_until_weight_zero_is_applied_and_the_delay_is_over() -> None:
    world = challenged(CANARY, requests_per_turn=100)
    while world.status is None or world.status.stable != "wine-2":
        world.turn()
    kept = [("wine-1" in d.keep) for d in world.run(40)]
    assert 29 <= kept.index(False) <= 32


def test_pods_stay_while_a_router_may_still_know_them() -> None:
    world = challenged(CANARY, requests_per_turn=100)
    while world.status is None or world.status.stable != "wine-2":
        world.turn()
    world.routers_follow = False
    world.routers["router-a"] = replace(world.routers["router-a"], route_generation=1)
    assert all("wine-1" in d.keep for d in world.run(100))


def test_pods_with_requests_under_way_are_kept() -> None:
    world = challenged(CANARY, requests_per_turn=100)
    while world.status is None or world.status.stable != "wine-2":
        world.turn()
    router = world.routers["router-a"]
    busy = {**router.counters, "wine-1": replace(router.counters["wine-1"], active=3)}
    world.routers["router-a"] = replace(router, counters=busy)
    world.requests_per_turn = 0
    assert all("wine-1" in d.keep for d in world.run(100))
    idle = {**busy, "wine-1": replace(busy["wine-1"], active=0)}
    world.routers["router-a"] = replace(world.routers["router-a"], counters=idle)
    world.run(3)
    assert "wine-1" not in world.turn().keep


def test_route_entry_goes_before_the_pods() -> None:
    world = challenged(CANARY, requests_per_turn=100)
    decisions = world.run(80)
    gone_from_route = next(i for i, d in enumerate(decisions) if i > 20 and "wine-1" not in d.weights)
    gone = next(i for i, d in enumerate(decisions) if "wine-1" not in d.keep)
    assert gone_from_route < gone


def test_too_little_traffic_pauses_and_goes_on_when_it_comes() -> None:
    world = challenged(rollout_spec(20, progressDeadline="1m"))
    decisions = world.run(70)
    assert decisions[-1].rollout.phase is RolloutPhase.PAUSED
    assert weights_of(world)["wine-2"] == 20
    assert sum(n.reason is EventReason.ROLLOUT_PAUSED for d in decisions for n in d.notices) == 1
    world.requests_per_turn = 200
    world.run(10)
    assert world.status is not None
    assert world.status.stable == "wine-2"


@pytest.mark.parametrize(("choice", "stable"), [("Promote", "wine-2"), ("Abort", "wine-1")])
def test_too_little_traffic_is_decided_as_the_spec_says(choice: str, stable: str) -> None:
    world = challenged(rollout_spec(20, progressDeadline="1m", onInconclusive=choice))
    world.run(80)
    assert world.status is not None
    assert (world.status.stable, world.status.canary) == (stable, None)


def test_bake_is_waited_for() -> None:
    world = challenged(rollout_spec(20, bake="2m"), requests_per_turn=1000)
    world.run(100)
    assert world.status is not None
    assert world.status.canary == "wine-2"
    assert world.status.step_state == "Analyzing"
    world.run(30)
    assert world.status.stable == "wine-2"


def test_requests_within_the_initial_delay_do_not_count() -> None:
    world = challenged(
        rollout_spec(20, initialDelay="30s"), requests_per_turn=1000, error_share={"wine-2": 1.0}
    )
    world.run(25)
    assert world.status is not None
    assert world.status.canary == "wine-2"
    assert world.status.gate is None or world.status.gate.canary == 0
    world.run(10)
    assert world.status.phase is RolloutPhase.DEGRADED


def test_without_steps_the_new_revision_gets_everything_as_soon_as_it_is_ready() -> None:
    world = challenged(rollout_spec())
    world.run(3)
    assert world.status is not None
    assert world.status.stable == "wine-2"


def test_restart_of_the_routers_counters_loses_and_doubles_nothing() -> None:
    world = challenged(rollout_spec(50, "60s"), requests_per_turn=100)
    world.run(10)
    before = world.status.gate.canary  # type: ignore[union-attr]
    world.routers["router-a"] = replace(world.routers["router-a"], epoch="e2", counters={})
    world.run(10)
    counted = world.status.gate.canary - before  # type: ignore[union-attr]
    # The turn in which they restarted is lost: nobody read it before.
    assert 450 <= counted <= 500


def test_spec_that_cannot_be_honoured_leaves_everything_as_it_is() -> None:
    world = settled(CANARY)
    world.target = None
    before = world.status
    decision = world.turn()
    assert decision.rollout == before
    assert dict(decision.weights) == {"wine-1": 100}
    assert "wine-1" in decision.keep


def test_status_that_was_lost_is_rebuilt_from_the_revisions_roles() -> None:
    world = settled(CANARY)
    world.status = None
    decision = world.turn()
    assert decision.rollout.stable == "wine-1"
    assert decision.rollout.phase is RolloutPhase.HEALTHY
    assert dict(decision.weights) == {"wine-1": 100}


def test_failure_outlives_a_lost_status() -> None:
    world = challenged(CANARY, requests_per_turn=200, error_share={"wine-2": 0.5})
    world.run(60)
    world.status = None
    assert world.turn().rollout.phase is RolloutPhase.DEGRADED


def test_steps_that_became_fewer_in_mid_rollout_end_the_rollout_well() -> None:
    world = challenged(CANARY, requests_per_turn=100)
    world.run(12)
    world.spec = rollout_spec(70)
    world.run(20)
    assert world.status is not None
    assert world.status.stable == "wine-2"
