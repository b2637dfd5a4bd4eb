"""Long-running comparisons under real traffic: every client keeps its arm, shares follow rewards, copies harm nobody."""

from typing import Any

import pytest

from tests.e2e.support.kube import Kube
from tests.e2e.support.objects import canary
from tests.e2e.support.rollouts import SECOND, THIRD, World
from tests.e2e.support.splits import assert_split, is_inside
from tests.e2e.test_gates import send_labels

USERS = 300
ANALYSIS = {"interval": "1s", "initialDelay": "0s", "minSamples": 30, "bake": "1s"}
ROLLOUT = {**canary(50), "analysis": {**canary()["analysis"], **ANALYSIS}}


@pytest.fixture
def world(kube: Kube, test_runtimes: None, namespace: str, gateway_url: str) -> World:
    return World(kube, namespace, gateway_url)


def _ab_test(weight: int = 30, uri: str = SECOND, **ab_test: Any) -> dict[str, Any]:
    how = {"routeType": "Header", "routeBy": "x-user-id", "maxDuration": "1h", **ab_test}
    how = {key: value for key, value in how.items() if value is not None}
    variants = [{"name": "challenger", "weight": weight, "model": {"uri": uri}}]
    return {"type": "ABTest", "variants": variants, "abTest": how}


def _arm(world: World, name: str = "challenger") -> dict[str, Any]:
    return next((a for a in world.experiment().get("arms", []) if a["name"] == name), {})


def _wait_running(world: World, weight: int | None = None) -> str:
    def running() -> str | None:
        arm = _arm(world)
        fits = arm.get("state") == "Running" and (weight is None or arm["weightPercent"] == weight)
        applied = fits and world.condition("RouteReady").get("status") == "True"
        return str(arm["revision"]) if applied and arm["revision"] in world.weights() else None

    return world.wait(running, "the variant runs", timeout_s=90)


def _wait_ended(world: World, reason: str, timeout_s: float = 60) -> dict[str, Any]:
    return world.wait(
        lambda: e if (e := world.experiment()).get("phase") == "Ended" and e["reason"] == reason else None,
        f"the experiment ended by {reason}",
        timeout_s,
    )


@pytest.mark.parametrize("route", [("Header", "x-user-id"), ("Cookie", "arm")], ids=["header", "cookie"])
def test_every_client_keeps_its_arm_and_the_next_experiment_splits_anew(
    world: World, route: tuple[str, str]
) -> None:
    world.start(rollout=ROLLOUT, experiment=_ab_test(routeType=route[0], routeBy=route[1]))
    challenger = _wait_running(world, 30)
    with world.traffic(rate_per_s=150, workers=6, users=USERS, cookies=route[0] == "Cookie") as traffic:
        traffic.wait_more(USERS + 50, world.wait)
        if route[0] == "Header":
            traffic.forget_sides()
            traffic.wait_more(3 * USERS, world.wait)
        changed = traffic.changed_sides()
        chosen = traffic.users_of(challenger)
        assert not changed, changed[:5]
        if not is_inside(len(chosen), USERS, 0.3):
            world.change(experiment=_ab_test(routeType=route[0], routeBy=route[1], maxDuration="59m"))
            challenger = _wait_running(world, 30)
            traffic.forget_sides()
            traffic.wait_more(2 * USERS, world.wait)
            chosen = traffic.users_of(challenger)
            assert is_inside(len(chosen), USERS, 0.3), len(chosen)
        print(f"{len(chosen)} of {USERS} users on 30 %, {len(changed)} changed side")
        if route[0] == "Header":
            attempt = world.experiment()["attempt"]
            world.change(experiment=_ab_test(maxDuration="58m"))
            world.wait(lambda: world.experiment().get("attempt", 0) > attempt, "a new experiment")
            challenger = _wait_running(world, 30)
            traffic.forget_sides()
            traffic.wait_more(2 * USERS, world.wait)
            again = traffic.users_of(challenger)
            # Independent halves would share 30 % of the chosen; the same salt would share all.
            assert len(chosen & again) < 0.6 * len(chosen)
    assert traffic.failed() == 0, traffic.failures[:5]


