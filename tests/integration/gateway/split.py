"""Whether a split is what was asked for: inside the interval that holds 99.9 % of honest ones."""

from __future__ import annotations

from scipy.stats import binom


def interval_999(trials: int, share: float) -> tuple[int, int]:
    """Return the smallest and largest count that an honest split gives in 99.9 % of runs."""
    low, high = binom.interval(0.999, trials, share)
    return int(low), int(high)


def assert_share(count: int, trials: int, share: float) -> None:
    """Assert that a count is one that an honest split would give."""
    low, high = interval_999(trials, share)
    print(f"{count} of {trials}, asked for {100 * share:.0f} %, interval {low} to {high}")
    assert low <= count <= high
