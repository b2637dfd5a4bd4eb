"""Judge whether a rollout has come to its end, and how."""

from __future__ import annotations

from dataclasses import dataclass

from perennial_api import ModelDeployment
from perennial_api.conditions import Condition, ConditionStatus
from perennial_api.labels import ConditionType
from perennial_api.modeldeployment.status import RolloutPhase, RolloutStatus

__all__ = ["Ending", "assess_ending"]

_UNDER_WAY = (RolloutPhase.PROGRESSING, RolloutPhase.PAUSED)


@dataclass(frozen=True, slots=True)
class Ending:
    """How far a rollout is.

    Attributes
    ----------
    is_good
        Whether it ended well; None while it goes on.
    message
        A sentence about it.
    """

    is_good: bool | None
    message: str


def assess_ending(deployment: ModelDeployment) -> Ending:
    """Say whether what the spec asks for now serves, has failed, or is under way."""
    metadata, status = deployment.metadata, deployment.status
    invalid = _find(deployment, ConditionType.INVALID_SPEC)
    if status.observed_generation < metadata.generation:
        return Ending(None, "The operator has not seen the latest edit of the spec yet.")
    if invalid and invalid.status is ConditionStatus.TRUE:
        return Ending(False, f"The spec is refused: {invalid.message}")
    if status.rollout is None:
        return Ending(None, "The operator has not begun yet.")
    return _assess_rollout(status.rollout, _find(deployment, ConditionType.READY))


def _assess_rollout(rollout: RolloutStatus, ready: Condition | None) -> Ending:
    if rollout.canary is not None or rollout.phase in _UNDER_WAY:
        place = f"{rollout.canary or 'The rollout'} is {rollout.phase.value}, {rollout.step_state}"
        return Ending(None, f"{place}. {rollout.message}".rstrip())
    if rollout.phase is RolloutPhase.DEGRADED:
        return Ending(False, rollout.message or f"{rollout.failed_revision} was rolled back.")
    if ready is None or ready.status is not ConditionStatus.TRUE:
        return Ending(None, ready.message if ready else "The stable revision is not ready yet.")
    return Ending(True, f"{rollout.stable} is stable and answers.")


def _find(deployment: ModelDeployment, kind: ConditionType) -> Condition | None:
    return next((c for c in deployment.status.conditions if c.type == kind.value), None)
