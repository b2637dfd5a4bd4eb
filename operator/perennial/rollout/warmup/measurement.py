"""What a warm-up sends, and what comes of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Measurement", "WarmUpPlan", "quantile"]


@dataclass(frozen=True, slots=True)
class WarmUpPlan:
    """How much is sent.

    Attributes
    ----------
    requests
        How many are measured at most.
    in_flight
        How many are under way at a time, over all pods.
    unmeasured
        How many go before, on the same connections: they pay for what only a first request does.
    duration_s
        After how long no further request is begun, so that a slow model delays its rollout by little.
    timeout_s
        Longest wait for one answer.
    """

    requests: int = 200
    in_flight: int = 4
    unmeasured: int = 8
    duration_s: float = 5.0
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """What came back.

    Attributes
    ----------
    latencies_ms
        Of the requests that were answered well, in any order.
    errors
        How many weren't.
    first_error
        What the first of these was.
    """

    latencies_ms: tuple[float, ...] = ()
    errors: int = 0
    first_error: str = ""

    @property
    def requests(self) -> int:
        """All requests that were measured."""
        return len(self.latencies_ms) + self.errors


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that the given share of all future ones is expected to stay below.

    It is the value of rank ``ceil(share * (n + 1))``, at most the largest: the mean of the distribution function at the
    value of rank k of n is ``k / (n + 1)`` (Hyndman and Fan, Sample Quantiles in Statistical Packages, The American
    Statistician 50, 1996, their definition 6), so a small sample isn't flattered.

    Examples
    --------
    >>> quantile([float(n) for n in range(1, 201)], 0.99)
    199.0
    """
    ordered = sorted(values)
    return ordered[min(len(ordered), math.ceil(share * (len(ordered) + 1))) - 1]
