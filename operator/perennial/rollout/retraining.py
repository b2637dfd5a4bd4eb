"""When to train again: a chain of checks over triggers, limits and what is going on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from perennial_api.modeldeployment.resource import ModelDeploymentSpec
from perennial_api.modeldeployment.retraining import Cooldown, Retraining
from perennial_api.modeldeployment.status import RetrainingStatus, RolloutPhase, RolloutStatus, RunSummary
from perennial_api.monitorreport import MonitorReportStatus, MonitorState, MonitorVerdict
from perennial_api.retrainingrun import RetrainingPhase, RetrainingRun

from perennial.rollout.decision import EventReason, Notice
from perennial.rollout.lineage import digest_of
from perennial.rollout.verdicts import Verdict, first_refusal

__all__ = ["RetrainingDecision", "Start", "decide_retraining", "run_name"]

WEEK = timedelta(days=7)
MOST_BREACHES = 100
LONGEST_PREFIX = 46


@dataclass(frozen=True, slots=True)
class Start:
    """A run to make: its name, the alarm behind it, and the labels recorded so far."""

    name: str
    monitor: str
    breach_id: str
    labels: int


@dataclass(frozen=True, slots=True)
class RetrainingDecision:
    """Whether a run starts, why not if an alarm waits for one, and what to remember.

    Attributes
    ----------
    start
        The run to make in this pass, or None.
    blocked
        The check that an alarm waits for, or None when no alarm waits.
    status
        The next `status.retraining`, or None while there is nothing to remember.
    """

    start: Start | None = None
    blocked: Verdict | None = None
    status: RetrainingStatus | None = None
    notices: tuple[Notice, ...] = ()
    requeue_after_s: float | None = None


def run_name(deployment: str, uid: str, monitor: str, breach_id: str) -> str:
    """Return the name of an alarm's run: a hash, so that whoever decides again makes no second one."""
    return f"{deployment[:LONGEST_PREFIX]}-run-{digest_of([uid, monitor, breach_id])[:8]}"


def decide_retraining(
    spec: ModelDeploymentSpec,
    status: RetrainingStatus | None,
    report: MonitorReportStatus | None,
    runs: Sequence[RetrainingRun],
    rollout: RolloutStatus,
    *,
    name: str,
    uid: str,
    model_is_stable: bool,
    trainer: Verdict,
    ended: bool | None,
    now: datetime,
) -> RetrainingDecision:
    """Decide whether an alarm starts a run now.

    Parameters
    ----------
    runs
        All runs of the deployment, as this pass will leave them.
    rollout
        The rollout as this pass will leave it.
    model_is_stable
        Whether the stable revision was made under the present `spec.model`.
    trainer
        Whether the trainer's runtime was found.
    ended
        True when a candidate was promoted in this pass, False when one was rolled back, else None.
    """
    remembered, notices = _remember(status or RetrainingStatus(), runs, ended, spec.retraining, now)
    known = remembered if status is not None or runs else None
    if spec.retraining is None:
        return RetrainingDecision(status=known, notices=notices)
    waiting = _waiting_breaches(spec.retraining, remembered, report)
    if not waiting or report is None:
        return RetrainingDecision(status=known, notices=notices)
    checks = _checks(
        spec.retraining, remembered, report, runs, rollout, model_is_stable=model_is_stable, now=now
    )
    refusal = first_refusal((*checks, lambda: trainer))
    if refusal is not None:
        wait_s = _wait_s(remembered, now) if refusal.reason in {"Cooldown", "WeeklyLimit"} else None
        return RetrainingDecision(None, refusal, known, notices, wait_s)
    breach = waiting[0]
    start = Start(
        run_name(name, uid, breach.monitor, breach.breach_id),
        breach.monitor,
        breach.breach_id,
        report.log.labels,
    )
    return RetrainingDecision(
        start, None, _with_start(remembered, start, spec.retraining.cooldown, now), notices
    )


@dataclass(frozen=True, slots=True)
class _Breach:
    monitor: str
    breach_id: str


