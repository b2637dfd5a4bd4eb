r"""The rule that ends an A/B test early: always-valid evidence that a variant earns more than the stable revision.

It is the e-process of `gate.eprocess` with the arms exchanged: the null is that the stable revision lacks rewards at
most as often as the variant. Its evidence may be looked at as often as one likes. Among k variants one wins at
E >= k / (1 - confidence), so that the chance to name a winner although none is better, over the whole experiment and
all variants, is at most 1 - confidence.

The gate looks for harm and spreads its evidence over ratios from 1.5 to 20; a better model is better by less, so the
ratios here are smaller. A ratio of 1.2 means that the stable revision is wrong 1.2 times as often.
"""

import math

from perennial_api.modeldeployment.experiment import Winner
from perennial_api.modeldeployment.experiment_status import ArmStatus, VariantState

from perennial.rollout.experiment.facts import STABLE
from perennial.rollout.experiment.rewards import Earned
from perennial.rollout.gate import mixture

__all__ = ["ALTERNATIVES", "add_window", "e_value_of", "find_winner", "needed_evidence"]

ALTERNATIVES = (1.05, 1.1, 1.2, 1.35, 1.5, 2.0, 3.0, 5.0)
"""Ratios of the stable revision's bad share to the variant's that the evidence is spread over."""


def add_window(
    log_e_values: tuple[float, ...], variant: Earned, stable: Earned, weight: float = 1.0
) -> tuple[float, ...]:
    """Return the log likelihood ratios after one more window; a weight below 1 makes less of it.

    Examples
    --------
    Of 1,000 rewards each, stable lacked 200 and the variant 150. For a ratio of 1.35, theta = 1.35 / 2.35 = 0.5745
    against 0.5, so L = 200 log(1.1489) + 150 log(0.8511) = 27.77 - 24.19 = 3.58:

    >>> round(add_window((), Earned(1000, 150), Earned(1000, 200))[3], 2)
    3.58
    """
    before = log_e_values if len(log_e_values) == len(ALTERNATIVES) else (0.0,) * len(ALTERNATIVES)
    if variant.total == 0 or stable.total == 0:
        return before  # with one arm only, where a failure comes from says nothing
    fair = stable.total / (stable.total + variant.total)
    after = []
    for ratio, log_e in zip(ALTERNATIVES, before, strict=True):
        share = ratio * stable.total / (ratio * stable.total + variant.total)
        gain = stable.bad * math.log(share / fair) + variant.bad * math.log((1 - share) / (1 - fair))
        after.append(log_e + weight * gain)
    return tuple(after)


def e_value_of(log_e_values: tuple[float, ...]) -> float:
    """Return the evidence: the mean of the likelihood ratios; 1 is none. Capped so that it stays a number in JSON."""
    if not log_e_values:
        return 1.0
    return mixture(log_e_values)


def needed_evidence(rule: Winner, variants: int) -> float:
    """Return the evidence at which one of so many variants wins."""
    return variants / (1.0 - rule.confidence)


def find_winner(rule: Winner, arms: tuple[ArmStatus, ...], *, routers: int = 1) -> ArmStatus | None:
    """Return the variant that has won, if one has: the one with the most evidence.

    Where `routers` count clients, each counts a client that it meets, so that many more are needed.
    """
    compared = [arm for arm in arms if arm.state is VariantState.RUNNING]
    if any(arm.counts.total < rule.min_samples * routers for arm in compared):
        return None
    variants = [arm for arm in compared if arm.name != STABLE]
    leader = max(variants, key=lambda arm: arm.e_value or 0.0, default=None)
    # Counted over all variants, also those out of the running: they have had their chance to win by chance.
    needed = needed_evidence(rule, len(arms) - 1)
    return leader if leader is not None and (leader.e_value or 0.0) >= needed else None
