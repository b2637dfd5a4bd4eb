"""One judged window into a monitor's memory. Pure; ``looks`` stores the result."""

from perennial_api.modeldeployment.monitoring import MonitorSettings
from perennial_api.monitorreport import MonitorState

from perennial_observer.monitors.alarms.rule import AlarmRule, AlarmState, step_alarm
from perennial_observer.monitors.alarms.verdicts import Assessment, Memory
from perennial_observer.store.reads import Position

__all__ = ["step"]


def step(
    memory: Memory,
    settings: MonitorSettings,
    assessment: Assessment,
    *,
    first: Position,
    last: Position,
    name: str,
    now: float,
) -> Memory:
    """Advance past the window from `first` to `last`.

    Parameters
    ----------
    name
        ``<monitor>/<uid>/<revision>``, which breach ids are made of.
    """
    alarm = memory.alarm
    if assessment.breached is not None:
        rule = AlarmRule(settings.alarm.breaches, settings.alarm.of, settings.clear.consecutive)
        alarm = step_alarm(
            alarm, rule, window_start=first.event_time, breached=assessment.breached, name=name
        )
    state, reason, message = _conclude(memory, assessment, alarm)
    return Memory(
        revision=memory.revision,
        spec_digest=memory.spec_digest,
        alarm=alarm,
        cursor=last,
        state=state,
        reason=reason,
        message=message,
        last_transition=memory.last_transition if state is memory.state else now,
        latest=assessment,
        window_start=first.event_time,
        window_end=last.event_time,
        evaluated_at=now,
        silent_since=memory.silent_since,
        # What is known of a breach is kept in mind for as long as the alarm stands.
        explanation=memory.explanation if state is MonitorState.ALARM else "",
        severity=memory.severity,
        tally=memory.tally.count(assessment),
        window_every_s=memory.window_every_s if settings.window_every_s is None else settings.window_every_s,
        rejected_until=memory.rejected_until
        if assessment.rejected_until is None
        else assessment.rejected_until,
    )


def _conclude(memory: Memory, assessment: Assessment, alarm: AlarmState) -> tuple[MonitorState, str, str]:
    if alarm.breach_id is not None:
        if assessment.breached is None:
            return (
                MonitorState.ALARM,
                memory.reason,
                f"still in alarm; the latest window: {assessment.message}",
            )
        if not assessment.breached:
            return (
                MonitorState.ALARM,
                "Clearing",
                f"in alarm until enough windows are quiet; {assessment.message}",
            )
        return MonitorState.ALARM, assessment.reason, assessment.message
    if assessment.failed:
        return MonitorState.ERROR, assessment.reason, assessment.message
    if assessment.breached is None:
        return MonitorState.INSUFFICIENT, assessment.reason, assessment.message
    state = MonitorState.WARNING if assessment.breached else MonitorState.OK
    return state, assessment.reason, assessment.message
