"""Carry the gate's state between status and `gate`, and look at the counters when it is time."""

from datetime import datetime, timedelta

from perennial_api.modeldeployment.analysis import Analysis
from perennial_api.modeldeployment.gate_status import (
    Evidence,
    Gate,
    GateDecision,
    GateMetric,
    MetricCounts,
    RouterMark,
)

from perennial.rollout.gate import counters, eprocess
from perennial.rollout.gate import verdict as verdicts
from perennial.rollout.gate.counters import Counts
from perennial.rollout.observed import Observed

__all__ = ["SIGNIFICANCE", "assess_gate", "next_look_at", "observe_gate", "to_evidence"]

SIGNIFICANCE = 0.01
"""Probability, over a whole rollout, of failing a canary that keeps every limit."""


def next_look_at(gate: Gate, analysis: Analysis, weight_since: datetime) -> datetime:
    """Return when the counters are to be read next.

    `weight_since` is when the canary's weight last changed. What comes in within `initialDelay` of it isn't
    counted: the first look after the delay only sets the marks.
    """
    count_from = weight_since + timedelta(seconds=analysis.initial_delay.seconds)
    if gate.last_analysis_time is None or gate.last_analysis_time < count_from:
        return count_from
    return gate.last_analysis_time + timedelta(seconds=analysis.interval.seconds)


def observe_gate(
    gate: Gate,
    analysis: Analysis,
    observed: Observed,
    *,
    canary: str,
    stable: str,
    weight_since: datetime,
    now: datetime,
) -> Gate:
    """Return the gate's state after a look at the counters, or the same state when it isn't time for one."""
    if now < next_look_at(gate, analysis, weight_since):
        return gate
    count_from = weight_since + timedelta(seconds=analysis.initial_delay.seconds)
    baseline = gate.last_analysis_time is None or gate.last_analysis_time < count_from
    marks, new = counters.accumulate(_marks(gate), _reading(observed, {canary, stable}))
    kept = tuple(
        RouterMark(pod=m.pod, epoch=m.epoch, revision=m.revision, requests=m.requests, errors=m.errors)
        for m in marks
        if m.revision in {canary, stable}
    )
    seen = gate.model_copy(update={"routers": kept, "last_analysis_time": now})
    if baseline:
        return seen
    none = Counts()
    return _add_window(seen, analysis, new.get(canary, none), new.get(stable, none))


def assess_gate(gate: Gate, analysis: Analysis, *, baked: bool, at_deadline: bool) -> verdicts.GateVerdict:
    """Return the verdict on what the gate has counted so far."""
    states = {metric.name: _state(gate, metric.name) for metric in analysis.metrics}
    return verdicts.assess(
        states,
        [verdicts.MetricLimit(m.name, m.max_ratio, m.max_rate) for m in analysis.metrics],
        alpha=SIGNIFICANCE,
        min_samples=analysis.min_samples,
        baked=baked,
        at_deadline=at_deadline,
    )


def to_evidence(
    verdict: verdicts.GateVerdict, decision: GateDecision, step_index: int, now: datetime
) -> tuple[Evidence, ...]:
    """Render a verdict's figures for the status, one entry per test."""
    return tuple(
        Evidence(
            time=now,
            metric=item.metric,
            step_index=step_index,
            canary=_to_metric(item.canary),
            stable=_to_metric(item.stable),
            e_value=item.e_value,
            bound=item.needed,
            decision=decision,
            reason=verdict.reason,
            message=verdict.message,
        )
        for item in verdict.evidence
    )


def _marks(gate: Gate) -> tuple[counters.CounterMark, ...]:
    return tuple(counters.CounterMark(m.pod, m.epoch, m.revision, m.requests, m.errors) for m in gate.routers)


def _reading(observed: Observed, revisions: set[str]) -> dict[counters.CounterKey, Counts]:
    return {
        (router.pod, router.epoch, revision): Counts(counters.requests, counters.errors)
        for router in observed.routers
        if router.reachable
        for revision, counters in router.counters.items()
        if revision in revisions
    }


def _state(gate: Gate, metric: str) -> eprocess.GateState:
    found = next((m for m in gate.metrics if m.name == metric), None)
    if found is None:
        return eprocess.GateState()
    return eprocess.GateState(
        log_likelihoods=found.log_e_values,
        rate_log_likelihoods=found.log_rate_e_values,
        canary=Counts(found.canary.total, found.canary.bad),
        stable=Counts(found.stable.total, found.stable.bad),
    )


def _add_window(gate: Gate, analysis: Analysis, canary: Counts, stable: Counts) -> Gate:
    metrics = []
    for metric in analysis.metrics:
        state = eprocess.update(_state(gate, metric.name), canary, stable, metric.max_ratio, metric.max_rate)
        metrics.append(
            GateMetric(
                name=metric.name,
                canary=_to_metric(state.canary),
                stable=_to_metric(state.stable),
                log_e_values=state.log_likelihoods,
                log_rate_e_values=state.rate_log_likelihoods,
            )
        )
    return gate.model_copy(
        update={
            "metrics": tuple(metrics),
            "canary": gate.canary + canary.requests,
            "stable": gate.stable + stable.requests,
        }
    )


def _to_metric(counts: Counts) -> MetricCounts:
    return MetricCounts(total=counts.requests, bad=counts.errors)
