"""What holds for the state machine whatever happens."""

from hypothesis import given, settings
from hypothesis import strategies as st
from perennial.rollout.machine import step
from perennial.rollout.road import build_road
from perennial_api.modeldeployment.status import RolloutPhase

from tests.unit.operator.world import SETTINGS, World, challenged, revision, rollout_spec

weights = st.lists(st.integers(1, 99), max_size=6).map(sorted)
pauses = st.sampled_from(["1s", "5s", "30s"])


@st.composite
def roads(draw: st.DrawFn) -> list[int | str]:
    steps: list[int | str] = []
    for weight in draw(weights):
        steps.append(weight)
        if draw(st.booleans()):
            steps.append(draw(pauses))
    return steps


chaos = st.lists(
    st.sampled_from(
        [
            "turn",
            "turn",
            "turn",
            "wait",
            "lose pods",
            "heal",
            "routers stop",
            "routers follow",
            "errors",
            "target",
        ]
    ),
    max_size=60,
)


def act(world: World, action: str) -> None:
    match action:
        case "wait":
            world.turn(seconds=40)
            return
        case "lose pods":
            world.fail("wine-2")
        case "heal":
            world.heal("wine-2")
        case "routers stop":
            world.routers_follow = False
        case "routers follow":
            world.routers_follow = True
        case "errors":
            world.error_share = {"wine-2": 0.4}
        case "target":
            name = f"wine-{len(world.revisions) + 1}"
            world.revisions[name] = revision(name)
            world.target = name
    world.turn()


def world_of(steps: list[int | str], requests: int) -> World:
    return challenged(rollout_spec(*steps), requests_per_turn=requests)


@settings(max_examples=60, deadline=None)
@given(roads(), chaos, st.sampled_from([0, 20, 500]))
def test_weights_sum_to_100_and_go_only_to_what_is_kept_and_ready(
    steps: list[int | str], actions: list[str], requests: int
) -> None:
    world = world_of(steps, requests)
    for action in actions:
        act(world, action)
        decision = world.decide()
        if decision.weights:
            assert sum(decision.weights.values()) == 100
        assert set(decision.weights) <= decision.keep
        canary = decision.rollout.canary
        if canary and decision.weights.get(canary, 0) > 0:
            assert world.revisions[canary].ready_endpoints > 0


@settings(max_examples=60, deadline=None)
@given(roads(), chaos, st.sampled_from([0, 20, 500]))
def test_step_is_idempotent(steps: list[int | str], actions: list[str], requests: int) -> None:
    world = world_of(steps, requests)
    for action in actions:
        act(world, action)
        first = world.decide()
        again = step(world.spec, first.rollout, world.observe(), SETTINGS, world.now)
        # The second look may settle what the first one ended; a third changes nothing.
        third = step(world.spec, again.rollout, world.observe(), SETTINGS, world.now)
        assert dict(first.weights) == dict(again.weights) or first.outcome is not None
        assert third.rollout == again.rollout


@settings(max_examples=60, deadline=None)
@given(roads())
def test_weight_never_falls_while_a_healthy_rollout_progresses_and_it_ends(steps: list[int | str]) -> None:
    world = world_of(steps, 500)
    assert world.status is not None
    seen = [0]
    for _ in range(400):
        decision = world.turn()
        if decision.rollout.stable == "wine-2":
            break
        seen.append(decision.weights.get("wine-2", 0))
    assert world.status.stable == "wine-2"
    assert seen == sorted(seen)
    allowed = {0, 100, *(s for s in steps if isinstance(s, int))}
    assert set(seen) <= allowed


@settings(max_examples=60, deadline=None)
@given(
    roads(),
    st.lists(st.sampled_from(["turn", "wait", "heal", "routers stop", "routers follow"]), max_size=40),
)
def test_failed_stays_failed_until_the_target_changes(steps: list[int | str], actions: list[str]) -> None:
    world = challenged(rollout_spec(*steps, progressDeadline="1m"))
    world.fail("wine-2")
    world.run(70)
    assert world.status is not None
    assert world.status.phase is RolloutPhase.DEGRADED
    for action in actions:
        act(world, action)
        assert world.status.failed_revision == "wine-2"
        assert world.status.stable == "wine-1"
        assert world.route is not None
        assert world.route.weights["wine-1"] == 100


@settings(max_examples=60, deadline=None)
@given(roads(), chaos)
def test_a_second_operator_that_repeats_a_pass_with_an_older_status_makes_no_weight_jump(
    steps: list[int | str], actions: list[str]
) -> None:
    """Killed between applying and writing the status, a pass is done again from the old status."""
    world = world_of(steps, 500)
    for action in actions:
        act(world, action)
        before = world.status
        first = world.decide()
        world.write(first)
        world.status = before
        canary = first.rollout.canary
        if canary is None or before is None or before.canary != canary:
            continue
        again = world.decide()
        if again.rollout.canary == canary and again.outcome is None:
            road = [
                0,
                *(
                    s.weight_percent
                    for s in build_road(world.spec, first.rollout).steps
                    if hasattr(s, "weight_percent")
                ),
            ]
            was, now = first.weights.get(canary, 0), again.weights.get(canary, 0)
            # At most the next step, once the routers have confirmed the one before.
            assert now in road
            assert sum(was < w <= now for w in sorted(set(road))) <= 1
