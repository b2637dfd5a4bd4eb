"""The gate of `spec.rollout.analysis` on each variant: an unsafe one gets no more requests, for good.

Its share goes to the stable revision. It isn't tried again until the experiment is changed.
"""

from dataclasses import replace
from datetime import datetime

from perennial_api.modeldeployment.experiment_status import ArmStatus, ExperimentStatus, VariantState
from perennial_api.modeldeployment.gate_status import Gate, GateDecision

from perennial.rollout.decision import EventReason, Notice, Outcome
from perennial.rollout.experiment.facts import STABLE, ExperimentFacts
from perennial.rollout.gate import Decision, assess_gate, next_look_at, observe_gate, to_evidence

__all__ = ["next_look", "watch_arms"]


def watch_arms(
    status: ExperimentStatus, facts: ExperimentFacts, *, by_client: bool, now: datetime
) -> tuple[ExperimentStatus, tuple[Notice, ...], tuple[Outcome, ...]]:
    """Look at every variant that gets requests; return the status, and what to tell of those found unsafe."""
    arms, notices, outcomes = [], list[Notice](), list[Outcome]()
    for arm in status.arms:
        if arm.name == STABLE or arm.serving_since is None:
            arms.append(arm)
            continue
        watched, outcome = _watch(arm, facts, by_client=by_client, now=now)
        arms.append(watched)
        if outcome is not None:
            outcomes.append(outcome)
            text = f"Variant {arm.name} gets no more requests: {outcome.message}"
            notices.append(Notice(EventReason.VARIANT_UNSAFE, text, is_warning=True))
    return status.model_copy(update={"arms": tuple(arms)}), tuple(notices), tuple(outcomes)


def next_look(arm: ArmStatus, facts: ExperimentFacts) -> datetime | None:
    """Return when a variant's gate is to be looked at next, or None while it gets no requests."""
    if arm.name == STABLE or arm.serving_since is None:
        return None
    return next_look_at(arm.gate or Gate(), facts.analysis, arm.serving_since)


def _watch(
    arm: ArmStatus, facts: ExperimentFacts, *, by_client: bool, now: datetime
) -> tuple[ArmStatus, Outcome | None]:
    if arm.revision is None or facts.stable is None or arm.serving_since is None:
        return arm, None
    gate = observe_gate(
        arm.gate or Gate(),
        facts.analysis,
        replace(facts.observed, by_client=by_client),
        canary=arm.revision,
        stable=facts.stable,
        weight_since=arm.serving_since,
        now=now,
    )
    verdict = assess_gate(gate, facts.analysis, baked=False, at_deadline=False)
    if verdict.decision is not Decision.FAILED:
        return arm.model_copy(update={"gate": gate}), None
    update = {
        "state": VariantState.UNSAFE,
        "weight_percent": 0,
        "serving_since": None,
        "message": verdict.message,
        "gate": gate.model_copy(update={"routers": ()}),
    }
    evidence = to_evidence(verdict, GateDecision.FAILED, 0, now)
    return arm.model_copy(update=update), Outcome(arm.revision, verdict.reason, verdict.message, evidence)
