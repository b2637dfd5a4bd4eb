"""Which arms take part, and with which share: a function of spec, status and readiness.

No share without ready pods: a variant that isn't ready costs nothing, its share stays with the stable revision, and
the others run. Positions are kept all the while, so that nobody else changes side.
"""

from datetime import datetime

from perennial_api.modeldeployment.experiment import Experiment
from perennial_api.modeldeployment.experiment_status import (
    ArmStatus,
    ExperimentPhase,
    ExperimentStatus,
    VariantState,
)
from perennial_api.types import clip_message

from perennial.rollout.decision import EventReason, Notice
from perennial.rollout.experiment.facts import STABLE, ExperimentFacts
from perennial.rollout.experiment.shares import FULL_PERCENT

__all__ = [
    "VARIANT_NOT_READY",
    "is_failing",
    "say_how_arms_stand",
    "settle_arms",
    "variants_of",
    "waiting_for",
    "with_shares",
]

UNSCHEDULABLE = "Unschedulable"
VARIANT_NOT_READY = "VariantNotReady"
"""Reason of the condition while a variant has no ready pods although the others run, or waiting for it is vain."""


def variants_of(status: ExperimentStatus) -> tuple[ArmStatus, ...]:
    """Return the arms that are no stable one."""
    return tuple(arm for arm in status.arms if arm.name != STABLE)


def waiting_for(status: ExperimentStatus) -> tuple[ArmStatus, ...]:
    """Return the variants that have no ready pods."""
    return tuple(arm for arm in variants_of(status) if arm.state is VariantState.WAITING_FOR_PODS)


def is_failing(arm: ArmStatus, facts: ExperimentFacts) -> bool:
    """Whether something is known to keep a variant from becoming ready, so that waiting for it is vain.

    A pod that finds no node yet may get one from a cluster that grows.
    """
    view = facts.observed.revisions.get(arm.revision or "")
    if view is None:
        return facts.problem is not None
    return view.failure is not None and view.failure.reason != UNSCHEDULABLE


def settle_arms(status: ExperimentStatus, facts: ExperimentFacts) -> ExperimentStatus:
    """Say of each arm which revision it is and whether it is ready; one that was found unsafe stays so."""
    arms = tuple(_settle(arm, facts) for arm in status.arms)
    return status.model_copy(update={"stable": facts.stable, "arms": arms})


def _settle(arm: ArmStatus, facts: ExperimentFacts) -> ArmStatus:
    if arm.name == STABLE:
        return arm.model_copy(update={"revision": facts.stable})
    if arm.state is VariantState.UNSAFE:
        return arm
    revision = facts.variants.get(arm.name, arm.revision)
    arm = arm.model_copy(update={"revision": revision})
    # All pods to begin with, since they must carry the share; one of them to go on with it.
    begun = arm.serving_since is not None
    observed = facts.observed
    if observed.ready_endpoints(revision) > 0 and (begun or observed.has_needed(revision or "")):
        return arm.model_copy(update={"state": VariantState.RUNNING, "message": ""})
    return arm.model_copy(
        update={
            "state": VariantState.WAITING_FOR_PODS,
            "serving_since": None,
            "message": _why_not_ready(arm, facts),
        }
    )


def _why_not_ready(arm: ArmStatus, facts: ExperimentFacts) -> str:
    view = facts.observed.revisions.get(arm.revision or "")
    if view is None:
        return ": ".join(facts.problem) if facts.problem else "Its revision is being made."
    if view.failure is None:
        return f"Waiting for the pods of {arm.revision}."
    return f"{view.failure.reason}: {view.failure.message or 'see the log of its pods.'}"


def with_shares(spec: Experiment, status: ExperimentStatus, now: datetime) -> ExperimentStatus:
    """Give each arm its share of now: what the spec or the bandit says if it runs, else none; stable has the rest."""
    fixed = {variant.name: variant.weight or 0 for variant in spec.variants}
    begun = status.phase is ExperimentPhase.RUNNING
    arms = []
    for arm in variants_of(status):
        runs = begun and arm.state is VariantState.RUNNING
        share = arm.weight_percent if spec.bandit else fixed[arm.name]
        update = {
            "weight_percent": share if runs else 0,
            "serving_since": (arm.serving_since or now) if runs else None,
        }
        arms.append(arm.model_copy(update=update))
    rest = FULL_PERCENT - sum(arm.weight_percent for arm in arms)
    stable = status.arms[0].model_copy(update={"weight_percent": rest, "serving_since": status.started_at})
    return status.model_copy(update={"arms": (stable, *arms)})


def say_how_arms_stand(
    status: ExperimentStatus, reason: str, message: str
) -> tuple[ExperimentStatus, tuple[Notice, ...]]:
    """Return the status with reason and message, those of a variant that can't start first, told once."""
    missing = [arm for arm in waiting_for(status) if arm.message]
    if reason == VARIANT_NOT_READY:
        message = " ".join(f"{arm.name}: {arm.message}" for arm in missing)
    notices: tuple[Notice, ...] = ()
    if reason == VARIANT_NOT_READY and status.reason != reason:
        text = f"{message} It gets no requests; the stable revision keeps its share."
        notices = (Notice(EventReason.VARIANT_NOT_READY, text, is_warning=True),)
    return status.model_copy(update={"reason": reason, "message": clip_message(message)}), notices
