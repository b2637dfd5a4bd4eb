"""Carry the gate's state between status and `gate`, and look at the counters when it is time."""

from datetime import datetime, timedelta

from perennial_api.modeldeployment.rollout import Analysis
from perennial_api.modeldeployment.status import (
    ArmCounts,
    Evidence,
    Gate,
    GateDecision,
    GateMetric,
    RouterMark,
)

from perennial.rollout import gate as statistics
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
    marks, new = statistics.accumulate(_marks(gate), _reading(observed, {canary, stable}))
    kept = tuple(
        RouterMark(pod=m.pod, epoch=m.epoch, revision=m.revision, requests=m.requests, errors=m.errors)
        for m in marks
        if m.revision in {canary, stable}
    )
    seen = gate.model_copy(update={"routers": kept, "last_analysis_time": now})
    if baseline:
        return seen
    none = statistics.Counts()
    return _add_window(seen, analysis, new.get(canary, none), new.get(stable, none))


def assess_gate(gate: Gate, analysis: Analysis, *, baked: bool, at_deadline: bool) -> statistics.GateVerdict:
    """Return the verdict on what the gate has counted so far."""
    states = {metric.name: _state(gate, metric.name) for metric in analysis.metrics}
    return statistics.assess(
        states,
        [statistics.MetricLimit(m.name, m.max_ratio, m.max_rate) for m in analysis.metrics],
        alpha=SIGNIFICANCE,
        min_samples=analysis.min_samples,
        baked=baked,
        at_deadline=at_deadline,
    )


def to_evidence(
    verdict: statistics.GateVerdict, decision: GateDecision, step_index: int, now: datetime
) -> tuple[Evidence, ...]:
    """Render a verdict's figures for the status, one entry per test."""
    return tuple(
        Evidence(
            time=now,
            metric=item.metric,
            step_index=step_index,
            canary=ArmCounts(requests=item.canary.requests, errors=item.canary.errors),
            stable=ArmCounts(requests=item.stable.requests, errors=item.stable.errors),
            e_value=item.e_value,
            bound=item.needed,
            decision=decision,
            reason=verdict.reason,
            message=verdict.message,
        )
        for item in verdict.evidence
    )


def _marks(gate: Gate) -> tuple[statistics.CounterMark, ...]:
    return tuple(
        statistics.CounterMark(m.pod, m.epoch, m.revision, m.requests, m.errors) for m in gate.routers
    )


def _reading(observed: Observed, revisions: set[str]) -> dict[statistics.CounterKey, statistics.Counts]:
    return {
        (router.pod, router.epoch, revision): statistics.Counts(counters.requests, counters.errors)
        for router in observed.routers
        if router.reachable
        for revision, counters in router.counters.items()
        if revision in revisions
    }


def _state(gate: Gate, metric: str) -> statistics.GateState:
    found = next((m for m in gate.metrics if m.name == metric), None)
    if found is None:
        return statistics.GateState()
    return statistics.GateState(
        log_likelihoods=found.log_e_values,
        rate_log_likelihoods=found.log_rate_e_values,
        canary=statistics.Counts(gate.canary.requests, gate.canary.errors),
        stable=statistics.Counts(gate.stable.requests, gate.stable.errors),
    )


def _add_window(gate: Gate, analysis: Analysis, canary: statistics.Counts, stable: statistics.Counts) -> Gate:
    metrics = []
    for metric in analysis.metrics:
        state = statistics.update(
            _state(gate, metric.name), canary, stable, metric.max_ratio, metric.max_rate
        )
        metrics.append(
            GateMetric(
                name=metric.name,
                log_e_values=state.log_likelihoods,
                log_rate_e_values=state.rate_log_likelihoods,
            )
        )
    return gate.model_copy(
        update={
            "metrics": tuple(metrics),
            "canary": _sum(gate.canary, canary),
            "stable": _sum(gate.stable, stable),
        }
    )


def _sum(arm: ArmCounts, new: statistics.Counts) -> ArmCounts:
    return ArmCounts(requests=arm.requests + new.requests, errors=arm.errors + new.errors)
