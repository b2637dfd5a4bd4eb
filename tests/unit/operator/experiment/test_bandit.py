"""Bandits: shares that follow the rewards, safely and reproducibly."""

from datetime import timedelta
from fractions import Fraction
from itertools import pairwise

import pytest
from perennial.rollout.experiment.bandit import Posterior, choose_shares, draw_best, learn
from perennial.rollout.observed import Failure
from perennial_api.arms import Arm
from perennial_api.modeldeployment.experiment_status import ExperimentPhase

from tests.unit.operator.experiment.lab import STABLE, START, Lab, bandit_of


def shares(lab: Lab, turns: int) -> list[int]:
    """Return the share of v1 after each tick."""
    seen = []
    for _ in range(turns):
        lab.turn(seconds=10)
        seen.append(lab.weights.get("wine-v1", 0))
    return seen


def test_better_arm_gets_more_but_never_all() -> None:
    lab = Lab(bandit_of(minWeight=5), requests_per_turn=500, error_share={STABLE: 0.03})
    assert shares(lab, 30)[-1] == 95


def test_worse_arm_keeps_the_floor() -> None:
    # Few requests: the gate must have no proof that the variant harms, or it would get none at all.
    lab = Lab(bandit_of(minWeight=5), requests_per_turn=40, error_share={"wine-v1": 0.1})
    assert shares(lab, 30)[-1] >= 5


def test_share_changes_by_max_step_at_most() -> None:
    lab = Lab(bandit_of(minWeight=5, maxStep=7), requests_per_turn=500, error_share={STABLE: 0.05})
    seen = [0, *shares(lab, 40)]
    assert max(abs(b - a) for a, b in pairwise(seen)) == 7


def test_arm_that_becomes_best_later_is_found_again() -> None:
    lab = Lab(bandit_of(discount=0.8, minWeight=5), requests_per_turn=200, error_share={STABLE: 0.02})
    assert shares(lab, 60)[-1] > 80
    lab.error_share = {"wine-v1": 0.03}
    lab.analysis = lab.analysis.model_copy(update={"initial_delay": lab.analysis.progress_deadline})
    assert shares(lab, 80)[-1] < 20


def test_without_discount_the_past_outweighs_the_present() -> None:
    after = [learn(Posterior(900.0, 100.0), 100, 100.0, discount).mean for discount in (1.0, 0.5)]
    assert after[0] > 0.8
    assert after[1] < 0.76


def test_reward_of_zero_is_a_failure_and_counts() -> None:
    assert learn(Posterior(), 1, 1.0, 0.99) == Posterior(0.0, 1.0)


def test_part_of_a_reward_counts_as_that_part() -> None:
    after = learn(Posterior(), 1, 0.7, 0.99)
    assert after.successes == pytest.approx(0.3)
    assert after.failures == pytest.approx(0.7)


def test_shares_are_given_again_by_seed_and_tick() -> None:
    arms = {"stable": Posterior(50, 50), "v1": Posterior(52, 48)}
    want = draw_best(arms, 7, 3)
    assert draw_best(arms, 7, 3) == want
    assert draw_best(arms, 7, 4) != want
    assert draw_best(arms, 8, 3) != want


def test_same_status_and_counters_give_the_same_shares() -> None:
    first, second = (Lab(bandit_of(2), requests_per_turn=300, error_share={STABLE: 0.1}) for _ in range(2))
    first.run(20, seconds=10)
    second.run(20, seconds=10)
    assert first.told == second.told


def test_it_does_not_tick_before_the_routers_have_the_last_shares() -> None:
    lab = Lab(bandit_of(), requests_per_turn=500)
    lab.turn(seconds=10)
    lab.routers_follow = False
    lab.run(10, seconds=10)
    assert lab.told.tick == 1
    lab.routers_follow = True
    lab.turn(seconds=10)
    assert lab.told.tick == 2


def test_it_ticks_once_per_interval() -> None:
    lab = Lab(bandit_of(interval="10s"))
    lab.run(40, seconds=1)
    assert lab.told.tick == 4


