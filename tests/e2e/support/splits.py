"""Whether a measured split is the one asked for, told without a chance of one in a thousand that a good one is refused."""

from collections.abc import Callable

from scipy.stats import binom

CONFIDENCE = 0.999


def is_inside(hits: int, n: int, share: float) -> bool:
    """Whether `hits` of `n` lie inside the 99.9 % binomial interval of `share`."""
    low, high = binom.interval(CONFIDENCE, n, share)
    return bool(low <= hits <= high)


def assert_split(measure: Callable[[int], tuple[int, int]], share: float, *, n: int) -> str:
    """Assert that a split is as asked for.

    A right split misses a 99.9 % interval once in a thousand looks. So a miss asks for a second, independent sample
    four times as large, which must hit: a right split fails both once in a million runs, a wrong one as surely as ever.

    Parameters
    ----------
    measure
        Takes at least so many fresh requests, and returns (hits, requests).
    share
        The share asked for, a fraction.

    Returns
    -------
    str
        The figures, for the report.
    """
    hits, got = measure(n)
    if not is_inside(hits, got, share):
        hits, got = measure(4 * n)
        assert is_inside(hits, got, share), f"{hits} of {got} is no share of {share}"
    return f"{hits} of {got} for a share of {share}"
