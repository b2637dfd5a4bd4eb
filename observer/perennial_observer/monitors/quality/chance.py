"""How much chance may add to what is allowed, beside ``alarms.false_alarms``. Pure.

Rows per hour are taken for Poisson, which assumes that they are independent.
"""

from scipy.stats import beta, poisson

__all__ = ["fewest_rows", "upper_share"]

CONFIDENCE = 0.95


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
