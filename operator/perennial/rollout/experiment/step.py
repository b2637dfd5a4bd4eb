"""The experiment's state machine: one pure function from what is and what should be to what happens next.

Waiting (for a rollout to end, or for pods) → Running → Ended. Every timer is a timestamp in the status and every share
a function of status, spec and readiness, so that whoever runs the next pass comes to the same decision. The way back
to the stable revision never waits for anything.
"""

from datetime import datetime, timedelta

from perennial_api.modeldeployment.command_status import Command, Verb
from perennial_api.modeldeployment.experiment import Experiment
from perennial_api.modeldeployment.experiment_status import ExperimentPhase, ExperimentStatus

from perennial.rollout.decision import EventReason, Notice
from perennial.rollout.experiment.arms import (
    VARIANT_NOT_READY,
    is_failing,
    say_how_arms_stand,
    settle_arms,
    variants_of,
    waiting_for,
    with_shares,
)
from perennial.rollout.experiment.attempt import begin, hash_experiment, is_about, is_under_way
from perennial.rollout.experiment.commands import assess_promotion
from perennial.rollout.experiment.ending import EndReason, end
from perennial.rollout.experiment.facts import ExperimentDecision, ExperimentFacts
from perennial.rollout.experiment.plan import build_plan
from perennial.rollout.experiment.run import run

__all__ = ["step_experiment"]


def step_experiment(
    spec: Experiment | None, status: ExperimentStatus | None, facts: ExperimentFacts, now: datetime
) -> ExperimentDecision:
    """Decide what the experiment does now.

    Parameters
    ----------
    spec
        `spec.experiment`; None where there is none, or none any more.
    status
        `status.experiment` as the last pass left it, or None.
    """
    if spec is None:
        return _remove(status, now)
    notices: tuple[Notice, ...] = ()
    if status is None or not is_about(status, spec, facts.stable):
        notices = _begin_notices(status, spec, facts)
        status = begin(spec, status, facts)
    if not is_under_way(status):
        return ExperimentDecision(status, notices=notices)
    decision = _step(spec, status, facts, now)
    return _told_before(decision, notices)


def _told_before(decision: ExperimentDecision, notices: tuple[Notice, ...]) -> ExperimentDecision:
    return ExperimentDecision(
        decision.status,
        decision.plan,
        (*notices, *decision.notices),
        decision.outcomes,
        decision.requeue_after_s,
    )


def _remove(status: ExperimentStatus | None, now: datetime) -> ExperimentDecision:
    if status is None or not is_under_way(status):
        return ExperimentDecision(status)
    text = "spec.experiment was removed; the stable revision has all traffic again."
    return end(status, EndReason.REMOVED, text, now)


def _begin_notices(
    previous: ExperimentStatus | None, spec: Experiment, facts: ExperimentFacts
) -> tuple[Notice, ...]:
    if previous is None or not is_under_way(previous):
        return ()
    edited = previous.spec_hash != hash_experiment(spec)
    why = "spec.experiment was edited" if edited else f"{facts.stable} is the stable revision now"
    text = f"Superseded: {why}; the experiment starts anew and splits the clients anew."
    return (Notice(EventReason.EXPERIMENT_ENDED, text),)


def _step(
    spec: Experiment, status: ExperimentStatus, facts: ExperimentFacts, now: datetime
) -> ExperimentDecision:
    if facts.stable is None:
        return ExperimentDecision(_waiting(status, "NoStableRevision", "Waiting for the first revision."))
    if facts.rollout_under_way and status.phase is ExperimentPhase.WAITING:
        text = "Waiting for the rollout under way to end."
        return ExperimentDecision(_waiting(status, "RolloutUnderWay", text))
    status = settle_arms(status.model_copy(update={"requested_at": status.requested_at or now}), facts)
    if facts.command is not None and (decision := _obey(facts.command, status, now)):
        return decision
    if status.phase is ExperimentPhase.RUNNING:
        return run(spec, status, facts, now)
    return _start(spec, status, facts, now)


def _waiting(status: ExperimentStatus, reason: str, message: str) -> ExperimentStatus:
    update = {"reason": reason, "message": message, "requested_at": None}
    return status.model_copy(update=update)


def _obey(command: Command, status: ExperimentStatus, now: datetime) -> ExperimentDecision | None:
    """Carry out a verb, or do nothing where the state of things has moved on since it was answered."""
    if command.verb is Verb.ABORT:
        text = "Somebody aborted it; the stable revision has all traffic again."
        return end(status, EndReason.ABORTED, text, now)
    if not assess_promotion(command.variant, status).passed:
        return None
    text = f"Somebody promoted {command.variant}."
    return end(status, EndReason.PROMOTED, text, now, winner=command.variant, promote=True)


def _start(
    spec: Experiment, status: ExperimentStatus, facts: ExperimentFacts, now: datetime
) -> ExperimentDecision:
    """Begin once all variants are ready, or as soon as waiting for the others is vain.

    A variant that came in later would take clients from the stable revision in the middle of the experiment.
    """
    variants, waiting = variants_of(status), waiting_for(status)
    is_vain = all(is_failing(arm, facts) for arm in waiting)
    due = (status.requested_at or now) + timedelta(seconds=facts.analysis.progress_deadline.seconds)
    if len(waiting) < len(variants) and (is_vain or now >= due):
        begun = status.model_copy(update={"phase": ExperimentPhase.RUNNING, "started_at": now})
        names = ", ".join(arm.name for arm in variants if arm not in waiting)
        notice = Notice(EventReason.EXPERIMENT_STARTED, f"Beside {facts.stable} begins: {names}.")
        return _told_before(run(spec, begun, facts, now), (notice,))
    reason = VARIANT_NOT_READY if is_vain or now >= due else "WaitingForPods"
    text = f"Waiting for the pods of {', '.join(arm.name for arm in waiting)}."
    status, notices = say_how_arms_stand(with_shares(spec, status, now), reason, text)
    wait_s = (due - now).total_seconds() if now < due else None
    return ExperimentDecision(status, build_plan(spec, status, facts), notices, requeue_after_s=wait_s)
