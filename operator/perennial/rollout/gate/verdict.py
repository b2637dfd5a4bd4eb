"""Decide from counts whether a canary may go on.

One gate holds one `GateState` per metric. At every look the operator feeds it what the routers
counted since the last (`accumulate`, then `update`) and asks `assess` for a verdict. A canary fails
when the evidence against it reaches ``m / alpha`` for ``m`` tests, which happens to an equal canary
with probability at most ``alpha`` over the whole rollout, however often one looks. It succeeds when
it has not failed, has been seen by enough requests, and has stood long enough at its weight.
No traffic is neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from perennial.rollout.gate.counters import Counts
from perennial.rollout.gate.eprocess import GateState, e_value, excluded_ratio, rate_e_value

__all__ = ["Decision", "Evidence", "GateVerdict", "MetricLimit", "assess"]

BREAKER_SHARE = 0.5
BREAKER_REQUESTS = 20


class Decision(StrEnum):
    """What the gate says at one look."""

    FAILED = "Failed"
    SUCCESSFUL = "Successful"
    INCONCLUSIVE = "Inconclusive"
    WAITING = "Waiting"


@dataclass(frozen=True, slots=True)
class MetricLimit:
    """What one metric allows the canary.

    Attributes
    ----------
    name
        The metric's name in the spec.
    max_ratio
        Failure share of the canary over that of the stable revision, at least 1.
    max_rate
        Failure share of the canary itself, or None.
    """

    name: str
    max_ratio: float = 1.0
    max_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """One test's figures at one look.

    Attributes
    ----------
    metric
        The metric's name.
    test
        ``Ratio`` (canary against stable) or ``Rate`` (canary in itself).
    limit
        The ratio or rate allowed.
    e_value, needed
        Evidence against the canary, and how much of it fails the canary.
    canary, stable
        Totals behind it.
    excluded_ratio
        Smallest failure ratio that the counts rule out; None where none yet, or for ``Rate``.
    """

    metric: str
    test: str
    limit: float
    e_value: float
    needed: float
    canary: Counts
    stable: Counts
    excluded_ratio: float | None = None

    @property
    def exceeded(self) -> bool:
        """Whether this test alone fails the canary."""
        return self.e_value >= self.needed


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """The gate's answer: a decision, why, and the figures behind it."""

    decision: Decision
    reason: str
    message: str
    evidence: tuple[Evidence, ...] = ()


def assess(
    states: Mapping[str, GateState],
    metrics: Sequence[MetricLimit],
    *,
    alpha: float,
    min_samples: int,
    baked: bool,
    at_deadline: bool,
) -> GateVerdict:
    """Return the verdict on the canary at this look.

    Parameters
    ----------
    states
        The gate's state by metric name; a metric without one has seen nothing.
    metrics
        The gated metrics (those in dry run left out).
    alpha
        Probability, over the whole rollout, of failing a canary that keeps every limit.
    min_samples
        Canary requests needed for success, for every metric.
    baked
        Whether the canary has stood at its weight for as long as asked.
    at_deadline
        Whether waiting any longer is no longer allowed.

    Returns
    -------
    GateVerdict
        ``Failed`` comes before everything else; ``Inconclusive`` only at the deadline.
    """
    evidence = _gather(states, metrics, alpha)
    for check in (_check_breaker, _check_evidence):
        if failure := check(evidence):
            return failure
    decision = Decision.INCONCLUSIVE if at_deadline else Decision.WAITING
    samples = min((states.get(m.name, GateState()).canary.requests for m in metrics), default=0)
    if metrics and samples < min_samples:
        reason = "TooFewSamples" if samples else "NoTraffic"
        message = f"The canary has answered {samples} of the {min_samples} requests that a verdict needs."
        return GateVerdict(decision, reason, message, evidence)
    if not baked:
        message = "Nothing speaks against the canary, but it has not stood at its weight for long enough yet."
        return GateVerdict(decision, "Baking", message, evidence)
    return GateVerdict(Decision.SUCCESSFUL, "WithinLimits", _success_message(evidence), evidence)


def _gather(
    states: Mapping[str, GateState], metrics: Sequence[MetricLimit], alpha: float
) -> tuple[Evidence, ...]:
    tests = len(metrics) + sum(metric.max_rate is not None for metric in metrics)
    needed = tests / alpha
    evidence = []
    for metric in metrics:
        state = states.get(metric.name, GateState())
        evidence.append(
            Evidence(
                metric.name,
                "Ratio",
                metric.max_ratio,
                e_value(state),
                needed,
                state.canary,
                state.stable,
                excluded_ratio(state, metric.max_ratio, alpha),
            )
        )
        if metric.max_rate is not None:
            rate = rate_e_value(state)
            evidence.append(
                Evidence(metric.name, "Rate", metric.max_rate, rate, needed, state.canary, state.stable)
            )
    return tuple(evidence)


def _check_breaker(evidence: tuple[Evidence, ...]) -> GateVerdict | None:
    """Fail a canary that fails most of its requests at once, before any statistics."""
    for item in evidence:
        requests, errors = item.canary.requests, item.canary.errors
        if requests >= BREAKER_REQUESTS and errors > BREAKER_SHARE * requests:
            message = f"{errors} of {requests} requests to the canary failed ({item.metric})."
            return GateVerdict(Decision.FAILED, "GrossFailure", message, evidence)
    return None


def _check_evidence(evidence: tuple[Evidence, ...]) -> GateVerdict | None:
    for item in evidence:
        if not item.exceeded:
            continue
        against = (
            f"more than {item.limit:g} times the stable share ({_share(item.stable)})"
            if item.test == "Ratio"
            else f"more than the {item.limit:.2%} allowed"
        )
        message = (
            f"{item.metric}: {_share(item.canary)} of the canary's requests failed, {against}; "
            f"evidence {item.e_value:.3g}, {item.needed:.3g} fails the canary."
        )
        return GateVerdict(Decision.FAILED, f"{item.test}Exceeded", message, evidence)
    return None


def _success_message(evidence: tuple[Evidence, ...]) -> str:
    if not evidence:
        return "No metric is gated and the canary has stood at its weight for long enough."
    parts = []
    for item in evidence:
        if item.test == "Ratio":
            bound = (
                f"a ratio of {item.excluded_ratio:g} or more is ruled out"
                if item.excluded_ratio
                else "no ratio is ruled out yet"
            )
            parts.append(
                f"{item.metric}: {_share(item.canary)} against {_share(item.stable)} failed, {bound}"
            )
    return "; ".join(parts) + "."


def _share(counts: Counts) -> str:
    if not counts.requests:
        return "none of 0"
    return f"{counts.errors / counts.requests:.2%} of {counts.requests}"
