"""Judge a command: one function per verb."""

from collections.abc import Callable
from dataclasses import replace

from perennial_api.modeldeployment.command_status import Command, Verb
from perennial_api.modeldeployment.status import RolloutPhase

from perennial.rollout.decision import EventReason, Notice, StepState
from perennial.rollout.road import Progress
from perennial.rollout.road.endings import roll_back
from perennial.rollout.verbs.answer import Answer, Situation, accept, refuse, to_evidence
from perennial.rollout.verbs.promote import promote
from perennial.rollout.verbs.undo import undo

__all__ = ["assess_command"]


def assess_command(command: Command, situation: Situation) -> Answer:
    """Return what becomes of a command in this situation."""
    judge: Callable[[Command, Situation], Answer]
    match command.verb:
        case Verb.PROMOTE:
            judge = promote
        case Verb.ABORT:
            judge = _abort
        case Verb.RETRY:
            judge = _retry
        case Verb.PAUSE:
            judge = _pause
        case Verb.RESUME:
            judge = _resume
        case Verb.UNDO:
            judge = undo
    return judge(command, situation)


def _abort(command: Command, situation: Situation) -> Answer:
    rollout, now = situation.rollout, situation.now
    waits = rollout.step_state == StepState.WAITING_FOR_EXPERIMENT
    is_meant = situation.is_experimenting and command.revision in {None, rollout.canary}
    if is_meant and (waits or rollout.canary is None):
        # What runs is the experiment; the rollout that waits for it has nothing to take back.
        answer = accept(command, "ExperimentAborted", "The experiment ends.", now)
        return replace(answer, experiment=command)
    if rollout.canary is None:
        text = "Nothing is on trial, so there is nothing to abort."
        if rollout.stable is not None:
            text += f" To leave {rollout.stable}, say undo."
        return refuse(command, "NothingOnTrial", text, now)
    if refusal := _refuse_other_revision(command, situation):
        return refusal
    if rollout.stable is None:
        text = f"{rollout.canary} is the first revision, there is nothing to go back to: edit or delete the deployment."
        return refuse(command, "NoStableRevision", text, now)
    text = f"{rollout.canary} was aborted by command."
    found = to_evidence(command, situation, "Aborted", text)
    answer = accept(
        command, "Aborted", f"{text} It isn't tried again until somebody says retry or edits the spec.", now
    )
    return replace(answer, rollout=roll_back(Progress(rollout), "Aborted", text, (found,)))


def _retry(command: Command, situation: Situation) -> Answer:
    rollout, now = situation.rollout, situation.now
    failed = rollout.failed_revision
    if failed is None or rollout.canary is not None or failed not in situation.revisions:
        text = "No revision has failed or was aborted, so there is nothing to retry."
        if rollout.canary is not None:
            text = f"The rollout of {rollout.canary} is under way: abort it first, or let it go on."
        return refuse(command, "NothingToRetry", text, now)
    if command.revision not in {None, failed}:
        text = f"{failed} is what failed, not {command.revision}: name that, or none."
        return refuse(command, "OtherRevision", text, now)
    text = f"{failed} gets another attempt."
    cleared = Progress(rollout).then(failed_revision=None, phase=RolloutPhase.PROGRESSING, message=text)
    return replace(accept(command, "Retried", text, now), rollout=cleared)


def _pause(command: Command, situation: Situation) -> Answer:
    rollout, now = situation.rollout, situation.now
    if refusal := _refuse_without_steps(command, situation):
        return refusal
    if rollout.held:
        text = f"The rollout of {rollout.canary} is held already; to let it go on, say resume."
        return refuse(command, "AlreadyHeld", text, now)
    text = f"The rollout of {rollout.canary} is held: kubectl perennial resume {situation.deployment}"
    held = Progress(rollout).then(
        Notice(EventReason.ROLLOUT_PAUSED, text), held=True, phase=RolloutPhase.PAUSED, message=text
    )
    return replace(accept(command, "Held", f"{text}. A failing gate still rolls it back.", now), rollout=held)


def _resume(command: Command, situation: Situation) -> Answer:
    rollout, now = situation.rollout, situation.now
    if refusal := _refuse_without_steps(command, situation):
        return refusal
    if not rollout.held:
        text = f"The rollout of {rollout.canary} isn't held."
        if rollout.phase is RolloutPhase.PAUSED:
            text += " It waits at a step: say promote."
        return refuse(command, "NotHeld", text, now)
    text = f"The rollout of {rollout.canary} goes on."
    # The time that it was held counts against no deadline.
    going = Progress(rollout).then(
        Notice(EventReason.ROLLOUT_RESUMED, text), held=False, progressed_at=now, message=text
    )
    return replace(accept(command, "Resumed", text, now), rollout=going)


def _refuse_other_revision(command: Command, situation: Situation) -> Answer | None:
    canary = situation.rollout.canary
    if command.revision in {None, canary}:
        return None
    text = f"{command.revision} is no longer on trial, {canary} is: look again and name that."
    return refuse(command, "OtherRevision", text, situation.now)


def _refuse_without_steps(command: Command, situation: Situation) -> Answer | None:
    """Pause and resume are about steps: there are none but in a rollout beside a stable revision."""
    rollout, now = situation.rollout, situation.now
    if rollout.canary is None:
        return refuse(command, "NothingOnTrial", "Nothing is on trial, so no step is taken.", now)
    if rollout.stable is None:
        text = f"{rollout.canary} is the first revision and takes no steps: it serves as soon as it is ready."
        return refuse(command, "FirstRevision", text, now)
    if rollout.step_state == StepState.WAITING_FOR_EXPERIMENT:
        text = f"{rollout.canary} takes no step before the experiment has ended."
        return refuse(command, "WaitingForExperiment", text, now)
    return _refuse_other_revision(command, situation)
