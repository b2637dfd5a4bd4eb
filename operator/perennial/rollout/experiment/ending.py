"""How an experiment ends: the report stays in status until `spec.experiment` changes."""

from datetime import datetime
from enum import StrEnum

from perennial_api.modeldeployment.experiment_status import (
    ArmStatus,
    ExperimentPhase,
    ExperimentStatus,
    VariantState,
)
from perennial_api.types import clip_message

from perennial.rollout.decision import EventReason, Notice, Outcome
from perennial.rollout.experiment.arms import variants_of
from perennial.rollout.experiment.facts import STABLE, ExperimentDecision
from perennial.rollout.experiment.shares import FULL_PERCENT

__all__ = ["EndReason", "end", "promoted_revision"]


class EndReason(StrEnum):
    """Why an experiment ended; stands in `status.experiment.reason`."""

    WINNER = "Winner"  # the rule found a variant to be better
    STABLE_IS_BEST = "StableIsBest"  # a bandit's stopAt was reached by the stable revision
    NO_WINNER = "NoWinner"  # maxDuration came before the rule was met
    MAX_DURATION = "MaxDuration"  # there was no rule but maxDuration
    NO_SAFE_VARIANT = "NoSafeVariant"  # the gate failed every variant
    ABORTED = "Aborted"  # somebody said abort
    PROMOTED = "Promoted"  # somebody said promote --variant
    REMOVED = "Removed"  # spec.experiment was removed


def end(
    status: ExperimentStatus,
    reason: EndReason,
    message: str,
    now: datetime,
    *,
    winner: str | None = None,
    promote: bool = False,
) -> ExperimentDecision:
    """End an experiment: all weight back to stable at once, and each variant told why."""
    ended = status.model_copy(
        update={
            "phase": ExperimentPhase.ENDED,
            "reason": reason.value,
            "message": clip_message(message),
            "ended_at": now,
            "winner": winner,
            "promote": promote and winner not in {None, STABLE},
            "routers": (),
            "arms": tuple(_end_arm(arm) for arm in status.arms),
        }
    )
    outcomes = tuple(
        Outcome(arm.revision, reason.value, message)
        for arm in variants_of(status)
        if arm.revision and arm.state is not VariantState.UNSAFE
    )
    is_warning = reason is EndReason.NO_SAFE_VARIANT
    return ExperimentDecision(
        ended,
        notices=(Notice(EventReason.EXPERIMENT_ENDED, f"{reason.value}: {message}", is_warning),),
        outcomes=outcomes,
    )


def _end_arm(arm: ArmStatus) -> ArmStatus:
    return arm.model_copy(
        update={
            "state": arm.state if arm.state is VariantState.UNSAFE else VariantState.ENDED,
            "weight_percent": FULL_PERCENT if arm.name == STABLE else 0,
            "serving_since": None,
            "mark": None,
            "gate": arm.gate.model_copy(update={"routers": (), "arms": ()}) if arm.gate else None,
        }
    )


def promoted_revision(status: ExperimentStatus | None) -> str | None:
    """Return the revision that the end of an experiment has put in the place of the spec's, if one did."""
    if status is None or status.phase is not ExperimentPhase.ENDED or not status.promote:
        return None
    return next((arm.revision for arm in status.arms if arm.name == status.winner), None)
