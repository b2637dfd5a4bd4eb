"""Verbs: what each does, and what it says where it can't be done."""

from datetime import timedelta

import pytest
from perennial.rollout.decision import ExperimentPlan
from perennial_api.modeldeployment.experiment_status import ExperimentStatus
from perennial_api.modeldeployment.status import RolloutPhase
from perennial_api.modelrevision import Origin, RevisionRole

from tests.unit.operator.world import (
    World,
    blue_green,
    challenged,
    immediate,
    revision,
    rollout_spec,
    settled,
)

WAITING = rollout_spec(20, None, 60, None)
STEPS = rollout_spec(20, "60s", 60, "60s")


def at_first_step(spec: object = WAITING) -> World:
    """Return a world in which wine-2 stands at its first weight."""
    world = challenged(spec, requests_per_turn=1000)  # type: ignore[arg-type] # a Rollout
    world.run(5)
    return world


def undone(target: str | None = None, **changes: object) -> World:
    """Return a world in which wine-2 has replaced wine-1, whose pods are gone, and somebody said undo."""
    world = challenged(immediate(), requests_per_turn=1000)
    world.run_until(lambda w: not w.revisions["wine-1"].running)
    for name, value in changes.items():
        setattr(world, name, value)
    assert world.say("Undo", revision=target).accepted
    return world


# Promote


def test_promote_goes_on_from_a_pause_and_is_noted_as_evidence() -> None:
    world = at_first_step()
    said = world.say("Promote", revision="wine-2", step_index=1)
    assert (said.accepted, said.reason) == (True, "Promoted")
    world.run(2)
    assert world.weights["wine-2"] == 60
    assert [e.reason for e in world.rollout.evidence] == ["PromotedByCommand"]


def test_promote_ends_one_step_and_the_gate_still_holds_before_the_last_weight() -> None:
    world = challenged(rollout_spec(20, None, bake="10m"), requests_per_turn=1000)
    world.run(5)
    world.say("Promote")
    world.run(5)
    assert (world.rollout.step_state, world.weights["wine-2"]) == ("Analyzing", 20)
    world.say("Promote")
    world.run(2)
    assert world.rollout.stable == "wine-2"


def test_promote_full_goes_past_all_steps_and_gates() -> None:
    world = at_first_step(rollout_spec(20, None, 60, "60m", bake="10m"))
    assert world.say("Promote", full=True).accepted
    assert dict(world.turn().weights) == {"wine-1": 0, "wine-2": 100}
    world.run(2)
    assert world.rollout.stable == "wine-2"
    assert world.outcome is not None
    assert world.outcome.reason == "PromotedByCommand"
    assert world.outcome.evidence


def test_promote_full_waits_for_pods_and_capacity_but_for_nothing_else() -> None:
    world = challenged(WAITING)
    world.fail("wine-2")
    world.run(3)
    assert not world.say("Promote").accepted
    assert world.say("Promote", full=True).accepted
    assert dict(world.turn().weights).get("wine-2", 0) == 0
    world.heal("wine-2")
    assert dict(world.turn().weights)["wine-2"] == 100


def test_promote_full_keeps_the_weight_while_it_waits_for_capacity() -> None:
    world = at_first_step()
    world.needed = {"wine-2": 5}
    world.say("Promote", full=True)
    world.run(3)
    assert (world.rollout.step_state, world.weights["wine-2"]) == ("WaitingForCapacity", 20)


def test_gate_still_rolls_back_what_was_promoted_fully() -> None:
    world = at_first_step()
    world.error_share = {"wine-2": 0.7}
    world.routers_follow = False
    world.say("Promote", full=True)
    world.run(5)
    assert world.rollout.failed_revision == "wine-2"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"revision": "wine-9"}, "OtherRevision"),
        ({"step_index": 3}, "OtherStep"),
        ({"variant": "challenger"}, "NoExperiment"),
    ],
)
def test_promotion_of_another_state_of_things_is_refused(words: dict[str, object], reason: str) -> None:
    world = at_first_step()
    said = world.say("Promote", **words)
    assert (said.accepted, said.reason) == (False, reason)
    assert len(said.message) > 20
    assert world.turn().rollout.step_index == 1


