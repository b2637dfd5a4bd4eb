"""What a command is judged in, and what becomes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from perennial_api.modeldeployment.command_status import Command, LastCommand, Verb
from perennial_api.modeldeployment.experiment_status import ExperimentPhase, ExperimentStatus
from perennial_api.modeldeployment.gate_status import Evidence, GateDecision
from perennial_api.modeldeployment.rollout import Rollout
from perennial_api.modeldeployment.status import RolloutStatus

from perennial.rollout.decision import EventReason, Notice
from perennial.rollout.observed import RevisionView
from perennial.rollout.road import Progress

__all__ = ["Answer", "Situation", "accept", "refuse", "refuse_unreadable", "to_evidence"]


@dataclass(frozen=True, slots=True)
class Situation:
    """The state of things that a command meets.

    Attributes
    ----------
    deployment
        Name of the ModelDeployment, for messages.
    rollout
        `status.rollout`, restored.
    experiment
        `status.experiment`.
    """

    deployment: str
    spec: Rollout
    rollout: RolloutStatus
    revisions: Mapping[str, RevisionView]
    experiment: ExperimentStatus | None
    now: datetime

    @property
    def is_experimenting(self) -> bool:
        """Whether an experiment runs, or waits for its pods."""
        return self.experiment is not None and self.experiment.phase is not ExperimentPhase.ENDED


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of a command.

    Attributes
    ----------
    last_command
        For the status; a command is answered once.
    rollout
        The rollout after it, with an outcome where the command ended it; None where it changes none.
    experiment
        The command, where it is for the experiment.
    undone_to
        The revision that stands for the wish from now on, after an undo.
    """

    last_command: LastCommand
    notices: tuple[Notice, ...] = ()
    rollout: Progress | None = None
    experiment: Command | None = None
    undone_to: str | None = None


def accept(command: Command, reason: str, message: str, now: datetime) -> Answer:
    """Say that a command is carried out; the caller adds what changes by it."""
    return _answer(command, reason, message, now, accepted=True)


def refuse(command: Command, reason: str, message: str, now: datetime) -> Answer:
    """Say why a command isn't carried out, and what to do."""
    return _answer(command, reason, message, now, accepted=False)


def refuse_unreadable(command_id: str, why: str, now: datetime) -> Answer:
    """Refuse what isn't a command at all."""
    said = LastCommand(id=command_id, accepted=False, reason="InvalidCommand", message=why, time=now)
    return Answer(said, (Notice(EventReason.COMMAND_REFUSED, why, is_warning=True),))


def _answer(command: Command, reason: str, message: str, now: datetime, *, accepted: bool) -> Answer:
    told = EventReason.COMMAND_ACCEPTED if accepted else EventReason.COMMAND_REFUSED
    notice = Notice(told, f"{command.verb.value}: {message}", is_warning=not accepted)
    said = LastCommand(
        id=command.id, verb=command.verb, accepted=accepted, reason=reason, message=message, time=now
    )
    return Answer(said, (notice,))


def to_evidence(command: Command, situation: Situation, reason: str, message: str) -> Evidence:
    """Note a person's decision beside the gate's, so that the revision can tell why it was promoted or rolled back."""
    decisions = {Verb.PROMOTE: GateDecision.SUCCESSFUL, Verb.ABORT: GateDecision.FAILED}
    return Evidence(
        time=situation.now,
        metric="command",
        step_index=situation.rollout.step_index,
        decision=decisions.get(command.verb, GateDecision.INCONCLUSIVE),
        reason=reason,
        message=message,
    )
