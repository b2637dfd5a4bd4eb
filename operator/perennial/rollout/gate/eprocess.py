r"""Always-valid evidence, from two pairs of counts, that a canary is worse than it may be.

Basis: Lindon and Malek, "Anytime-Valid Inference for Multinomial Count Data", NeurIPS 2022
(arXiv 2011.03567). If the canary fails ``r`` times as often as the stable revision, then a failure
seen in a window with ``n_c`` and ``n_s`` requests comes from the canary with probability

    theta(r) = r * n_c / (r * n_c + n_s)

whatever the common failure rate does over time. For each alternative ``r_j`` the likelihood ratio
against the largest ratio allowed, ``r_0``, is a product over windows; its logarithm is a sum:

    L_j += k_c * log(theta(r_0 r_j) / theta(r_0)) + k_s * log((1 - theta(r_0 r_j)) / (1 - theta(r_0)))

and ``E = mean_j exp(L_j)`` has expectation at most 1 at every look as long as the ratio is at most
``r_0``. By Ville's inequality it ever reaches ``1 / alpha`` with probability at most ``alpha``: one
may look at every tick, and the weights may change between windows. The same mixture with
binomial likelihoods tests the canary's own rate against ``max_rate``.

A client that keeps its revision is one unit however many requests it sends: `update_clients` takes
clients instead of requests. A client turns bad at its first failure, at any time, so the parts of
``theta`` are the clients still at risk, those seen that have not failed yet: the safe logrank test
of ter Schure, Perez-Ortiz, Ly and Grunwald, "The Safe Logrank Test", 2021 (arXiv 2011.06931).

Failures need not be rare. Write ``g`` and ``h`` for the factors of a canary's and a stable failure. If the
canary fails with probability ``p_c <= r_0 p_s``, a window multiplies the likelihood ratio on average by

    (1 + p_c (g - 1))^n_c (1 + p_s (h - 1))^n_s <= exp(n_c p_c (g - 1) + n_s p_s (h - 1)) <= 1,

since ``1 + x <= exp(x)`` and the exponent is 0 where ``p_c = r_0 p_s``, by the choice of ``theta``, and
less where ``p_c`` is smaller. What it takes is that each request fails by itself given the common rate of
its window: hence clients instead of requests where a client keeps its revision.

Worked example: 19 of 1,900 stable requests failed and 10 of 100 canary requests. With ``r_0 = 1``,
``theta(1) = 100 / 2000 = 0.05`` and for ``r_j = 5`` ``theta(5) = 500 / 2400 = 0.2083``, so
``L = 10 log(4.1667) + 19 log(0.7917 / 0.95) = 14.27 - 3.46 = 10.81``. The six alternatives together:

>>> state = update(GateState(), Counts(100, 10), Counts(1900, 19), max_ratio=1.0)
>>> round(state.log_likelihoods[3], 2)
10.81
>>> round(e_value(state))
50367
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from perennial.rollout.gate.counters import Counts

ALTERNATIVES = (1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
"""Multiples of the allowed ratio (or odds) that the evidence is spread over."""

_SMALLEST_RATE = 1e-6
_LARGEST_LOG_E = 690.0


def _zeros() -> tuple[float, ...]:
    return (0.0,) * len(ALTERNATIVES)


@dataclass(frozen=True, slots=True)
class GateState:
    """Everything one metric's gate remembers; small enough for a resource's status.

    Attributes
    ----------
    log_likelihoods
        ``L_j`` against the allowed ratio, one per alternative.
    rate_log_likelihoods
        ``L_j`` against the allowed rate; zeros where there is no ``max_rate``.
    canary, stable
        Totals since the gate started.
    """

    log_likelihoods: tuple[float, ...] = field(default_factory=_zeros)
    rate_log_likelihoods: tuple[float, ...] = field(default_factory=_zeros)
    canary: Counts = field(default_factory=Counts)
    stable: Counts = field(default_factory=Counts)


def update(
    state: GateState,
    canary_delta: Counts,
    stable_delta: Counts,
    max_ratio: float,
    max_rate: float | None = None,
) -> GateState:
    """Return the state after one more window.

    Parameters
    ----------
    state
        Of the same metric, updated with the same limits ever since it was ``GateState()``.
    canary_delta, stable_delta
        What came in since the last window, as `accumulate` returns it.
    max_ratio
        Allowed ratio of the canary's failure share to the stable one's, at least 1.
    max_rate
        Allowed failure share of the canary itself, or None for no such limit. Zero is taken as one
        in a million, so that evidence stays finite; 1 or more can't be exceeded.
    """
    return GateState(
        log_likelihoods=_add(state.log_likelihoods, _ratio_terms(canary_delta, stable_delta, max_ratio)),
        rate_log_likelihoods=_add(state.rate_log_likelihoods, _rate_terms(canary_delta, max_rate)),
        canary=state.canary + canary_delta,
        stable=state.stable + stable_delta,
    )


def update_clients(
    state: GateState,
    canary_delta: Counts,
    stable_delta: Counts,
    max_ratio: float,
    max_rate: float | None = None,
    *,
    routers: int = 1,
) -> GateState:
    """Return the state after one more window in which clients were counted, each on one revision for good.

    Parameters
    ----------
    canary_delta, stable_delta
        Clients seen for the first time since the last window, and those seen now or earlier that failed for
        the first time, as `accumulate` returns them for distinct clients.
    routers
        By how many routers they were counted. Each counts a client that it meets, so one client's failures
        may show as often; the evidence is divided by that.

    The rest is as for `update`. The shares of the revisions must not change while clients are counted: a
    client that moves starts anew on one side and leaves a used-up one on the other.
    """
    at_risk = (_at_risk(state.canary, canary_delta), _at_risk(state.stable, stable_delta))
    ratio = _ratio_terms(*at_risk, max_ratio)
    rate = _rate_terms(canary_delta, max_rate)
    return GateState(
        log_likelihoods=_add(state.log_likelihoods, tuple(x / routers for x in ratio)),
        rate_log_likelihoods=_add(state.rate_log_likelihoods, tuple(x / routers for x in rate)),
        canary=state.canary + canary_delta,
        stable=state.stable + stable_delta,
    )


def _at_risk(counted: Counts, delta: Counts) -> Counts:
    return Counts(counted.requests - counted.errors + delta.requests, delta.errors)


def e_value(state: GateState) -> float:
    """Return the evidence that the canary's failure ratio is above the allowed one; 1 is none."""
    return mixture(state.log_likelihoods)