def _waiting_breaches(
    retraining: Retraining, remembered: RetrainingStatus, report: MonitorReportStatus | None
) -> list[_Breach]:
    """Alarms of the triggers, in their order, that have had no run yet."""
    verdicts = {v.name: v for v in report.monitors} if report else {}
    found = []
    for trigger in retraining.triggers:
        verdict = verdicts.get(trigger.monitor)
        breach_id = _breach_id(verdict)
        if breach_id and breach_id not in remembered.consumed_breaches:
            found.append(_Breach(trigger.monitor, breach_id))
    return found


def _breach_id(verdict: MonitorVerdict | None) -> str | None:
    if verdict is None or verdict.state is not MonitorState.ALARM:
        return None
    return verdict.breach_id


def _checks(
    retraining: Retraining,
    remembered: RetrainingStatus,
    report: MonitorReportStatus,
    runs: Sequence[RetrainingRun],
    rollout: RolloutStatus,
    *,
    model_is_stable: bool,
    now: datetime,
) -> tuple[Callable[[], Verdict], ...]:
    return (
        lambda: _check_not_suspended(retraining),
        lambda: _check_no_run(runs),
        lambda: _check_no_rollout(rollout, model_is_stable),
        lambda: _check_report(rollout, report),
        lambda: _check_blockers(retraining, report),
        lambda: _check_cooldown(remembered, now),
        lambda: _check_weekly_limit(retraining, remembered, now),
        lambda: _check_labels(retraining, remembered, report),
    )


def _check_not_suspended(retraining: Retraining) -> Verdict:
    return Verdict(not retraining.suspend, "Suspended", "Set retraining.suspend to false to let it run.")


def _check_no_run(runs: Sequence[RetrainingRun]) -> Verdict:
    going = next((run.metadata.name for run in runs if not run.status.phase.is_final), "")
    return Verdict(not going, "RunUnderWay", f"{going} has to end first; runs go one at a time.")


def _check_no_rollout(rollout: RolloutStatus, model_is_stable: bool) -> Verdict:
    if rollout.canary is not None or rollout.stable is None:
        return Verdict(False, "RolloutUnderWay", f"The rollout of {rollout.canary} has to end first.")
    text = (
        "The stable revision has another model than the spec: set spec.model to one that passes its rollout."
    )
    return Verdict(model_is_stable or rollout.phase is RolloutPhase.HEALTHY, "SpecNotServed", text)


def _check_report(rollout: RolloutStatus, report: MonitorReportStatus) -> Verdict:
    """An alarm about the model that was just replaced is no reason to train its successor again."""
    text = f"The alarm is about {report.revision}; the observer has yet to judge {rollout.stable}."
    return Verdict(report.revision in {None, rollout.stable}, "ReportOfOtherRevision", text)


def _check_blockers(retraining: Retraining, report: MonitorReportStatus) -> Verdict:
    alarmed = [
        v.name for v in report.monitors if v.name in retraining.block_on and v.state is MonitorState.ALARM
    ]
    text = f"In alarm: {', '.join(alarmed)}. Repair the data first; a model is not trained on it."
    return Verdict(not alarmed, "BlockedByMonitor", text)


def _check_cooldown(remembered: RetrainingStatus, now: datetime) -> Verdict:
    until = remembered.next_allowed_at
    text = f"The cooldown after the last run ends at {until:%Y-%m-%d %H:%M:%S} UTC." if until else ""
    return Verdict(until is None or now >= until, "Cooldown", text)


def _check_weekly_limit(retraining: Retraining, remembered: RetrainingStatus, now: datetime) -> Verdict:
    recent = sum(now - start < WEEK for start in remembered.recent_starts)
    limit = retraining.limits.per_week
    text = f"{recent} runs started in the last seven days; limits.perWeek is {limit}."
    return Verdict(recent < limit, "WeeklyLimit", text)


def _check_labels(
    retraining: Retraining, remembered: RetrainingStatus, report: MonitorReportStatus
) -> Verdict:
    new = report.log.labels - remembered.labels_at_last_run
    needed = retraining.limits.min_new_labels
    # No count in the message: it would change with every report.
    text = f"Fewer than {needed} labels came since the last run; send more feedback."
    return Verdict(new >= needed, "TooFewLabels", text)


