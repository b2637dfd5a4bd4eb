"""The pure middle of a pass: from what was observed to writes, statuses and events."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from perennial_api.modeldeployment.resource import ModelDeployment
from perennial_api.modeldeployment.warmup_status import WarmUp
from perennial_api.modelrevision import ModelRevisionStatus
from perennial_api.retrainingrun import RetrainingRunStatus

from perennial.cluster.client import FIELD_MANAGER
from perennial.cluster.observe import Children, Runtimes
from perennial.controller.hearing import Heard, hear, view_observed
from perennial.controller.retraining import (
    changed_runs,
    decide_runs,
    make_runs,
    next_run,
    note_candidate,
    start_notices,
)
from perennial.controller.scaling import Scaled, decide_scaling
from perennial.manifests.context import Installation, Manifest, Owner
from perennial.manifests.desired import Wish, build_desired
from perennial.manifests.plan import Key, Plan, build_plan
from perennial.manifests.replicas import with_scale_writes
from perennial.rollout.conditions import Facts
from perennial.rollout.decision import Decision, EventReason, Notice
from perennial.rollout.machine import step
from perennial.rollout.observed import Reading
from perennial.rollout.retraining import RetrainingDecision
from perennial.rollout.revision_status import next_revision_status
from perennial.rollout.scaling import Load
from perennial.rollout.settings import RolloutSettings
from perennial.rollout.verbs import Answer

__all__ = ["Outcome", "decide"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that a pass is to do.

    Attributes
    ----------
    plan
        Writes of children.
    revision_statuses, run_statuses
        Those that changed, by name.
    facts, retraining
        What the ModelDeployment's own status is built of.
    scaled
        What was decided about the pods.
    experiment_requeue_after_s
        When the experiment is to be looked at again, or None.
    notices
        Transitions, told once the status is written.
    """

    plan: Plan
    revision_statuses: dict[str, ModelRevisionStatus]
    run_statuses: dict[str, RetrainingRunStatus]
    facts: Facts
    retraining: RetrainingDecision
    scaled: Scaled
    notices: tuple[Notice, ...]
    experiment_requeue_after_s: float | None = None

    @property
    def decision(self) -> Decision:
        """The decision on the rollout."""
        return self.facts.decision

    @property
    def requeue_after_s(self) -> float | None:
        """When to look again, in seconds, or None for no sooner than the resync."""
        waits = [
            self.decision.requeue_after_s,
            self.retraining.requeue_after_s,
            self.experiment_requeue_after_s,
            self.scaled.scaling.requeue_after_s,
        ]
        return min((s for s in waits if s is not None), default=None)


def decide(
    deployment: ModelDeployment,
    children: Children,
    runtimes: Runtimes,
    installation: Installation,
    settings: RolloutSettings,
    *,
    now: datetime,
    loads: Mapping[str, Load],
    warm_up: WarmUp | None = None,
    readings: Mapping[str, Reading] | None = None,
) -> Outcome:
    """Decide everything that one pass does.

    Parameters
    ----------
    deployment
        As read, with its status.
    children, runtimes
        What exists of it, and the runtimes that its spec names.
    loads
        What each revision carries, where that is known.
    warm_up
        The latest measurement of a revision's latency, if one was asked for.
    readings
        The latest answers of Prometheus by metric, if any were asked for.
    """
    metadata, spec, status = deployment.metadata, deployment.spec, deployment.status
    owner = Owner("ModelDeployment", metadata.name, metadata.namespace, metadata.uid, metadata.name)
    runs = tuple(next_run(run, deployment, children, now) for run in children.runs)
    scaled = decide_scaling(deployment, children, loads, now)
    heard = hear(
        owner, deployment, replace(children, runs=runs), runtimes, installation, scaled=scaled, now=now
    )
    target, answer, trial = heard.target, heard.answer, heard.trial
    children = target.children
    observed = view_observed(deployment, children, target.name, warm_up, scaled=scaled)
    observed = replace(observed, readings=readings or {})
    decision = step(spec.rollout, heard.rollout, observed, settings, now, experiment=trial.decision.plan)
    decision = _add_answer(decision, answer)
    retraining = decide_runs(deployment, children, runtimes, decision, now)
    runs = tuple(note_candidate(run, children, target.name) for run in runs)
    made = (
        *heard.made,
        *make_runs(
            owner, deployment, replace(children, runs=runs), runtimes, retraining, installation=installation
        ),
    )
    minimums = scaled.scaling.minimums
    wish = Wish(spec, decision, children.revisions, runs, made, children.stored, minimums)
    plan = build_plan(build_desired(owner, wish, installation), children.stored, children.ours)
    return Outcome(
        plan=with_scale_writes(plan, scaled.targets, children.stored, FIELD_MANAGER),
        revision_statuses=_revision_statuses(heard, decision, now),
        run_statuses=changed_runs(children, runs),
        facts=Facts(
            spec=spec,
            observed=observed,
            decision=decision,
            report=children.report.status if children.report else None,
            runs=runs,
            retraining_blocked=retraining.blocked,
            problems=(target.problem,) if target.problem else (),
            last_command=answer.last_command if answer else status.last_command,
            experiment=trial.decision.status,
            scaling=scaled.scaling.status,
            scales=scaled.verdict,
        ),
        retraining=retraining,
        scaled=scaled,
        experiment_requeue_after_s=trial.decision.requeue_after_s,
        notices=(
            *_creation_notices(heard.made),
            *trial.decision.notices,
            *decision.notices,
            *retraining.notices,
            *start_notices(retraining),
        ),
    )


def _add_answer(decision: Decision, answer: Answer | None) -> Decision:
    """Tell what a command did before what followed from it in the same pass."""
    if answer is None:
        return decision
    changed = answer.rollout
    return replace(
        decision,
        notices=(*answer.notices, *(changed.notices if changed else ()), *decision.notices),
        outcome=decision.outcome or (changed.outcome if changed else None),
    )


def _revision_statuses(heard: Heard, decision: Decision, now: datetime) -> dict[str, ModelRevisionStatus]:
    children, choice = heard.target.children, heard.target.choice
    variants = {outcome.revision: outcome for outcome in heard.trial.decision.outcomes}
    changed = {}
    for name, revision in children.revisions.items():
        mine = replace(decision, outcome=variants[name]) if name in variants else decision
        status = next_revision_status(revision, mine, now, choice)
        # One that is made in this pass gets its status in the next.
        if status != revision.status and Key("ModelRevision", name) in children.stored:
            changed[name] = status
    return changed


def _creation_notices(made: tuple[Manifest, ...]) -> tuple[Notice, ...]:
    return tuple(
        Notice(
            EventReason.REVISION_CREATED,
            f"{manifest['metadata']['name']} is made for {manifest['spec']['model']['uri']}.",
        )
        for manifest in made
    )
