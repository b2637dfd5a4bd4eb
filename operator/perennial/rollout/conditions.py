"""Turn what a pass found into conditions, each by a small check of its own."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from perennial_api.conditions import Condition, ConditionStatus
from perennial_api.labels import ConditionType
from perennial_api.modeldeployment.analysis import MetricType
from perennial_api.modeldeployment.command_status import LastCommand
from perennial_api.modeldeployment.experiment_status import ExperimentPhase, ExperimentStatus
from perennial_api.modeldeployment.monitoring import MonitorType
from perennial_api.modeldeployment.resource import ModelDeploymentSpec
from perennial_api.modeldeployment.scaling_status import ScalingStatus
from perennial_api.modeldeployment.status import RolloutPhase
from perennial_api.monitorreport import MonitorReportStatus, MonitorState
from perennial_api.retrainingrun import RetrainingRun

from perennial.rollout.decision import Decision, StepState
from perennial.rollout.gate import find_unreadable
from perennial.rollout.observed import Observed
from perennial.rollout.verdicts import Verdict

__all__ = ["Facts", "Problem", "assess_conditions", "merge_conditions"]

LONGEST_MESSAGE = 4096


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that only a person can put right: the condition it makes true, why, and what to do."""

    type: ConditionType
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that conditions are made of."""

    spec: ModelDeploymentSpec
    observed: Observed
    decision: Decision
    report: MonitorReportStatus | None
    runs: tuple[RetrainingRun, ...]
    retraining_blocked: Verdict | None
    problems: tuple[Problem, ...] = ()
    last_command: LastCommand | None = None
    experiment: ExperimentStatus | None = None
    scaling: ScalingStatus | None = None
    scales: Verdict | None = None


@dataclass(frozen=True, slots=True)
class _Fact:
    type: ConditionType
    status: ConditionStatus
    reason: str
    message: str = ""


def assess_conditions(
    facts: Facts, previous: Iterable[Condition], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Return all conditions; those that don't apply are left out."""
    was = {condition.type: condition for condition in previous}
    found = [
        _assess_ready(facts),
        _assess_progressing(facts),
        _assess_paused(facts),
        _assess_canary(facts, was.get(ConditionType.CANARY_READY)),
        _assess_latency(facts),
        _assess_analyzable(facts),
        _assess_experiment(facts),
        _assess_route(facts),
        _assess_monitored(facts),
        _fact(ConditionType.SCALING, facts.scales) if facts.scales else None,
        *(_assess_alarm(facts, type_, kinds) for type_, kinds in _ALARMS.items()),
        *_assess_retraining(facts),
        *(_Fact(p.type, ConditionStatus.TRUE, p.reason, p.message) for p in facts.problems),
    ]
    return merge_conditions((_to_condition(fact, generation, now) for fact in found if fact), was.values())


def merge_conditions(new: Iterable[Condition], previous: Iterable[Condition]) -> tuple[Condition, ...]:
    """Keep the time of those whose status is what it was; one condition per type."""
    was = {condition.type: condition for condition in previous}
    merged: dict[str, Condition] = {}
    for condition in new:
        old = was.get(condition.type)
        if old is not None and old.status is condition.status:
            condition = condition.model_copy(update={"last_transition_time": old.last_transition_time})  # noqa: PLW2901
        merged[condition.type] = condition
    return tuple(merged.values())


def _to_condition(fact: _Fact, generation: int, now: datetime) -> Condition:
    return Condition(
        type=fact.type.value,
        status=fact.status,
        reason=fact.reason,
        message=fact.message[:LONGEST_MESSAGE],
        observed_generation=generation,
        last_transition_time=now,
    )


def _fact(type_: ConditionType, verdict: Verdict) -> _Fact:
    status = ConditionStatus.TRUE if verdict.passed else ConditionStatus.FALSE
    return _Fact(type_, status, verdict.reason, verdict.message)


def _assess_ready(facts: Facts) -> _Fact:
    """Ready means that requests are answered: pods that are ready, and a router that sends to them."""
    checks: tuple[Callable[[Facts], Verdict], ...] = (_check_stable, _check_pods, _check_router)
    verdict = Verdict(True, "Serving", "The stable revision answers through the gateway.")
    for check in checks:
        found = check(facts)
        if not found.passed:
            verdict = found
            break
    return _fact(ConditionType.READY, verdict)


def _check_stable(facts: Facts) -> Verdict:
    rollout = facts.decision.rollout
    if rollout.stable is not None:
        return Verdict(True, "HasStableRevision")
    invalid = next((p for p in facts.problems if p.type is ConditionType.INVALID_SPEC), None)
    if invalid is not None and rollout.canary is None:
        return Verdict(False, invalid.reason, invalid.message)
    return _no_ready_pods(facts, rollout.canary)


def _check_pods(facts: Facts) -> Verdict:
    stable = facts.decision.rollout.stable
    if facts.observed.ready_endpoints(stable) > 0:
        return Verdict(True, "PodsReady")
    return _no_ready_pods(facts, stable)


