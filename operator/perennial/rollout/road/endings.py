"""How a rollout ends: promoted, rolled back, or called off."""

from datetime import datetime
from typing import Any

from perennial_api.modeldeployment.gate_status import Evidence, Gate
from perennial_api.modeldeployment.status import RolloutPhase, RolloutStatus

from perennial.rollout.decision import EventReason, Notice, Outcome, StepState
from perennial.rollout.road.progress import Progress

__all__ = ["call_off", "promote", "roll_back"]

# What a rollout that ended leaves nothing of.
_OVER: dict[str, Any] = {"canary": None, "held": False, "promoted_fully": False, "steps_hash": ""}


def promote(at: Progress, now: datetime) -> Progress:
    """Make the revision on trial the stable one. A change of role only: the same pods go on serving."""
    rollout = at.rollout
    mine = _evidence_of(rollout)
    text = f"{rollout.canary} replaces {rollout.stable} as the stable revision."
    ended = at.then(
        Notice(EventReason.PROMOTED, text),
        **_OVER,
        phase=RolloutPhase.HEALTHY,
        message=f"{rollout.canary} is stable.",
        stable=rollout.canary,
        step_state=StepState.COMPLETED,
        progressed_at=now,
        failed_revision=None,
        gate=_without_marks(rollout.gate),
    )
    reason, why = (mine[-1].reason, mine[-1].message) if mine else ("Promoted", text)
    return Progress(ended.rollout, ended.notices, Outcome(rollout.canary or "", reason, why, mine))


def roll_back(at: Progress, reason: str, why: str, evidence: tuple[Evidence, ...] = ()) -> Progress:
    """Give the stable revision everything back and don't try this revision again by itself."""
    if at.rollout.pinned is not None:
        return call_off(at, reason, why, evidence)
    at = at.with_evidence(*evidence)
    rollout = at.rollout
    text = f"{rollout.canary} was rolled back to {rollout.stable}: {why}"
    ended = at.then(
        Notice(EventReason.ROLLED_BACK, text, is_warning=True),
        **_OVER,
        phase=RolloutPhase.DEGRADED,
        message=text,
        step_state=StepState.ROLLED_BACK,
        failed_revision=rollout.canary,
        gate=_without_marks(rollout.gate),
    )
    outcome = Outcome(rollout.canary or "", reason, why, _evidence_of(rollout))
    return Progress(ended.rollout, ended.notices, outcome)


def call_off(at: Progress, reason: str, why: str, evidence: tuple[Evidence, ...] = ()) -> Progress:
    """End an undo that could not be completed. The revision was good once and may be asked for again."""
    at = at.with_evidence(*evidence)
    rollout = at.rollout
    text = f"The undo to {rollout.canary} was called off, {rollout.stable} keeps the traffic: {why}"
    ended = at.then(
        Notice(EventReason.ROLLED_BACK, text, is_warning=True),
        **_OVER,
        pinned=None,
        phase=RolloutPhase.DEGRADED,
        message=text,
        step_state=StepState.ROLLED_BACK,
        gate=_without_marks(rollout.gate),
    )
    outcome = Outcome(rollout.canary or "", reason, why, _evidence_of(rollout))
    return Progress(ended.rollout, ended.notices, outcome)


def _evidence_of(rollout: RolloutStatus) -> tuple[Evidence, ...]:
    """Return what this rollout's decisions were made on."""
    began = rollout.started_at
    return tuple(e for e in rollout.evidence if began is None or e.time >= began)


def _without_marks(gate: Gate | None) -> Gate | None:
    return gate.model_copy(update={"routers": (), "arms": ()}) if gate else None
