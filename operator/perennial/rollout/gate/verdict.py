"""Put the metrics together: the canary may go on, must go back, or one can't tell yet.

A canary fails when the evidence of any metric reaches ``m / alpha`` for ``m`` metrics that decide, which happens to a
canary that keeps every limit with probability at most ``alpha`` over the whole rollout, however often one looks. It
succeeds when it has not failed, every metric has seen enough, and it has stood long enough at its weight. No traffic
and no answer are neither.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from perennial_api.modeldeployment.analysis import Analysis, Metric, MetricType
from perennial_api.modeldeployment.gate_status import Evidence, Gate, GateDecision, GateMetric

from perennial.rollout.gate.breaker import trip
from perennial.rollout.gate.judge import (
    NO_TRAFFIC,
    TOO_FEW_SAMPLES,
    WITHIN_LIMITS,
    MetricVerdict,
    judge_metric,
)
from perennial.rollout.gate.readings import NO_READING

__all__ = [
    "SIGNIFICANCE",
    "Decision",
    "GateVerdict",
    "assess_gate",
    "find_unreadable",
    "judge_metrics",
    "to_evidence",
]

SIGNIFICANCE = 0.01
"""Probability, over a whole rollout, of failing a canary that keeps every limit."""


class Decision(StrEnum):
    """What the gate says at one look."""

    FAILED = "Failed"
    SUCCESSFUL = "Successful"
    INCONCLUSIVE = "Inconclusive"
    WAITING = "Waiting"


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """The gate's answer.

    Attributes
    ----------
    decision, reason, message
        What, why in one CamelCase word, and why in a sentence with the figures.
    metric
        The metric that decided; empty where no single one did.
    evidence
        What each metric says by itself.
    """

    decision: Decision
    reason: str
    message: str
    metric: str = ""
    evidence: tuple[MetricVerdict, ...] = ()


def assess_gate(gate: Gate, analysis: Analysis, *, baked: bool, at_deadline: bool) -> GateVerdict:
    """Return the verdict on what the gate has counted so far.

    Parameters
    ----------
    baked
        Whether the canary has stood at its weight for as long as asked.
    at_deadline
        Whether waiting any longer is no longer allowed.

    Returns
    -------
    GateVerdict
        ``Failed`` comes before everything else; ``Inconclusive`` only at the deadline, ``Waiting`` before it.
    """
    metrics = _judge(gate, analysis)
    if tripped := trip(gate, analysis.metrics):
        name, why = tripped
        return GateVerdict(Decision.FAILED, "Breaker", why, name, metrics)
    deciding = [item for item in metrics if not item.dry_run]
    for item in deciding:
        if item.decision is GateDecision.FAILED:
            return GateVerdict(Decision.FAILED, item.reason, item.message, item.metric, metrics)
    unsure = Decision.INCONCLUSIVE if at_deadline else Decision.WAITING
    if lack := _find_lack(gate, analysis, deciding):
        reason, message, name = lack
        return GateVerdict(unsure, reason, message, name, metrics)
    if not baked:
        message = "Nothing speaks against the canary, but it has not stood at its weight for long enough yet."
        return GateVerdict(unsure, "Baking", message, "", metrics)
    message = " ".join(item.message for item in deciding)
    if not deciding:
        message = "Every metric is in dry run, and the canary has stood at its weight for long enough."
    return GateVerdict(Decision.SUCCESSFUL, WITHIN_LIMITS, message, "", metrics)


def judge_metrics(gate: Gate, analysis: Analysis) -> Gate:
    """Return the gate with each metric's own verdict written beside its figures, for people to read."""
    verdicts = {item.metric: item for item in _judge(gate, analysis)}
    return gate.model_copy(update={"metrics": tuple(_with(m, verdicts[m.name]) for m in gate.metrics)})


def _with(metric: GateMetric, verdict: MetricVerdict) -> GateMetric:
    said = {"decision": verdict.decision, "reason": verdict.reason, "message": verdict.message}
    return metric.model_copy(update=said)


def find_unreadable(gate: Gate, analysis: Analysis) -> tuple[tuple[str, str, str], ...]:
    """Return name, reason and message of the metrics for which Prometheus gave no number: a person has to see to them.

    Called for the condition Analyzable. One that hasn't been asked since the weight changed isn't named.
    """
    return tuple(
        (item.metric, item.reason, item.message)
        for item in _judge(gate, analysis)
        if item.bound is None and item.value is None and item.reason != NO_READING
    )


def _judge(gate: Gate, analysis: Analysis) -> tuple[MetricVerdict, ...]:
    deciding = sum(not metric.dry_run and _has_evidence(metric) for metric in analysis.metrics)
    bound = max(1, deciding) / SIGNIFICANCE
    return tuple(
        judge_metric(metric, gate, min_samples=analysis.min_samples, alpha=SIGNIFICANCE, bound=bound)
        for metric in analysis.metrics
    )


def _has_evidence(metric: Metric) -> bool:
    return metric.type is not MetricType.PROMETHEUS


def _find_lack(gate: Gate, analysis: Analysis, deciding: list[MetricVerdict]) -> tuple[str, str, str] | None:
    """Return reason, message and metric of what is missing for a verdict, or None."""
    if gate.canary == 0:
        return (
            NO_TRAFFIC,
            "No request has reached the canary yet: send it traffic, or promote it yourself.",
            "",
        )
    for item in deciding:
        if item.decision is GateDecision.INCONCLUSIVE:
            unread = item.bound is None and item.value is None
            return NO_READING if unread else item.reason, item.message, item.metric
    if gate.canary < analysis.min_samples:
        text = f"The canary has answered {gate.canary} of the {analysis.min_samples} requests that a verdict needs."
        return TOO_FEW_SAMPLES, text, ""
    return None


def to_evidence(
    verdict: GateVerdict, decision: GateDecision, step_index: int, now: datetime
) -> tuple[Evidence, ...]:
    """Render what each metric said when the gate decided, for the status; the one that decided comes last.

    Parameters
    ----------
    decision
        What the verdict led to: a metric that is fine by itself is still Inconclusive where the whole is.
    """
    ordered = sorted(verdict.evidence, key=lambda item: (not item.dry_run, item.metric == verdict.metric))
    return tuple(_render(item, verdict, decision, step_index, now) for item in ordered)


def _render(
    item: MetricVerdict, verdict: GateVerdict, decision: GateDecision, step_index: int, now: datetime
) -> Evidence:
    decided = item.metric == verdict.metric
    waits = decision is GateDecision.INCONCLUSIVE and item.decision is GateDecision.SUCCESSFUL
    says_whole = not item.dry_run and (decided or waits)
    return Evidence(
        time=now,
        metric=item.metric,
        step_index=step_index,
        canary=item.canary,
        stable=item.stable,
        value=item.value,
        e_value=item.e_value,
        bound=item.bound,
        dry_run=item.dry_run,
        decision=decision if says_whole else item.decision,
        reason=verdict.reason if says_whole else item.reason,
        message=verdict.message if says_whole else item.message,
    )
