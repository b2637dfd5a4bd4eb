"""What holds for a bandit's shares whatever is earned and whatever breaks."""

import os
import random
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st
from perennial.rollout.experiment.bandit import Posterior, choose_shares, draw_best, learn
from perennial.rollout.experiment.shares import move_shares, round_shares, with_floor
from perennial.rollout.observed import Failure
from perennial_api.modeldeployment.experiment import Bandit

from tests.unit.operator.experiment.lab import STABLE, Lab, bandit_of

FEW = 30 if os.environ.get("PERENNIAL_CAMPAIGN", "") not in ("", "0") else 3
"""Whole bandits from beginning to end: each takes most of a second. The campaign plays more of them."""


@st.composite
def wishes(draw: st.DrawFn) -> dict[str, Fraction]:
    """Draw parts of one, as the draws of a tick are."""
    counts = draw(st.lists(st.integers(0, 1000), min_size=2, max_size=9).filter(any))
    return {f"arm-{i}": Fraction(count, sum(counts)) for i, count in enumerate(counts)}


@st.composite
def divisions(draw: st.DrawFn, names: list[str], floor: int) -> dict[str, int]:
    """Draw whole shares that sum to 100 and keep the floor."""
    spare = 100 - floor * len(names)
    cuts = sorted(draw(st.lists(st.integers(0, spare), min_size=len(names) - 1, max_size=len(names) - 1)))
    parts = [b - a for a, b in zip([0, *cuts], [*cuts, spare], strict=True)]
    return {name: floor + part for name, part in zip(names, parts, strict=True)}


@given(wishes())
def test_rounded_shares_sum_to_100_and_move_by_less_than_one(parts: dict[str, Fraction]) -> None:
    exact = with_floor(parts, 0)
    rounded = round_shares(exact)
    assert sum(rounded.values()) == 100
    assert all(abs(rounded[name] - exact[name]) < 1 for name in exact)


@given(st.data(), wishes(), st.integers(1, 100))
def test_shares_sum_to_100_keep_the_floor_and_change_by_max_step_at_most(
    data: st.DataObject, parts: dict[str, Fraction], max_step: int
) -> None:
    floor = data.draw(st.integers(0, 100 // len(parts)))
    before = data.draw(divisions(list(parts), floor))
    after = move_shares(before, with_floor(parts, floor), max_step)
    assert sum(after.values()) == 100
    assert min(after.values()) >= floor
    assert max(abs(after[name] - before[name]) for name in parts) <= max_step


@settings(max_examples=25, deadline=None)
@given(st.data(), wishes(), st.integers(1, 100))
def test_shares_arrive_at_their_target_however_small_the_step(
    data: st.DataObject, parts: dict[str, Fraction], max_step: int
) -> None:
    shares = data.draw(divisions(list(parts), 0))
    target = with_floor(parts, 0)
    for _ in range(100 * len(parts)):
        shares = move_shares(shares, target, max_step)
    assert all(abs(shares[name] - target[name]) < 1 for name in parts)


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.floats(0, 1)), max_size=30),
    st.floats(0.01, 1.0),
)
def test_belief_stays_a_number_and_a_probability(windows: list[tuple[int, float]], discount: float) -> None:
    belief = Posterior()
    for total, bad_share in windows:
        belief = learn(belief, total, total * bad_share, discount)
    assert belief.successes >= 0
    assert belief.failures >= 0
    assert 0 < belief.mean < 1


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=2, max_size=5),
    st.integers(0, 2**32),
    st.integers(0, 10**6),
)
def test_draws_are_given_again_by_seed_and_tick_and_sum_to_one(
    beliefs: list[tuple[float, float]], seed: int, tick: int
) -> None:
    arms = {f"arm-{i}": Posterior(*belief) for i, belief in enumerate(beliefs)}
    best = draw_best(arms, seed, tick)
    assert best == draw_best(arms, seed, tick)
    assert sum(best.values()) == 1