def _no_ready_pods(facts: Facts, revision: str | None) -> Verdict:
    view = facts.observed.revisions.get(revision or "")
    if view is not None and view.failure is not None:
        return Verdict(False, view.failure.reason, f"{view.name}: {view.failure.message}")
    return Verdict(False, StepState.WAITING_FOR_PODS.value, f"Waiting for a ready pod of {revision}.")


def _check_router(facts: Facts) -> Verdict:
    routers = facts.observed.ready_routers
    if not routers:
        return Verdict(False, "NoReadyRouter", "No pod of the gateway is ready; requests aren't answered.")
    if any(router.reachable and router.route_generation > 0 for router in routers):
        return Verdict(True, "Routed")
    return Verdict(False, "RoutePending", "No router has loaded the route yet.")


def _assess_progressing(facts: Facts) -> _Fact:
    rollout = facts.decision.rollout
    under_way = rollout.canary is not None
    invalid = next((p for p in facts.problems if p.type is ConditionType.INVALID_SPEC), None)
    if invalid is not None and not under_way:
        return _fact(ConditionType.PROGRESSING, Verdict(False, invalid.reason, invalid.message))
    return _fact(
        ConditionType.PROGRESSING,
        Verdict(under_way, rollout.step_state or StepState.COMPLETED.value, rollout.message),
    )


_PAUSES: dict[str, str] = {
    StepState.AWAITING_PROMOTION: "CanaryPauseStep",
    StepState.PREVIEWING: "BlueGreenPause",
    StepState.INCONCLUSIVE: "InconclusiveAnalysis",
    StepState.WAITING_FOR_EXPERIMENT: "WaitingForExperiment",
}


def _assess_paused(facts: Facts) -> _Fact:
    rollout = facts.decision.rollout
    waits = rollout.step_state == StepState.WAITING_FOR_EXPERIMENT and rollout.canary is not None
    if rollout.phase is not RolloutPhase.PAUSED and not waits:
        return _fact(ConditionType.PAUSED, Verdict(False, "NotPaused", "No rollout waits for anybody."))
    reason = "Held" if rollout.held else _PAUSES.get(rollout.step_state, "Paused")
    return _fact(ConditionType.PAUSED, Verdict(True, reason, rollout.message))


def _assess_experiment(facts: Facts) -> _Fact | None:
    """It holds while an experiment runs; of one that ended the reason says how."""
    experiment = facts.experiment
    if experiment is None:
        return None
    runs = experiment.phase is ExperimentPhase.RUNNING
    reason = experiment.reason or experiment.phase.value
    return _fact(ConditionType.EXPERIMENTING, Verdict(runs, reason, experiment.message))


def _assess_latency(facts: Facts) -> _Fact | None:
    measured = facts.decision.rollout.warm_up
    if measured is None or measured.within_budget is None:
        return None
    reason = "WithinBudget" if measured.within_budget else "TooSlow"
    text = measured.message or f"{measured.revision} was measured before it got any request."
    return _fact(ConditionType.WITHIN_LATENCY_BUDGET, Verdict(measured.within_budget, reason, text))


_FROM_REPORT = frozenset({MetricType.OUTLIER_RATE, MetricType.FEEDBACK})


def _assess_analyzable(facts: Facts) -> _Fact | None:
    """Whether every metric can be read: one that can't is no pass and no failure, so that a rollout waits for it."""
    rollout = facts.decision.rollout
    if rollout.canary is None or rollout.gate is None or rollout.gate.last_analysis_time is None:
        return None
    analysis = facts.spec.rollout.analysis
    unread = [
        (metric.name, "NoReport", f"{metric.name}: the observer has not reported yet.")
        for metric in analysis.metrics
        if metric.type in _FROM_REPORT and facts.report is None
    ]
    unread += find_unreadable(rollout.gate, analysis)
    if unread:
        text = " ".join(message for _, _, message in unread)
        return _fact(ConditionType.ANALYZABLE, Verdict(False, unread[0][1], text))
    text = "Every metric of the analysis can be read."
    return _fact(ConditionType.ANALYZABLE, Verdict(True, "Readable", text))


def _assess_canary(facts: Facts, previous: Condition | None) -> _Fact | None:
    rollout, outcome = facts.decision.rollout, facts.decision.outcome
    if rollout.canary is not None:
        if facts.observed.ready_endpoints(rollout.canary) > 0:
            text = f"{rollout.canary} has ready pods."
            return _fact(ConditionType.CANARY_READY, Verdict(True, "PodsReady", text))
        return _fact(ConditionType.CANARY_READY, _no_ready_pods(facts, rollout.canary))
    if rollout.phase is not RolloutPhase.DEGRADED or rollout.failed_revision is None:
        return None
    if outcome is not None:
        return _fact(ConditionType.CANARY_READY, Verdict(False, outcome.reason, outcome.message))
    if previous is not None and previous.status is ConditionStatus.FALSE:
        return _Fact(ConditionType.CANARY_READY, ConditionStatus.FALSE, previous.reason, previous.message)
    return _fact(ConditionType.CANARY_READY, Verdict(False, StepState.ROLLED_BACK.value, rollout.message))


