"""How much chance may add to what is allowed. Pure.

Counts are taken for binomial, rows per hour for Poisson: both assume that rows are independent. Where bad values come in
bursts, a limit near the allowed share is crossed more often than asked for.
"""

from scipy.stats import beta, binom, poisson

__all__ = ["fewest_rows", "largest_count", "upper_share"]

CONFIDENCE = 0.95


def largest_count(n: int, share: float, p: float) -> int:
    """Largest count among `n` that is no breach: a larger one comes with at most probability `p` at this share.

    Examples
    --------
    >>> largest_count(200, 0.01, 0.001)
    8
    >>> largest_count(200, 0.0, 0.001)
    0
    """
    if share <= 0.0:
        return 0
    return n if share >= 1.0 else int(binom.isf(p, n, share))


def fewest_rows(expected: float, p: float) -> int:
    """Smallest count of rows that is no breach: fewer come with less than probability `p` where `expected` are normal.

    Examples
    --------
    >>> fewest_rows(100.0, 0.001)
    71
    """
    return int(poisson.ppf(p, expected)) if expected > 0.0 else 0


def upper_share(count: int, n: int) -> float:
    """Largest share that `count` of `n` are likely to come from (one-sided 95 %, Clopper-Pearson); 0 for no rows.

    Examples
    --------
    >>> round(upper_share(0, 5000), 4), round(upper_share(0, 50), 3)
    (0.0006, 0.058)
    """
    if n == 0:
        return 0.0
    return 1.0 if count == n else float(beta.ppf(CONFIDENCE, count + 1, n - count))
