"""The verb undo: back to a revision that was stable before, at once."""

from dataclasses import replace

from perennial_api.modeldeployment.command_status import Command
from perennial_api.modelrevision import RevisionRole

from perennial.rollout.observed import RevisionView
from perennial.rollout.road import Progress
from perennial.rollout.verbs.answer import Answer, Situation, accept, refuse, to_evidence

__all__ = ["undo"]


def undo(command: Command, situation: Situation) -> Answer:
    """Judge an undo. The revision is good by what it has shown: it goes to all traffic as soon as its pods are ready."""
    rollout, now = situation.rollout, situation.now
    if rollout.stable is None:
        text = "There is no stable revision yet, so there is nothing to undo."
        return refuse(command, "NoStableRevision", text, now)
    if situation.is_experimenting:
        text = "An experiment compares with the stable revision: end it first, by abort or by removing spec.experiment."
        return refuse(command, "Experimenting", text, now)
    chosen = _choose(command, situation)
    if chosen is None:
        if command.revision is None:
            text = (
                f"No revision that was stable before {rollout.stable} is kept: put its model into spec.model."
            )
        else:
            text = f"There is no revision {command.revision}: see kubectl perennial history {situation.deployment}"
        return refuse(command, "UnknownRevision", text, now)
    if refusal := _refuse_revision(command, situation, chosen):
        return refusal
    text = (
        f"{chosen.name} gets all traffic as soon as its pods are ready, and holds until spec.model changes."
    )
    found = to_evidence(
        command, situation, "UndoneByCommand", f"Asked for by command, in the place of {rollout.stable}."
    )
    pinned = Progress(rollout).with_evidence(found).then(pinned=chosen.name)
    return replace(accept(command, "Undone", text, now), rollout=pinned, undone_to=chosen.name)


def _choose(command: Command, situation: Situation) -> RevisionView | None:
    if command.revision is not None:
        return situation.revisions.get(command.revision)
    # One that isn't on trial and is marked so was chosen by a pass whose last write is lost.
    before = [
        r
        for r in situation.revisions.values()
        if r.stable_at is not None
        and r.role in {RevisionRole.RETIRED, RevisionRole.CANARY}
        and r.name not in {situation.rollout.stable, situation.rollout.canary}
    ]
    return max(before, key=lambda r: (str(r.stable_at), r.name), default=None)


def _refuse_revision(command: Command, situation: Situation, chosen: RevisionView) -> Answer | None:
    rollout, now = situation.rollout, situation.now
    if chosen.name == rollout.stable:
        text = f"{chosen.name} is stable already."
        if rollout.canary is not None:
            text += f" To end the rollout of {rollout.canary}, say abort."
        return refuse(command, "AlreadyStable", text, now)
    if chosen.name == rollout.canary:
        text = f"{chosen.name} is on trial: to give it all traffic now, promote it with --full."
        return refuse(command, "OnTrial", text, now)
    if chosen.role is RevisionRole.FAILED or chosen.name == rollout.failed_revision:
        text = (
            f"{chosen.name} was rolled back: say retry to give it another attempt, or name another revision."
        )
        return refuse(command, "Failed", text, now)
    if chosen.stable_at is None:
        text = f"{chosen.name} never was stable: put its model into spec.model, so that it takes the rollout's road."
        return refuse(command, "NeverStable", text, now)
    return None
