"""The verb promote: on from a step, to the end, or the variant of an experiment."""

from dataclasses import replace

from perennial_api.modeldeployment.command_status import Command
from perennial_api.modeldeployment.status import RolloutPhase

from perennial.rollout.decision import StepState
from perennial.rollout.experiment import assess_promotion
from perennial.rollout.road import Progress, SetWeight, build_road
from perennial.rollout.road.walk import advance, shift
from perennial.rollout.verbs.answer import Answer, Situation, accept, refuse, to_evidence

__all__ = ["promote"]

# What no promotion of a single step can make up for.
_NOT_UP_TO_PEOPLE = {
    StepState.WAITING_FOR_EXPERIMENT: "the experiment must end first: say abort or remove spec.experiment",
    StepState.WAITING_FOR_PODS: "its pods must be ready first: see kubectl get pods",
    StepState.WAITING_FOR_CAPACITY: "more of its pods must be ready first: see kubectl get pods",
    StepState.WARMING_UP: "its latency is being measured first: wait, or promote with --full",
    StepState.SHIFTING: "the routers are applying its weight: wait a moment and promote again",
}


def promote(command: Command, situation: Situation) -> Answer:
    """Judge a promotion."""
    if command.variant is not None:
        return _promote_variant(command, situation)
    return _refuse(command, situation) or _promote_revision(command, situation)


def _promote_variant(command: Command, situation: Situation) -> Answer:
    """The experiment decides what follows; here only whether it may."""
    verdict = assess_promotion(command.variant, situation.experiment)
    if not verdict.passed:
        return refuse(command, verdict.reason, verdict.message, situation.now)
    return replace(accept(command, verdict.reason, verdict.message, situation.now), experiment=command)


def _refuse(command: Command, situation: Situation) -> Answer | None:
    for check in (_check_trial, _check_seen, _check_state):
        found = check(command, situation)
        if found is not None:
            return refuse(command, *found, situation.now)
    return None


def _check_trial(_: Command, situation: Situation) -> tuple[str, str] | None:
    """Whether anything is on trial that a promotion could help on."""
    rollout = situation.rollout
    if rollout.canary is None:
        text = "Nothing is on trial, so there is nothing to promote."
        if rollout.failed_revision is not None:
            text = f"{rollout.failed_revision} was rolled back: say retry to give it another attempt."
        return "NothingOnTrial", text
    if rollout.stable is None:
        text = f"{rollout.canary} is the first revision: it serves as soon as it is ready, without promotion."
        return "FirstRevision", text
    return None


def _check_seen(command: Command, situation: Situation) -> tuple[str, str] | None:
    """Whether things still are as the person saw them."""
    rollout = situation.rollout
    if command.revision not in {None, rollout.canary}:
        text = f"{command.revision} is no longer on trial, {rollout.canary} is: look again and name that."
        return "OtherRevision", text
    if command.step_index not in {None, rollout.step_index}:
        text = f"The rollout is at step {rollout.step_index}, not {command.step_index}: look again and name that."
        return "OtherStep", text
    return None


def _check_state(command: Command, situation: Situation) -> tuple[str, str] | None:
    """Whether the step waits for something that a person can decide."""
    rollout = situation.rollout
    waits_for_experiment = rollout.step_state == StepState.WAITING_FOR_EXPERIMENT
    if rollout.step_state in _NOT_UP_TO_PEOPLE and (not command.full or waits_for_experiment):
        why = _NOT_UP_TO_PEOPLE[StepState(rollout.step_state)]
        return rollout.step_state, f"{rollout.canary} can't be promoted now: {why}."
    if rollout.held and not command.full:
        return "Held", f"The rollout of {rollout.canary} is held: say resume first, or promote with --full."
    return None


def _promote_revision(command: Command, situation: Situation) -> Answer:
    rollout, now = situation.rollout, situation.now
    if command.full:
        text = f"{rollout.canary} is promoted by command past all steps and gates."
    else:
        text = f"Step {rollout.step_index} of {rollout.canary} was ended by command."
    found = to_evidence(command, situation, "PromotedByCommand", f"Promoted by command. {text}")
    at = Progress(rollout).with_evidence(found).then(phase=RolloutPhase.PROGRESSING)
    at = (
        at.then(promoted_fully=True, held=False, message=text, progressed_at=now)
        if command.full
        else _end_step(at, situation)
    )
    return replace(accept(command, "Promoted", text, now), rollout=at)


def _end_step(at: Progress, situation: Situation) -> Progress:
    """End the present step as if what it waits for had come."""
    road = build_road(situation.spec, at.rollout)
    at = at.then(step_index=min(at.rollout.step_index, len(road.steps) - 1))
    here = at.here(road)
    if isinstance(here, SetWeight):
        return shift(at, here.weight_percent, situation.now)
    return advance(road, at, situation.now)[0]
