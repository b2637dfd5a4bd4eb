"""Shares that follow the rewards: batched Thompson sampling at the control plane, and epsilon-greedy beside it.

Nothing is drawn for a request. At every tick each arm's rewards are a Beta posterior, from which a share follows for
the next interval:

    (a, b) <- discount * (a, b) + (new successes, new failures)
    share  =  part of the draws from Beta(1 + a, 1 + b) in which the arm is the best

The discount forgets: an arm that was best last week has to be best again. An arm that got no requests goes back
towards the uniform prior, and is so tried again. The draws come from `random.Random` seeded by seed and tick, both in
status: whoever repeats a tick gets the same shares.

Basis: Thompson, "On the likelihood that one unknown probability exceeds another", Biometrika 1933; the discounted form
is that of Raj and Kalyani, "Taming Non-stationary Bandits", 2017 (arXiv 1707.09727).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from random import Random

from perennial_api.modeldeployment.experiment import Bandit, BanditAlgorithm

from perennial.rollout.experiment.shares import move_shares, with_floor

__all__ = ["DRAWS", "Posterior", "choose_shares", "draw_best", "learn"]

DRAWS = 2000
"""Draws per tick: a share is then known to about one percentage point."""


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is believed of one arm: discounted successes and failures on top of a uniform prior."""

    successes: float = 0.0
    failures: float = 0.0

    @property
    def mean(self) -> float:
        """The expected reward of one request, between 0 and 1."""
        return (1.0 + self.successes) / (2.0 + self.successes + self.failures)


def learn(before: Posterior, total: int, bad: float, discount: float) -> Posterior:
    """Return the posterior one interval later, with the rewards that came in meanwhile.

    A reward counts as the part of a success that it is: 0.3 is 0.3 successes and 0.7 failures.
    """
    good = max(0.0, total - bad)
    return Posterior(discount * before.successes + good, discount * before.failures + min(bad, total))


def draw_best(arms: Mapping[str, Posterior], seed: int, tick: int) -> dict[str, Fraction]:
    """Return for each arm the part of the draws in which it is the best; they sum to 1."""
    random = Random(f"{seed}:{tick}")  # noqa: S311 - statistics, not secrets
    wins = dict.fromkeys(arms, 0)
    parameters = [(name, 1.0 + arm.successes, 1.0 + arm.failures) for name, arm in arms.items()]
    for _ in range(DRAWS):
        _, best = max((random.betavariate(alpha, beta), name) for name, alpha, beta in parameters)
        wins[best] += 1
    return {name: Fraction(count, DRAWS) for name, count in wins.items()}


def choose_shares(
    spec: Bandit, arms: Mapping[str, Posterior], best: Mapping[str, Fraction], now_percent: Mapping[str, int]
) -> dict[str, int]:
    """Return the next shares, in percent, of the arms that take part.

    Parameters
    ----------
    arms, best
        Posterior of each arm, and as `draw_best` returns it.
    now_percent
        Their present shares, which sum to 100.
    """
    wishes = best if spec.algorithm is BanditAlgorithm.THOMPSON else _be_greedy(arms, spec.epsilon)
    return move_shares(now_percent, with_floor(wishes, spec.min_weight), spec.max_step)


def _be_greedy(arms: Mapping[str, Posterior], epsilon: float) -> dict[str, Fraction]:
    """Spread epsilon evenly; the arm with the best mean has the rest, the first of those that are equal."""
    leader = max(arms, key=lambda name: arms[name].mean)
    spread = Fraction(epsilon) / len(arms)
    return {name: spread + (1 - Fraction(epsilon) if name == leader else 0) for name in arms}
