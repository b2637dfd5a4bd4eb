"""Say of one metric what its state means: failed, good enough, or not to be told yet and why."""

from dataclasses import dataclass

from perennial_api.modeldeployment.analysis import Metric, MetricType
from perennial_api.modeldeployment.gate_status import Gate, GateDecision, GateMetric, MetricCounts

from perennial.rollout.gate.collect import count_routers
from perennial.rollout.gate.counters import Counts
from perennial.rollout.gate.eprocess import (
    ALTERNATIVES,
    GateState,
    e_value,
    excluded_ratio,
    rate_e_value,
)
from perennial.rollout.gate.readings import NO_READING, judge_reading
from perennial.rollout.gate.words import Words, words_of

__all__ = ["MetricVerdict", "judge_metric", "state_of", "to_counts"]

WITHIN_LIMITS = "WithinLimits"
NO_TRAFFIC = "NoTraffic"
TOO_FEW_SAMPLES = "TooFewSamples"


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """One metric's verdict and the figures behind it.

    Attributes
    ----------
    e_value, bound
        Evidence against the canary, and how much of it fails the canary; None where a number is compared with bounds.
    """

    metric: str
    dry_run: bool
    decision: GateDecision
    reason: str
    message: str
    canary: MetricCounts
    stable: MetricCounts
    value: float | None = None
    e_value: float | None = None
    bound: float | None = None


def to_counts(counts: MetricCounts) -> Counts:
    """Return the status's form as the e-process takes it."""
    return Counts(counts.total, counts.bad)


def state_of(found: GateMetric) -> GateState:
    """Return the e-process's state as kept in the status; one of another version starts anew."""

    def whole(values: tuple[float, ...]) -> tuple[float, ...]:
        return values if len(values) == len(ALTERNATIVES) else (0.0,) * len(ALTERNATIVES)

    return GateState(
        whole(found.log_e_values),
        whole(found.log_rate_e_values),
        to_counts(found.canary),
        to_counts(found.stable),
    )


def judge_metric(
    metric: Metric, gate: Gate, *, min_samples: int, alpha: float, bound: float
) -> MetricVerdict:
    """Return what one metric says.

    Parameters
    ----------
    min_samples
        How much must have been counted of the canary.
    alpha, bound
        Chance of failing a good canary, and the evidence that fails it: the number of metrics over alpha.
    """
    found = next((m for m in gate.metrics if m.name == metric.name), None) or GateMetric(name=metric.name)
    if metric.prometheus is not None:
        decision, reason, message = judge_reading(metric.name, metric.prometheus, found)
        return MetricVerdict(
            metric.name, metric.dry_run, decision, reason, message, found.canary, found.stable, found.value
        )
    words = words_of(metric.type, by_client=gate.by_client)
    state = state_of(found)
    evidence = _evidence(state, metric)
    if evidence >= bound:
        decision, reason = GateDecision.FAILED, _exceeded(state)
        message = f"{metric.name}: {_failure(state, metric, words, reason)}; evidence {evidence:.3g}, {bound:.3g} fails."
    else:
        decision, reason, message = _judge_samples(metric, state, words, gate, min_samples)
        if decision is GateDecision.SUCCESSFUL:
            message = f"{metric.name}: {_success(state, metric, words, alpha)}."
    return MetricVerdict(
        metric=metric.name,
        dry_run=metric.dry_run,
        decision=decision,
        reason=reason,
        message=message,
        canary=found.canary,
        stable=found.stable,
        e_value=evidence,
        bound=bound,
    )


def _evidence(state: GateState, metric: Metric) -> float:
    """Return the metric's evidence. The mean of two kinds is evidence against keeping both limits."""
    if metric.max_rate is None:
        return e_value(state)
    return (e_value(state) + rate_e_value(state)) / 2


def _judge_samples(
    metric: Metric, state: GateState, words: Words, gate: Gate, min_samples: int
) -> tuple[GateDecision, str, str]:
    requests, seen = gate.canary, state.canary.requests
    if gate.by_client and metric.type is MetricType.ERROR_RATE:
        seen //= count_routers(gate.routers)
    if seen >= min_samples:
        return GateDecision.SUCCESSFUL, WITHIN_LIMITS, ""
    if requests == 0:
        text = f"{metric.name}: no request has reached the canary yet."
        return GateDecision.INCONCLUSIVE, NO_TRAFFIC, text
    if seen == 0 and (metric.type in _BY_OBSERVER or words.counted == "clients"):
        text = f"{metric.name}: {words.told_by} has reported none of the {words.counted} of the canary's {requests} requests."
        return GateDecision.INCONCLUSIVE, NO_READING, text
    text = f"{metric.name}: the canary has {seen} of the {min_samples} {words.counted} that a verdict needs."
    return GateDecision.INCONCLUSIVE, TOO_FEW_SAMPLES, text


_BY_OBSERVER = {MetricType.OUTLIER_RATE, MetricType.FEEDBACK}


def _exceeded(state: GateState) -> str:
    return "RatioExceeded" if e_value(state) >= rate_e_value(state) else "RateExceeded"


def _failure(state: GateState, metric: Metric, words: Words, reason: str) -> str:
    canary = f"{_share(state.canary, words)} {words.bad}"
    if reason == "RateExceeded":
        return f"{canary}, more than the {metric.max_rate:.2%} allowed"
    times = "" if metric.max_ratio == 1.0 else f"{metric.max_ratio:g} times "
    return f"{canary}, more than {times}the stable revision's {_share(state.stable, words)}"


def _success(state: GateState, metric: Metric, words: Words, alpha: float) -> str:
    canary = f"{_share(state.canary, words)} {words.bad}"
    if not state.stable.requests:
        limit = "nothing" if metric.max_rate is None else f"maxRate ({metric.max_rate:.2%})"
        return f"{canary}; the stable revision had none to compare with, so {limit} was tested"
    excluded = excluded_ratio(state, metric.max_ratio, alpha)
    ruled_out = (
        f"{excluded:g} times the share or more is ruled out" if excluded else "no ratio is ruled out yet"
    )
    return f"{canary}, of the stable revision's {_share(state.stable, words)}; {ruled_out}"


def _share(counts: Counts, words: Words) -> str:
    if not counts.requests:
        return f"none of 0 {words.counted}"
    return f"{counts.errors / counts.requests:.2%} of {counts.requests} {words.counted}"