def test_nothing_on_trial_refuses_promote_abort_pause_resume_and_retry() -> None:
    world = settled(STEPS)
    for verb in ("Promote", "Abort", "Pause", "Resume", "Retry", "Undo"):
        said = world.say(verb)
        assert not said.accepted, verb
        assert len(said.message) > 20, verb
    assert world.turn().rollout.stable == "wine-1"


def test_first_revision_needs_no_promotion_and_has_no_way_back() -> None:
    world = World(STEPS, {"wine-1": revision("wine-1", ready_endpoints=0)}, "wine-1")
    world.turn()
    assert world.say("Promote").reason == "FirstRevision"
    assert world.say("Abort").reason == "NoStableRevision"
    assert world.say("Pause").reason == "FirstRevision"
    assert world.say("Undo").reason == "NoStableRevision"


def test_promotion_while_routers_apply_is_refused_with_what_to_do() -> None:
    world = challenged(WAITING)
    world.routers_follow = False
    world.turn()
    said = world.say("Promote")
    assert (said.accepted, said.reason) == (False, "Shifting")
    assert "again" in said.message


# Abort and retry


def test_abort_gives_everything_back_and_sticks() -> None:
    world = at_first_step()
    world.routers_follow = False
    assert world.say("Abort").accepted
    decision = world.turn()
    assert dict(decision.weights) == {"wine-1": 100, "wine-2": 0}
    assert decision.roles["wine-2"] is RevisionRole.FAILED
    assert world.outcome is not None
    assert world.outcome.reason == "Aborted"
    assert [e.reason for e in world.outcome.evidence] == ["Aborted"]
    world.routers_follow = True
    world.run(50)
    assert world.rollout.phase is RolloutPhase.DEGRADED
    assert world.rollout.attempt == 2


def test_abort_outlives_a_lost_status_and_edited_steps() -> None:
    world = at_first_step()
    world.say("Abort")
    world.run(5)
    world.spec = rollout_spec(50, "5s")
    world.run(5)
    world.status = None
    world.run(5)
    assert world.rollout.failed_revision == "wine-2"
    assert world.weights["wine-1"] == 100


def test_retry_gives_another_attempt_from_the_first_step() -> None:
    world = at_first_step()
    world.say("Abort")
    world.run(5)
    assert world.say("Retry").accepted
    world.run(2)
    assert (world.rollout.canary, world.rollout.attempt) == ("wine-2", 3)
    world.heal("wine-2")
    world.run(2)
    assert world.weights["wine-2"] == 20
    assert world.rollout.failed_revision is None


def test_retry_is_refused_while_a_rollout_is_under_way() -> None:
    said = at_first_step().say("Retry")
    assert (said.accepted, said.reason) == (False, "NothingToRetry")
    assert "under way" in said.message


def test_abort_before_the_pods_are_ready_is_possible() -> None:
    world = challenged(WAITING)
    world.fail("wine-2")
    world.run(3)
    assert world.say("Abort").accepted
    assert world.turn().rollout.failed_revision == "wine-2"


# Pause and resume


def test_pause_holds_every_step_and_resume_goes_on() -> None:
    world = at_first_step(rollout_spec(20, "10s", 60, "10s"))
    held = world.say("Pause")
    assert held.accepted
    assert held.message.endswith("resume wine. A failing gate still rolls it back.")
    world.run(100)
    assert (world.rollout.phase, world.rollout.step_index) == (RolloutPhase.PAUSED, 1)
    assert world.weights["wine-2"] == 20
    assert world.say("Pause").reason == "AlreadyHeld"
    assert world.say("Promote").reason == "Held"
    assert world.say("Resume").accepted
    world.run(3)
    assert world.weights["wine-2"] == 60
    assert world.say("Resume").reason == "NotHeld"