def test_unsafe_arm_gets_nothing_whatever_the_floor() -> None:
    lab = Lab(bandit_of(2, minWeight=5), requests_per_turn=500, error_share={"wine-v1": 0.4})
    lab.run(20, seconds=10)
    assert lab.arm("v1").state == "Unsafe"
    assert "wine-v1" not in lab.weights
    assert sum(lab.weights.values()) == 100


def test_arm_without_pods_gets_nothing_and_the_others_go_on_learning() -> None:
    lab = Lab(bandit_of(2), requests_per_turn=500)
    lab.run(5, seconds=10)
    lab.lose("v1", Failure("OOMKilled"))
    lab.run(10, seconds=10)
    assert lab.weights["wine-v1"] == 0
    # One interval passes until the routers have it from them.
    assert lab.told.tick == 14
    lab.heal("v1")
    lab.run(4, seconds=10)
    assert lab.weights["wine-v1"] > 0


def test_it_ends_once_sure_enough_with_the_best_arm() -> None:
    spec = bandit_of(stopAt=0.95, minSamples=200, promote=True)
    lab = Lab(spec, requests_per_turn=500, error_share={STABLE: 0.05})
    while lab.turn(seconds=10).plan is not None:
        continue
    assert (lab.told.reason, lab.told.winner, lab.told.promote) == ("Winner", "v1", True)
    assert all(arm.counts.total >= 200 for arm in lab.told.arms)


def test_stable_that_is_best_ends_it_without_promotion() -> None:
    spec = bandit_of(stopAt=0.95, minSamples=50, promote=True)
    lab = Lab(spec, requests_per_turn=40, error_share={"wine-v1": 0.2})
    lab.analysis = lab.analysis.model_copy(update={"initial_delay": lab.analysis.progress_deadline})
    while lab.turn(seconds=10).plan is not None:
        continue
    assert (lab.told.reason, lab.told.winner, lab.told.promote) == ("StableIsBest", "stable", False)


def test_arm_without_enough_rewards_holds_the_end_up() -> None:
    lab = Lab(bandit_of(stopAt=0.9, minSamples=10**6), requests_per_turn=500, error_share={STABLE: 0.05})
    lab.run(20, seconds=10)
    assert lab.told.phase is ExperimentPhase.RUNNING


def test_rewards_that_come_late_go_to_the_arm_that_earned_them() -> None:
    lab = Lab(bandit_of(2, reward="Feedback"))
    lab.run(2, seconds=10)
    lab.lose("v1")
    lab.turn(seconds=10)
    lab.reported = {
        "wine-v1": Arm(
            revision="wine-v1",
            since=START + timedelta(seconds=1),
            counted_until=START,
            rewards={"count": 10, "sum": 7.5},
        )
    }
    lab.run(2, seconds=10)
    arm = lab.arm("v1")
    assert (arm.counts.total, arm.counts.bad) == (10, 2.5)
    assert arm.successes == pytest.approx(7.5, rel=0.02)


def test_greedy_gives_the_best_arm_all_but_epsilon() -> None:
    spec = bandit_of(algorithm="EpsilonGreedy", epsilon=0.2, minWeight=0, maxStep=100).bandit
    assert spec is not None
    arms = {"stable": Posterior(50, 50), "v1": Posterior(60, 40)}
    best = {"stable": Fraction(1, 2), "v1": Fraction(1, 2)}
    assert choose_shares(spec, arms, best, {"stable": 100, "v1": 0}) == {"stable": 10, "v1": 90}


def test_greedy_stays_with_stable_while_nothing_speaks_for_another() -> None:
    spec = bandit_of(algorithm="EpsilonGreedy", epsilon=0.2, minWeight=0, maxStep=100).bandit
    assert spec is not None
    arms = {"stable": Posterior(), "v1": Posterior()}
    best = {"stable": Fraction(1, 2), "v1": Fraction(1, 2)}
    assert choose_shares(spec, arms, best, {"stable": 100, "v1": 0}) == {"stable": 90, "v1": 10}
