"""What holds for the state machine on every road, whatever happens and whatever people say."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from perennial.rollout.machine import step
from perennial.rollout.road import FULL_PERCENT, SetWeight, build_road
from perennial_api.modeldeployment.rollout import Rollout
from perennial_api.modeldeployment.status import RolloutPhase

from tests.unit.operator.world import (
    SETTINGS,
    World,
    blue_green,
    challenged,
    immediate,
    revision,
    rollout_spec,
)

EXAMPLES = 60
VERBS = ["Promote", "Abort", "Retry", "Pause", "Resume", "Undo"]
TRAFFIC = st.sampled_from([0, 20, 500])

stays: st.SearchStrategy[Any] = st.sampled_from(["1s", "5s", "30s", None, {"analysis": {"duration": "5s"}}])
mirrors = st.lists(st.just({"setMirror": {"percent": 50, "duration": "3s"}}), max_size=2)


@st.composite
def canaries(draw: st.DrawFn) -> Rollout:
    steps: list[Any] = list(draw(mirrors))
    for weight in draw(st.lists(st.integers(1, 99), max_size=5).map(sorted)):
        steps.append(weight)
        if draw(st.booleans()):
            steps.append(draw(stays))
    return rollout_spec(*steps)


@st.composite
def blue_greens(draw: st.DrawFn) -> Rollout:
    times = {"preview": draw(st.sampled_from(["0s", "3s"])), "keep": draw(st.sampled_from(["0s", "10s"]))}
    return blue_green(autoPromotion=draw(st.booleans()), **times)


specs = st.one_of(canaries(), canaries(), blue_greens(), st.just(immediate()))
events = st.sampled_from(
    [
        "turn",
        "turn",
        "turn",
        "wait",
        "lose pods",
        "heal",
        "heal all",
        "routers stop",
        "routers follow",
        "errors",
        "newer",
        "back",
        "edit",
        "capacity",
        *VERBS,
        "Promote --full",
    ]
)
chaos = st.lists(events, max_size=60)
EDITED = rollout_spec(30, "2s", 70, None)


class Game:
    """A world, and what the spec asks for in it: an undo holds until that changes."""

    def __init__(self, spec: Rollout, requests: int) -> None:
        self.world = challenged(spec, requests_per_turn=requests)
        self.wanted = "wine-2"

    def aim(self) -> None:
        pinned = self.world.rollout.pinned
        self.world.target = pinned or self.wanted

    def want(self, name: str) -> None:
        self.wanted = name
        self.world.status = self.world.rollout.model_copy(update={"pinned": None})

    def act(self, action: str) -> None:
        """Let something happen, and a pass follow."""
        self.aim()
        if action in VERBS:
            self.world.say(action)
        elif action == "Promote --full":
            self.world.say("Promote", full=True)
        else:
            self.happen(action)
            self.edit(action)
        self.aim()
        self.world.turn(seconds=40 if action == "wait" else 1)
        self.aim()

    def happen(self, action: str) -> None:
        world = self.world
        match action:
            case "lose pods":
                world.fail("wine-2")
            case "heal":
                world.heal("wine-2")
            case "heal all":
                for name in [n for n, view in world.revisions.items() if view.running]:
                    world.heal(name)
            case "routers stop" | "routers follow":
                world.routers_follow = action == "routers follow"
            case "errors":
                world.error_share = {"wine-2": 0.4}
            case "capacity":
                world.needed = {} if world.needed else {"wine-2": 2}

    def edit(self, action: str) -> None:
        world = self.world
        match action:
            case "newer":
                name = f"wine-{len(world.revisions) + 1}"
                world.revisions[name] = revision(name)
                self.want(name)
            case "back":
                self.want("wine-1")
            case "edit":
                world.spec = EDITED


@settings(max_examples=EXAMPLES, deadline=None)
@given(specs, chaos, TRAFFIC)
def test_weights_sum_to_100_and_go_only_to_what_is_kept_and_ready(
    spec: Rollout, actions: list[str], requests: int
) -> None:
    game = Game(spec, requests)
    for action in actions:
        game.act(action)
        decision = game.world.decide()
        if decision.weights:
            assert sum(decision.weights.values()) == FULL_PERCENT
        assert set(decision.weights) <= decision.keep
        canary = decision.rollout.canary
        if canary and decision.weights.get(canary, 0) > 0:
            assert game.world.revisions[canary].ready_endpoints > 0
        if decision.mirror is not None:
            assert decision.weights.get(decision.mirror.revision) == 0


@settings(max_examples=EXAMPLES, deadline=None)
@given(specs, chaos, TRAFFIC)
def test_same_input_gives_the_same_output_and_a_second_look_changes_no_weight(
    spec: Rollout, actions: list[str], requests: int
) -> None:
    game = Game(spec, requests)
    for action in actions:
        game.act(action)
        world = game.world
        first = world.decide()
        assert world.decide() == first
        again = step(world.spec, first.rollout, world.observe(), SETTINGS, world.now)
        # The second look may settle what the first one ended; a third changes nothing.
        third = step(world.spec, again.rollout, world.observe(), SETTINGS, world.now)
        assert dict(first.weights) == dict(again.weights) or first.outcome is not None
        if again.outcome is None and first.outcome is None:
            assert third.rollout == again.rollout


@settings(max_examples=EXAMPLES, deadline=None)
@given(specs)
def test_weight_never_falls_while_a_healthy_rollout_progresses_and_it_ends(spec: Rollout) -> None:
    world = challenged(spec, requests_per_turn=500)
    seen = [0]
    for _ in range(400):
        decision = world.turn()
        if decision.rollout.stable == "wine-2":
            break
        seen.append(decision.weights.get("wine-2", 0))
        if decision.rollout.phase is RolloutPhase.PAUSED:
            assert world.say("Promote").accepted
    assert world.rollout.stable == "wine-2"
    assert seen == sorted(seen)
    road = build_road(spec, world.rollout)
    assert set(seen) <= {0, *(s.weight_percent for s in road.steps if isinstance(s, SetWeight))}


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    specs,
    st.lists(
        st.sampled_from(
            [
                "turn",
                "wait",
                "heal",
                "routers stop",
                "routers follow",
                "edit",
                "Promote",
                "Promote --full",
                "Abort",
                "Pause",
                "Resume",
            ]
        ),
        max_size=40,
    ),
    st.booleans(),
)
def test_failed_stays_failed_until_the_target_changes_or_somebody_says_retry(
    spec: Rollout, actions: list[str], aborted: bool
) -> None:
    game = Game(spec, 0)
    world = game.world
    world.fail("wine-2")
    world.turn()
    if aborted:
        assert world.say("Abort").accepted
    else:
        world.run(12, seconds=60)
    assert world.turn().rollout.phase is RolloutPhase.DEGRADED
    for action in actions:
        game.act(action)
        assert world.rollout.failed_revision == "wine-2"
        assert world.rollout.stable == "wine-1"
        assert world.weights["wine-1"] == FULL_PERCENT
    assert world.say("Retry").accepted
    assert world.turn().rollout.canary == "wine-2"


@settings(max_examples=EXAMPLES, deadline=None)
@given(specs, chaos, st.sampled_from(VERBS), st.sampled_from([None, "wine-1", "wine-2", "wine-9"]))
def test_every_command_is_answered_and_a_refused_one_changes_nothing(
    spec: Rollout, actions: list[str], verb: str, name: str | None
) -> None:
    game = Game(spec, 500)
    for action in actions:
        game.act(action)
    before = game.world.rollout
    said = game.world.say(verb, revision=name)
    assert said.reason
    assert said.message
    if not said.accepted:
        assert game.world.rollout == before


@settings(max_examples=EXAMPLES, deadline=None)
@given(specs, chaos)
def test_a_second_operator_that_repeats_a_pass_with_an_older_status_makes_no_weight_jump(
    spec: Rollout, actions: list[str]
) -> None:
    """Killed between applying and writing the status, a pass is done again from the old status."""
    game = Game(spec, 500)
    world = game.world
    for action in actions:
        game.act(action)
        before, revisions = world.rollout, dict(world.revisions)
        first = world.decide()
        world.write(first)
        world.status = before
        # Readiness is what it was: only the writes happened.
        world.revisions = {
            n: replace(view, ready_endpoints=revisions[n].ready_endpoints)
            for n, view in world.revisions.items()
        }
        canary = first.rollout.canary
        if canary is None or before.canary != canary:
            continue
        again = world.decide()
        if again.rollout.canary == canary and again.outcome is None:
            road = build_road(world.spec, first.rollout)
            weights = {0, *(s.weight_percent for s in road.steps if isinstance(s, SetWeight))}
            was, now = first.weights.get(canary, 0), again.weights.get(canary, 0)
            # At most the next step, once the routers have confirmed the one before.
            assert sum(was < w <= now for w in weights) <= 1


@settings(max_examples=EXAMPLES, deadline=None)
@given(specs, chaos)
def test_undo_comes_to_its_end_whatever_was_before(spec: Rollout, actions: list[str]) -> None:
    game = Game(spec, 500)
    world: World = game.world
    for action in actions:
        game.act(action)
    if not world.say("Undo").accepted:
        return
    asked = world.rollout.pinned
    assert asked is not None
    world.routers_follow, world.error_share, world.needed = True, {}, {}
    for _ in range(10):
        game.act("heal all")
    assert world.rollout.stable == asked
    assert world.weights[asked] == FULL_PERCENT
