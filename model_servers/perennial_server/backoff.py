"""Waits between attempts."""

import random
from collections.abc import Iterator


def backoff_delays(attempts: int, *, base_s: float, cap_s: float, rng: random.Random) -> Iterator[float]:
    """Yield the wait after each failed attempt but the last, in seconds: doubling, capped, with full jitter.

    Jitter from half to the whole keeps a thousand servers from asking a returning observer in step.

    Examples
    --------
    >>> delays = list(backoff_delays(4, base_s=1, cap_s=3, rng=random.Random(0)))
    >>> [low <= delay <= high for delay, low, high in zip(delays, (0.5, 1, 1.5), (1, 2, 3))]
    [True, True, True]
    """
    for attempt in range(attempts - 1):
        delay_s = min(cap_s, base_s * 2 ** min(attempt, 30))
        yield delay_s * (0.5 + rng.random() / 2)
