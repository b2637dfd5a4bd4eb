"""Divide 100 percent among arms in whole numbers."""

from collections.abc import Mapping
from fractions import Fraction
from math import floor

__all__ = ["FULL_PERCENT", "move_shares", "round_shares", "with_floor"]

FULL_PERCENT = 100


def round_shares(shares: Mapping[str, Fraction]) -> dict[str, int]:
    """Round shares that sum to 100 so that they still do, by the largest remainder; the first arm wins a tie.

    Each share moves by less than 1, so that a whole bound that holds before holds after.

    Examples
    --------
    >>> round_shares({"stable": Fraction(100, 3), "a": Fraction(100, 3), "b": Fraction(100, 3)})
    {'stable': 34, 'a': 33, 'b': 33}
    """
    rounded = {name: floor(share) for name, share in shares.items()}
    left = FULL_PERCENT - sum(rounded.values())
    # sorted is stable: arms with equal remainders keep their order.
    for name in sorted(shares, key=lambda n: rounded[n] - shares[n])[:left]:
        rounded[name] += 1
    return rounded


def with_floor(wishes: Mapping[str, Fraction], min_weight_percent: int) -> dict[str, Fraction]:
    """Give each arm the floor and divide the rest by the wishes, which sum to 1; returns percent."""
    rest = FULL_PERCENT - min_weight_percent * len(wishes)
    return {name: min_weight_percent + rest * wish for name, wish in wishes.items()}


def move_shares(
    now: Mapping[str, int], target: Mapping[str, Fraction], max_step_percent: int
) -> dict[str, int]:
    """Go from the shares of now, in percent, towards the target, as far as the arm that moves most may.

    All arms go the same part of their way: a point between two divisions that keep the floor keeps it too, and sums
    to 100 like them.

    Examples
    --------
    >>> move_shares({"stable": 100, "a": 0}, {"stable": Fraction(20), "a": Fraction(80)}, 10)
    {'stable': 90, 'a': 10}
    """
    farthest = max(abs(target[name] - now[name]) for name in target)
    part = Fraction(1) if farthest <= max_step_percent else max_step_percent / farthest
    return round_shares({name: now[name] + part * (target[name] - now[name]) for name in target})