def test_gate_rolls_back_a_held_rollout() -> None:
    world = at_first_step()
    world.say("Pause")
    world.error_share = {"wine-2": 0.7}
    world.run(5)
    assert world.rollout.failed_revision == "wine-2"
    assert not world.rollout.held


def test_no_deadline_runs_while_held() -> None:
    world = at_first_step()
    world.say("Pause")
    world.fail("wine-2")
    world.run(5, seconds=3600)
    assert world.rollout.canary == "wine-2"
    assert world.weights["wine-2"] == 0
    world.say("Resume")
    world.turn()
    assert world.rollout.canary == "wine-2"


def test_time_held_does_not_count_against_a_wait_for_capacity() -> None:
    world = challenged(rollout_spec(20, "5s", 60, "5s"), requests_per_turn=100)
    world.run(3)
    world.needed = {"wine-2": 3}
    world.run(10)
    assert world.rollout.step_state == "WaitingForCapacity"
    world.say("Pause")
    world.run(5, seconds=3600)
    world.say("Resume")
    world.turn()
    assert world.rollout.canary == "wine-2"


def test_edit_of_the_steps_moves_no_held_rollout() -> None:
    world = at_first_step()
    world.say("Pause")
    world.spec = rollout_spec(90, None)
    world.run(3)
    assert world.weights["wine-2"] == 20


def test_newer_revision_is_not_held() -> None:
    world = at_first_step()
    world.say("Pause")
    world.revisions["wine-3"] = revision("wine-3")
    world.target = "wine-3"
    world.run(2)
    assert world.weights["wine-3"] == 20


# Undo


def test_undo_goes_straight_to_the_previous_stable_revision_once_it_is_ready() -> None:
    world = undone()
    world.run(2)
    assert world.rollout.canary == "wine-1"
    assert world.weights == {"wine-2": 100}
    assert world.revisions["wine-1"].running
    world.heal("wine-1")
    assert dict(world.turn().weights) == {"wine-2": 0, "wine-1": 100}
    world.run(2)
    assert world.rollout.stable == "wine-1"
    assert world.rollout.pinned == "wine-1"
    assert world.outcome is not None
    assert world.outcome.reason == "UndoneByCommand"


def test_undo_waits_for_no_warm_up_and_no_gate() -> None:
    world = undone(spec=rollout_spec(20, None, bake="1h"), warm_up_required=True)
    world.turn()
    world.heal("wine-1")
    world.run(3)
    assert world.rollout.stable == "wine-1"


def test_undo_supersedes_what_is_on_trial() -> None:
    world = challenged(immediate(), requests_per_turn=1000)
    world.run_until(lambda w: w.rollout.stable == "wine-2")
    world.spec = WAITING
    world.revisions["wine-3"] = revision("wine-3")
    world.target = "wine-3"
    world.run(5)
    assert world.weights["wine-3"] == 20
    assert world.say("Undo").accepted
    world.heal("wine-1")
    decision = world.turn()
    assert dict(decision.weights) == {"wine-2": 0, "wine-1": 100, "wine-3": 0}


def test_undo_that_gets_no_pods_is_called_off_without_blame() -> None:
    world = undone()
    world.run(12, seconds=60)
    assert world.rollout.canary is None or world.rollout.pinned is None
    assert world.rollout.failed_revision is None
    assert world.rollout.stable == "wine-2"
    assert any("called off" in n.message for n in world.notices)


def test_abort_calls_an_undo_off_and_what_failed_before_stays_failed() -> None:
    world = challenged(immediate(), requests_per_turn=1000)
    world.run_until(lambda w: w.rollout.stable == "wine-2")
    world.spec = WAITING
    world.revisions["wine-3"] = revision("wine-3")
    world.target = "wine-3"
    world.run(5)
    world.say("Abort")
    world.run(60)
    assert world.say("Undo").accepted
    world.run(2)
    assert world.rollout.canary == "wine-1"
    assert world.say("Abort").accepted
    world.target = "wine-3"
    world.run(5)
    assert (world.rollout.failed_revision, world.rollout.canary) == ("wine-3", None)
    assert world.revisions["wine-1"].role is RevisionRole.RETIRED