def rate_e_value(state: GateState) -> float:
    """Return the evidence that the canary's own failure rate is above the allowed one; 1 is none."""
    return mixture(state.rate_log_likelihoods)


def excluded_ratio(state: GateState, max_ratio: float, alpha: float) -> float | None:
    """Return the smallest failure ratio that the counts rule out, or None.

    ``exp(-L_j)`` is the e-process of the null "the ratio is at least ``r_0 r_j``" against ``r_0``,
    so no further state is needed; ``alpha`` is shared among the alternatives.
    """
    needed = math.log(len(ALTERNATIVES) / alpha)
    for alternative, log_likelihood in zip(ALTERNATIVES, state.log_likelihoods, strict=True):
        if -log_likelihood >= needed:
            return max_ratio * alternative
    return None


def mixture(log_likelihoods: tuple[float, ...]) -> float:
    """Return the mean of the exponentials, capped so that it stays a finite number in JSON."""
    largest = max(log_likelihoods)
    log_mean = largest + math.log(sum(math.exp(x - largest) for x in log_likelihoods) / len(log_likelihoods))
    return math.exp(min(log_mean, _LARGEST_LOG_E))


def _ratio_terms(canary: Counts, stable: Counts, max_ratio: float) -> tuple[float, ...]:
    if canary.requests == 0 or stable.requests == 0:
        return _zeros()  # with one arm only, a failure's origin says nothing

    def log_shares(ratio: float) -> tuple[float, float]:
        weighted = ratio * canary.requests
        total = weighted + stable.requests
        return math.log(weighted / total), math.log(stable.requests / total)

    null_canary, null_stable = log_shares(max_ratio)
    terms = []
    for alternative in ALTERNATIVES:
        canary_share, stable_share = log_shares(max_ratio * alternative)
        terms.append(
            canary.errors * (canary_share - null_canary) + stable.errors * (stable_share - null_stable)
        )
    return tuple(terms)


def _rate_terms(canary: Counts, max_rate: float | None) -> tuple[float, ...]:
    if max_rate is None or max_rate >= 1.0:
        return _zeros()
    rate = max(max_rate, _SMALLEST_RATE)
    good = canary.requests - canary.errors
    terms = []
    for alternative in ALTERNATIVES:
        # Odds are scaled rather than rates, so that no alternative reaches 1.
        shrink = 1.0 - rate + alternative * rate
        terms.append(canary.errors * math.log(alternative / shrink) - good * math.log(shrink))
    return tuple(terms)


def _add(left: tuple[float, ...], right: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))
