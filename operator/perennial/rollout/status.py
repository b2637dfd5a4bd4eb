"""Build the whole status of a ModelDeployment from what a pass found and decided."""

from collections.abc import Iterable
from datetime import datetime

from perennial_api.labels import ConditionType
from perennial_api.modeldeployment.monitoring import Severity
from perennial_api.modeldeployment.status import (
    LastFailure,
    ModelDeploymentStatus,
    ModelStatus,
    RetrainingStatus,
    RolloutPhase,
    TransitionStatus,
)
from perennial_api.monitorreport import MonitorReportStatus, MonitorState, MonitorVerdict

from perennial.rollout.conditions import Facts, assess_conditions
from perennial.rollout.decision import EventReason, Notice
from perennial.rollout.observed import Failure

__all__ = ["build_status", "monitor_notices"]

# From the worst to the best, for the summary.
_BY_WEIGHT = (
    MonitorState.ALARM,
    MonitorState.ERROR,
    MonitorState.WARNING,
    MonitorState.INSUFFICIENT,
    MonitorState.OK,
)
LONGEST_SUMMARY = 256


def build_status(
    facts: Facts,
    previous: ModelDeploymentStatus,
    retraining: RetrainingStatus | None,
    *,
    generation: int,
    url: str,
    refresh_monitors: bool,
    now: datetime,
) -> ModelDeploymentStatus:
    """Build the next status.

    Statistics move with every window; so verdicts are copied when a state changes, and else only when
    `refresh_monitors` says that it is time.
    """
    rollout = facts.decision.rollout
    stable = facts.observed.revisions.get(rollout.stable or "")
    verdicts = facts.report.monitors if facts.report else ()
    changed = _states(verdicts) != _states(previous.monitors)
    monitors = verdicts if changed or refresh_monitors else previous.monitors
    last_failure = _last_failure(facts, previous)
    return previous.model_copy(
        update={
            "observed_generation": generation,
            "conditions": assess_conditions(facts, previous.conditions, generation, now),
            "url": url,
            "model_status": ModelStatus(
                transition_status=_transition(facts, last_failure),
                uri=stable.model_uri if stable else None,
                digest=stable.digest if stable else None,
                last_failure_info=last_failure,
            ),
            "rollout": rollout,
            "monitors": monitors,
            "monitors_summary": _summarise(monitors),
            "retraining": retraining,
            "last_command": facts.last_command,
            "experiment": facts.experiment,
            "scaling": facts.scaling,
            "consumed_model_hash": stable.model_hash_in_force if stable else None,
        }
    )


def monitor_notices(
    report: MonitorReportStatus | None, previous: Iterable[MonitorVerdict]
) -> tuple[Notice, ...]:
    """Return what to tell about alarms raised and cleared, and monitors that failed, since the last status.

    Monitors of severity Log tell nobody.
    """
    was = {verdict.name: verdict for verdict in previous}
    verdicts = report.monitors if report else ()
    found = (
        _notice(verdict, was.get(verdict.name))
        for verdict in verdicts
        if verdict.severity is not Severity.LOG
    )
    return tuple(notice for notice in found if notice is not None)


def _notice(verdict: MonitorVerdict, old: MonitorVerdict | None) -> Notice | None:
    before = None if old is None else old.state
    if verdict.state is MonitorState.ALARM:
        # Another episode than the last one seen: the clearing in between was missed.
        is_another = old is not None and verdict.breach_id != old.breach_id
        if before is MonitorState.ALARM and not is_another:
            return None
        text = f"{verdict.severity.value}: {verdict.name}: {verdict.message or verdict.reason}"
        about = f" ({verdict.explanation})" if verdict.explanation else ""
        return Notice(EventReason.ALARM_RAISED, text + about, is_warning=True)
    if before is MonitorState.ALARM:
        return Notice(EventReason.ALARM_CLEARED, f"{verdict.name} is {verdict.state.value} again.")
    if verdict.state is MonitorState.ERROR and before is not MonitorState.ERROR:
        text = f"{verdict.name} can't judge: {verdict.message or verdict.reason}"
        return Notice(EventReason.MONITOR_FAILED, text, is_warning=True)
    return None


def _states(verdicts: Iterable[MonitorVerdict]) -> list[tuple[str, str, str, str | None]]:
    return sorted((v.name, v.state.value, v.reason, v.breach_id) for v in verdicts)


def _summarise(verdicts: tuple[MonitorVerdict, ...]) -> str | None:
    if not verdicts:
        return None
    worst = min((v.state for v in verdicts), key=_BY_WEIGHT.index)
    if worst is not MonitorState.ALARM:
        return worst.value
    names = ", ".join(v.name for v in verdicts if v.state is MonitorState.ALARM)
    return f"{worst.value}: {names}"[:LONGEST_SUMMARY]


def _transition(facts: Facts, last_failure: LastFailure | None) -> TransitionStatus:
    rollout = facts.decision.rollout
    if any(p.type is ConditionType.INVALID_SPEC for p in facts.problems):
        return TransitionStatus.INVALID_SPEC
    failing = facts.observed.revisions.get(rollout.canary or "")
    if failing is not None and failing.failure is not None:
        return TransitionStatus.BLOCKED_BY_FAILED_LOAD
    if rollout.phase is RolloutPhase.HEALTHY:
        return TransitionStatus.UP_TO_DATE
    if rollout.phase is RolloutPhase.DEGRADED and rollout.canary is None:
        failed_to_load = last_failure is not None and last_failure.revision == rollout.failed_revision
        return TransitionStatus.BLOCKED_BY_FAILED_LOAD if failed_to_load else TransitionStatus.ROLLED_BACK
    return TransitionStatus.IN_PROGRESS


def _last_failure(facts: Facts, previous: ModelDeploymentStatus) -> LastFailure | None:
    """Return what fails now, else what failed last, until a rollout ends well."""
    rollout = facts.decision.rollout
    for name in (rollout.canary, rollout.failed_revision, rollout.stable):
        view = facts.observed.revisions.get(name or "")
        if view is not None and view.failure is not None:
            return _to_last_failure(view.failure, view.name)
    if rollout.phase is RolloutPhase.HEALTHY or previous.model_status is None:
        return None
    return previous.model_status.last_failure_info


def _to_last_failure(failure: Failure, revision: str) -> LastFailure:
    return LastFailure(
        reason=failure.reason,
        message=failure.message,
        exit_code=failure.exit_code,
        revision=revision,
        time=failure.at,
    )