def test_undo_twice_comes_back() -> None:
    world = undone()
    world.turn()
    world.heal("wine-1")
    world.run(60)
    assert world.rollout.stable == "wine-1"
    assert world.say("Undo").accepted
    assert world.target == "wine-2"


def test_undo_of_what_cannot_be_is_refused_with_what_to_do() -> None:
    world = at_first_step()
    world.revisions["wine-f"] = revision("wine-f", role=RevisionRole.FAILED)
    world.revisions["wine-n"] = revision("wine-n", role=RevisionRole.RETIRED)
    world.revisions["wine-v"] = revision("wine-v", role=RevisionRole.VARIANT, origin=Origin.EXPERIMENT)
    want = {
        "wine-0": "UnknownRevision",
        "wine-1": "AlreadyStable",
        "wine-2": "OnTrial",
        "wine-f": "Failed",
        "wine-n": "NeverStable",
        "wine-v": "NeverStable",
    }
    got = {name: world.say("Undo", revision=name) for name in want}
    assert {name: said.reason for name, said in got.items()} == want
    assert not any(said.accepted for said in got.values())
    assert world.say("Undo").reason == "UnknownRevision"
    assert world.turn().rollout.canary == "wine-2"


# Experiments


def experimenting(spec: object = STEPS) -> World:
    world = settled(spec)  # type: ignore[arg-type] # a Rollout
    world.experiment = ExperimentPlan({"wine-1": 100})
    world.running = ExperimentStatus.model_validate(
        {
            "type": "ABTest",
            "phase": "Running",
            "specHash": "x",
            "arms": [{"name": "stable"}, {"name": "challenger", "revision": "wine-v"}],
        }
    )
    return world


def test_promotion_of_a_variant_is_for_the_experiment() -> None:
    world = experimenting()
    assert world.say("Promote", variant="challenger").reason == "VariantPromoted"
    said = world.say("Promote", variant="other")
    assert (said.accepted, said.reason) == (False, "UnknownVariant")
    assert "challenger" in said.message


def test_abort_ends_the_experiment_where_nothing_else_is_on_trial() -> None:
    assert experimenting().say("Abort").reason == "ExperimentAborted"


def test_undo_during_an_experiment_is_refused_with_what_to_do() -> None:
    world = experimenting()
    world.revisions["wine-0"] = revision("wine-0", role=RevisionRole.RETIRED, stable_at=world.now)
    said = world.say("Undo")
    assert (said.accepted, said.reason) == (False, "Experimenting")


def test_promotion_past_a_running_experiment_is_refused() -> None:
    world = experimenting()
    world.revisions["wine-2"] = revision("wine-2")
    world.target = "wine-2"
    world.run(2)
    said = world.say("Promote", full=True)
    assert (said.accepted, said.reason) == (False, "WaitingForExperiment")


@pytest.mark.parametrize("spec", [WAITING, blue_green(autoPromotion=False), blue_green(keep="10m")])
def test_every_waiting_step_can_be_promoted_and_aborted(spec: object) -> None:
    promoted, aborted = at_first_step(spec), at_first_step(spec)
    assert promoted.say("Promote").accepted
    promoted.run(2)
    assert promoted.rollout.step_index != aborted.rollout.step_index or promoted.rollout.canary is None
    assert aborted.say("Abort").accepted
    assert dict(aborted.turn().weights) == {"wine-1": 100, "wine-2": 0}


def test_answer_says_when() -> None:
    world = at_first_step()
    world.now += timedelta(hours=1)
    assert world.say("Promote").time == world.now