def _remember(
    status: RetrainingStatus,
    runs: Sequence[RetrainingRun],
    ended: bool | None,
    retraining: Retraining | None,
    now: datetime,
) -> tuple[RetrainingStatus, tuple[Notice, ...]]:
    """Fold what the runs say into the memory, so that a lost status write starts nothing twice."""
    unsuccessful, notices = _count_unsuccessful(status, runs, ended)
    starts = {start for start in status.recent_starts if now - start < WEEK}
    started = [run.metadata.creation_timestamp for run in runs if run.metadata.creation_timestamp]
    starts |= {start for start in started if now - start < WEEK}
    breaches = list(status.consumed_breaches)
    breaches += [r.spec.trigger.breach_id for r in runs if r.spec.trigger.breach_id not in breaches]
    latest = max(
        runs, key=lambda r: (str(r.metadata.creation_timestamp or ""), r.metadata.name), default=None
    )
    last_start = max(starts, default=None)
    update: dict[str, Any] = {
        "last_run": _summary(latest) if latest else status.last_run,
        "recent_starts": tuple(sorted(starts))[-1000:],
        "unsuccessful": unsuccessful,
        "consumed_breaches": tuple(breaches[-MOST_BREACHES:]),
        "labels_at_last_run": max([status.labels_at_last_run, *(r.spec.labels_at_start for r in runs)]),
    }
    if retraining and last_start:
        update["next_allowed_at"] = last_start + timedelta(
            seconds=_cooldown_s(retraining.cooldown, unsuccessful)
        )
    return status.model_copy(update=update), notices


def _count_unsuccessful(
    status: RetrainingStatus, runs: Sequence[RetrainingRun], ended: bool | None
) -> tuple[int, tuple[Notice, ...]]:
    last = status.last_run
    now_run = next((run for run in runs if last and run.metadata.name == last.name), None)
    count = status.unsuccessful
    notices: list[Notice] = []
    if last and now_run and not last.phase.is_final and now_run.status.phase.is_final:
        text = f"{now_run.metadata.name}: {now_run.status.message or now_run.status.reason}"
        match now_run.status.phase:
            case RetrainingPhase.ACCEPTED:
                notices.append(Notice(EventReason.CANDIDATE_ACCEPTED, text))
            case RetrainingPhase.REFUSED:
                notices.append(Notice(EventReason.CANDIDATE_REFUSED, text))
                count += 1
            case _:
                notices.append(Notice(EventReason.RETRAINING_FAILED, text, is_warning=True))
                count += 1
    if ended is not None:
        count = 0 if ended else count + 1
    return count, tuple(notices)


def _summary(run: RetrainingRun) -> RunSummary:
    return RunSummary(
        name=run.metadata.name,
        phase=run.status.phase,
        reason=run.status.reason,
        message=run.status.message,
        breach_id=run.spec.trigger.breach_id,
        start_time=run.status.start_time,
        completion_time=run.status.completion_time,
    )


def _with_start(
    status: RetrainingStatus, start: Start, cooldown: Cooldown, now: datetime
) -> RetrainingStatus:
    update = {
        "last_run": RunSummary(name=start.name, phase=RetrainingPhase.PENDING, breach_id=start.breach_id),
        "consumed_breaches": (*status.consumed_breaches, start.breach_id)[-MOST_BREACHES:],
        "labels_at_last_run": start.labels,
        "next_allowed_at": now + timedelta(seconds=_cooldown_s(cooldown, status.unsuccessful)),
    }
    return status.model_copy(update=update)


def _cooldown_s(cooldown: Cooldown, unsuccessful: int) -> float:
    """Return base * backoff^unsuccessful, at most max; the exponent is capped so that it can't overflow."""
    return float(min(cooldown.max.seconds, cooldown.base.seconds * cooldown.backoff ** min(unsuccessful, 64)))


def _wait_s(remembered: RetrainingStatus, now: datetime) -> float | None:
    if remembered.next_allowed_at is None or remembered.next_allowed_at <= now:
        return None
    return (remembered.next_allowed_at - now).total_seconds()