def test_random_split_rollout_waits_and_abort_ends_the_experiment(world: World) -> None:
    first = world.start(rollout=ROLLOUT, experiment=_ab_test(routeType="Random", routeBy=None))
    challenger = _wait_running(world, 30)
    with world.traffic(rate_per_s=120) as traffic:

        def measure(requests: int) -> tuple[int, int]:
            before = traffic.wait_more(requests, world.wait)
            counts = traffic.counts_by_revision(before)
            return counts[challenger], sum(counts.values())

        print(assert_split(measure, 0.3, n=500))
        world.new_model(THIRD)
        world.wait(lambda: "xperiment" in world.rollout().get("message", ""), "the rollout waits")
        assert world.weights()[challenger] == 30
        world.perennial("abort", world.name)
        _wait_ended(world, "Aborted")
        third = world.wait_promoted(first)
        world.wait(lambda: world.weights() == {third: 100}, "the variant drained")
    assert traffic.failed() == 0, traffic.failures[:5]


def test_labels_find_the_winner_and_it_becomes_stable(world: World) -> None:
    winner = {"reward": "Feedback", "minSamples": 50, "promote": True}
    first = world.start(
        "test-logging",
        rollout=ROLLOUT,
        experiment=_ab_test(50, routeType="Random", routeBy=None, winner=winner),
    )
    challenger = _wait_running(world, 50)
    with world.traffic(rate_per_s=80) as traffic:

        def ended() -> bool:
            send_labels(world, traffic, lambda revision: revision == challenger)
            return world.experiment()["phase"] == "Ended"

        world.wait(ended, "a winner", timeout_s=90)
        assert world.experiment()["winner"] == "challenger"
        assert world.wait_promoted(first) == challenger
    assert traffic.failed() == 0, traffic.failures[:5]


def test_unsafe_variant_gets_nothing_and_one_that_never_starts_is_named(world: World) -> None:
    first = world.start(
        "test-arms",
        rollout=ROLLOUT,
        experiment={
            "type": "ABTest",
            "variants": [
                {"name": "erring", "weight": 30, "model": {"uri": SECOND}},
                {"name": "absent", "weight": 30, "model": {"uri": THIRD}},
            ],
            "abTest": {"routeType": "Random"},
        },
    )
    with world.traffic(rate_per_s=80) as traffic:
        world.wait(lambda: _arm(world, "erring").get("state") == "Unsafe", "the erring variant is unsafe", 90)
        world.wait(lambda: world.weights().get(first) == 100, "all weight on stable")
        world.wait(lambda: "absent" in world.condition("Experimenting").get("message", ""), "absent is named")
        world.kube.wait_condition(world.name, world.namespace, "RouteReady", "True", timeout_s=30)
        before = traffic.wait_more(150, world.wait)
        assert traffic.share_of(first, since=before) == 1.0
    erring = _arm(world, "erring")["revision"]
    assert traffic.failed(except_revision=erring) == 0, traffic.failures[:5]


def test_bandit_moves_the_traffic_to_the_better_arm_and_promotes_it(world: World) -> None:
    bandit = {
        "reward": "NoError",
        "interval": "2s",
        "maxStep": 40,
        "minWeight": 5,
        "minSamples": 30,
        "stopAt": 0.99,
        "promote": True,
    }
    first = world.start(
        "test-stable-errs",
        rollout=ROLLOUT,
        experiment={
            "type": "Bandit",
            "variants": [{"name": "challenger", "model": {"uri": SECOND}}],
            "bandit": bandit,
        },
    )
    with world.traffic(rate_per_s=80) as traffic:
        ended = _wait_ended(world, "Winner", timeout_s=120)
        assert ended["winner"] == "challenger"
        challenger = next(a["revision"] for a in ended["arms"] if a["name"] == "challenger")
        assert world.wait_promoted(first) == challenger
    assert traffic.failed(except_revision=first) == 0, traffic.failures[:5]


def test_shadow_answers_nobody_and_is_compared_with_the_live_answers(world: World) -> None:
    first = world.start(
        "test-shadow",
        rollout=ROLLOUT,
        experiment={
            "type": "Shadow",
            "variants": [{"name": "challenger", "model": {"uri": SECOND}}],
            "shadow": {"percent": 50, "maxDuration": "25s"},
        },
    )
    with world.traffic(rate_per_s=60) as traffic:
        compared = world.wait(
            lambda: s if (s := _arm(world).get("shadow") or {}).get("pairs", 0) >= 100 else None,
            "a hundred pairs",
            timeout_s=90,
        )
        assert compared["agreementRate"] == 0.0
        assert compared["meanDifference"] == pytest.approx(1.0)
        _wait_ended(world, "MaxDuration", timeout_s=90)
    assert {revision for revision, _ in traffic.snapshot()} == {first}
    assert traffic.failed() == 0, traffic.failures[:5]