chaos = st.lists(
    st.sampled_from(
        ["turn", "turn", "turn", "lose", "heal", "routers stop", "routers follow", "harm", "cure"]
    ),
    max_size=40,
)


@settings(max_examples=25, deadline=None)
@given(chaos, st.sampled_from([0, 40, 400]), st.integers(0, 33), st.integers(1, 100))
def test_weights_sum_to_100_and_unsafe_or_unready_arms_get_none(
    actions: list[str], requests: int, min_weight: int, max_step: int
) -> None:
    lab = Lab(bandit_of(2, minWeight=min_weight, maxStep=max_step), requests_per_turn=requests)
    unsafe = False
    for action in actions:
        match action:
            case "lose":
                lab.lose("v1", Failure("OOMKilled"))
            case "heal":
                lab.heal("v1")
            case "routers stop":
                lab.routers_follow = False
            case "routers follow":
                lab.routers_follow = True
            case "harm":
                lab.error_share = {"wine-v1": 0.5}
            case "cure":
                lab.error_share = {}
        decision = lab.turn(seconds=10)
        if decision.plan is None:
            break
        weights = decision.plan.weights
        assert sum(weights.values()) == 100
        unsafe = unsafe or lab.arm("v1").state == "Unsafe"
        if unsafe or lab.views["wine-v1"].ready_endpoints == 0:
            assert weights.get("wine-v1", 0) == 0
        assert weights[STABLE] == lab.arm("stable").weight_percent


def simulate(spec: Bandit, rates: list[list[float]], seed: int) -> list[dict[str, int]]:
    """Return the shares after each tick of 200 requests; rates[t][i] is arm i's chance of success at tick t."""
    chance = random.Random(seed)
    names = [f"arm-{i}" for i in range(len(rates[0]))]
    beliefs = {name: Posterior() for name in names}
    shares = {name: 100 if i == 0 else 0 for i, name in enumerate(names)}
    seen = []
    for tick, now in enumerate(rates):
        shares = choose_shares(spec, beliefs, draw_best(beliefs, seed, tick), shares)
        for name, rate in zip(names, now, strict=True):
            requests = 2 * shares[name]
            bad = sum(chance.random() >= rate for _ in range(requests))
            beliefs[name] = learn(beliefs[name], requests, bad, spec.discount)
        seen.append(shares)
    return seen


def bandit(**parts: object) -> Bandit:
    spec = bandit_of(**parts).bandit  # type: ignore[arg-type] - parts of the API object, checked by its model
    assert spec is not None
    return spec


@settings(max_examples=FEW, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 2))
def test_the_better_arm_gets_most_of_the_requests(seed: int, better: int) -> None:
    rates = [0.80, 0.80, 0.80]
    rates[better] = 0.92
    seen = simulate(bandit(minWeight=5), [rates] * 60, seed)
    # A mean, since one tick may go astray by chance.
    assert sum(shares[f"arm-{better}"] for shares in seen[-20:]) / 20 > 70


@settings(max_examples=FEW, deadline=None)
@given(st.integers(0, 2**32))
def test_it_adapts_when_the_best_arm_changes(seed: int) -> None:
    """The pain of bandits that never forget: after a long past an arm that turned bad keeps the requests."""
    rates = [[0.8, 0.9]] * 60 + [[0.8, 0.6]] * 60
    seen = simulate(bandit(minWeight=5, discount=0.9), rates, seed)
    assert sum(shares["arm-1"] for shares in seen[40:60]) / 20 > 70
    assert sum(shares["arm-0"] for shares in seen[-20:]) / 20 > 70


@settings(max_examples=FEW, deadline=None)
@given(st.integers(0, 2**32))
def test_greedy_finds_the_better_arm_too(seed: int) -> None:
    spec = bandit(algorithm="EpsilonGreedy", epsilon=0.2, minWeight=0)
    seen = simulate(spec, [[0.8, 0.92]] * 60, seed)
    assert sum(shares["arm-1"] for shares in seen[-20:]) / 20 > 70