def _assess_route(facts: Facts) -> _Fact:
    decision, observed = facts.decision, facts.observed
    if not decision.weights:
        text = "There is nothing to route to yet."
        return _fact(ConditionType.ROUTE_READY, Verdict(False, "NoReadyRevision", text))
    if not observed.ready_routers:
        text = "No pod of the gateway is ready: see its Deployment in the installation's namespace."
        return _fact(ConditionType.ROUTE_READY, Verdict(False, "NoReadyRouter", text))
    quarantined = next((r for r in observed.ready_routers if r.state == "Quarantined"), None)
    if quarantined is not None:
        text = f"{quarantined.pod} refuses the route and keeps the last good one: {quarantined.message}"
        return _fact(ConditionType.ROUTE_READY, Verdict(False, "RouteQuarantined", text))
    if observed.is_applied(decision.weights):
        return _fact(
            ConditionType.ROUTE_READY, Verdict(True, "Applied", "Every router has applied the route.")
        )
    silent = [r.pod for r in observed.ready_routers if not r.reachable]
    if silent:
        text = f"No answer from the agent of {', '.join(silent)}."
        return _fact(ConditionType.ROUTE_READY, Verdict(False, "RouterUnreachable", text))
    text = "Waiting for every router to apply the route."
    return _fact(ConditionType.ROUTE_READY, Verdict(False, "RoutePending", text))


def _assess_monitored(facts: Facts) -> _Fact:
    if not facts.spec.monitoring.monitors:
        verdict = Verdict(False, "NoMonitors", "monitoring.monitors is empty: nothing is watched.")
    elif facts.report is None or not facts.report.monitors:
        verdict = Verdict(False, "NoReport", "The observer has not reported yet.")
    else:
        verdict = Verdict(True, "Reporting", "The observer reports.")
    return _fact(ConditionType.MONITORED, verdict)


_ALARMS: Mapping[ConditionType, frozenset[MonitorType]] = {
    ConditionType.DRIFT_DETECTED: frozenset({MonitorType.DRIFT, MonitorType.PREDICTION_DRIFT}),
    ConditionType.OUTLIERS_DETECTED: frozenset({MonitorType.OUTLIER}),
    ConditionType.DATA_QUALITY_DEGRADED: frozenset({MonitorType.DATA_QUALITY}),
    ConditionType.PERFORMANCE_DEGRADED: frozenset({MonitorType.PERFORMANCE, MonitorType.CONCEPT}),
    ConditionType.ESTIMATED_PERFORMANCE_DEGRADED: frozenset({MonitorType.ESTIMATED_PERFORMANCE}),
    ConditionType.SERVICE_LEVEL_DEGRADED: frozenset({MonitorType.SERVICE_LEVEL}),
    ConditionType.UNFAIRNESS_DETECTED: frozenset({MonitorType.FAIRNESS}),
    ConditionType.CUSTOM_ALARM: frozenset({MonitorType.CUSTOM}),
}


def _assess_alarm(facts: Facts, type_: ConditionType, kinds: Collection[MonitorType]) -> _Fact | None:
    names = {m.name for m in facts.spec.monitoring.monitors if m.type in kinds}
    if not names:
        return None
    verdicts = [v for v in (facts.report.monitors if facts.report else ()) if v.name in names]
    alarmed = [v for v in verdicts if v.state is MonitorState.ALARM]
    if alarmed:
        message = " ".join(f"{v.name}: {v.message or v.reason}" for v in alarmed)
        return _Fact(type_, ConditionStatus.TRUE, alarmed[0].reason or "Alarm", message)
    if not verdicts or all(v.state in {MonitorState.INSUFFICIENT, MonitorState.ERROR} for v in verdicts):
        reason = verdicts[0].reason if verdicts and verdicts[0].reason else "NoVerdict"
        message = verdicts[0].message if verdicts else "No verdict yet."
        return _Fact(type_, ConditionStatus.UNKNOWN, reason, message)
    return _Fact(type_, ConditionStatus.FALSE, "WithinThreshold", "No monitor of this type is in alarm.")


def _assess_retraining(facts: Facts) -> tuple[_Fact, ...]:
    if facts.spec.retraining is None:
        return ()
    going = next((run for run in facts.runs if not run.status.phase.is_final), None)
    if going is not None:
        running = Verdict(True, going.status.phase.value, f"{going.metadata.name} is under way.")
    else:
        running = Verdict(False, "NoRun", "No run is under way.")
    blocked = facts.retraining_blocked
    waiting = (
        Verdict(True, blocked.reason, blocked.message)
        if blocked is not None
        else Verdict(False, "NoAlarmWaiting", "No alarm waits for a run.")
    )
    return (_fact(ConditionType.RETRAINING, running), _fact(ConditionType.RETRAINING_BLOCKED, waiting))
