"""The pure middle of a pass: from what was observed to writes, statuses and events."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from perennial_api.modeldeployment.resource import ModelDeployment
from perennial_api.modeldeployment.warmup_status import WarmUp
from perennial_api.modelrevision import ModelRevisionStatus, Origin
from perennial_api.retrainingrun import RetrainingPhase, RetrainingRun, RetrainingRunStatus

from perennial.cluster.client import FIELD_MANAGER
from perennial.cluster.observe import Children, Runtimes
from perennial.controller.hearing import Heard, hear, view_observed
from perennial.controller.scaling import Scaled, decide_scaling
from perennial.errors import InvalidSpecError
from perennial.manifests.context import Installation, Manifest, Owner
from perennial.manifests.desired import Wish, build_desired
from perennial.manifests.plan import Key, Plan, build_plan
from perennial.manifests.replicas import with_scale_writes
from perennial.manifests.retraining import build_job, build_retraining_run
from perennial.rollout.conditions import Facts
from perennial.rollout.decision import Decision, EventReason, Notice
from perennial.rollout.lineage import hash_model
from perennial.rollout.machine import find_stable, step
from perennial.rollout.observed import Reading
from perennial.rollout.retraining import RetrainingDecision, decide_retraining
from perennial.rollout.revision_status import next_revision_status
from perennial.rollout.runs import assess_run
from perennial.rollout.scaling import Load
from perennial.rollout.settings import RolloutSettings
from perennial.rollout.verbs import Answer
from perennial.rollout.verdicts import Verdict

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
    runs = tuple(_next_run(run, deployment, children, now) for run in children.runs)
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
    retraining = _decide_retraining(deployment, children, runtimes, decision, now)
    runs = tuple(_note_candidate(run, children, target.name) for run in runs)
    made = (
        *heard.made,
        *_make_retraining(
            owner, deployment, replace(children, runs=runs), runtimes, retraining, installation=installation
        ),
    )
    minimums = scaled.scaling.minimums
    wish = Wish(spec, decision, children.revisions, runs, made, children.stored, minimums)
    plan = build_plan(build_desired(owner, wish, installation), children.stored, children.ours)
    return Outcome(
        plan=with_scale_writes(plan, scaled.targets, children.stored, FIELD_MANAGER),
        revision_statuses=_revision_statuses(heard, decision, now),
        run_statuses=_run_statuses(children, runs),
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
            *_start_notices(retraining),
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


def _next_run(
    run: RetrainingRun, deployment: ModelDeployment, children: Children, now: datetime
) -> RetrainingRun:
    job = children.jobs.get(run.metadata.name)
    status = assess_run(run, job, now)
    if deployment.spec.retraining is None and job is None and not status.phase.is_final:
        update = {
            "phase": RetrainingPhase.FAILED,
            "reason": "RetrainingRemoved",
            "message": "spec.retraining was removed before the Job was made.",
            "completion_time": now,
        }
        status = status.model_copy(update=update)
    return run.model_copy(update={"status": status})


def _note_candidate(run: RetrainingRun, children: Children, target: str | None) -> RetrainingRun:
    """Record which revision was made of an accepted candidate."""
    revision = children.revisions.get(target or "")
    if revision is None or revision.spec.retraining_run != run.metadata.name or run.status.candidate_revision:
        return run
    return run.model_copy(update={"status": run.status.model_copy(update={"candidate_revision": target})})


def _decide_retraining(
    deployment: ModelDeployment, children: Children, runtimes: Runtimes, decision: Decision, now: datetime
) -> RetrainingDecision:
    stable = children.views.get(decision.rollout.stable or "")
    trainer = runtimes.trainer
    found = Verdict(True, "RuntimeFound")
    if isinstance(trainer, InvalidSpecError):
        found = Verdict(False, trainer.reason, trainer.message)
    model_hash = hash_model(deployment.spec.model)
    return decide_retraining(
        deployment.spec,
        deployment.status.retraining,
        children.report.status if children.report else None,
        children.runs,
        decision.rollout,
        name=deployment.metadata.name,
        uid=deployment.metadata.uid,
        model_is_stable=stable is not None and stable.model_hash_in_force == model_hash,
        trainer=found,
        ended=_candidate_ended(children, decision),
        now=now,
    )


def _candidate_ended(children: Children, decision: Decision) -> bool | None:
    outcome = decision.outcome
    view = children.views.get(outcome.revision) if outcome else None
    if outcome is None or view is None or view.origin is not Origin.RETRAINING:
        return None
    if outcome.revision == decision.rollout.pinned:
        # An undo says nothing about what retraining is worth.
        return None
    return outcome.revision == decision.rollout.stable


def _make_retraining(
    owner: Owner,
    deployment: ModelDeployment,
    children: Children,
    runtimes: Runtimes,
    retraining: RetrainingDecision,
    *,
    installation: Installation,
) -> tuple[Manifest, ...]:
    """Build the run that starts now, and the Jobs of runs that were made in an earlier pass."""
    if runtimes.trainer is None or isinstance(runtimes.trainer, InvalidSpecError):
        return ()
    made: list[Manifest] = [
        build_job(run, deployment.spec, runtimes.trainer.spec, installation)
        for run in children.runs
        if run.status.phase is RetrainingPhase.PENDING and run.metadata.name not in children.jobs
    ]
    if retraining.start is not None:
        champion = find_stable(deployment.status.rollout, children.views)
        made.append(
            build_retraining_run(owner, deployment.spec, retraining.start, children.views[champion or ""])
        )
    return tuple(made)


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


def _run_statuses(children: Children, runs: tuple[RetrainingRun, ...]) -> dict[str, RetrainingRunStatus]:
    stored = {key.name: child for key, child in children.stored.items() if key.kind == "RetrainingRun"}
    changed = {}
    for run in runs:
        was = RetrainingRunStatus.model_validate(stored[run.metadata.name].get("status") or {})
        if was != run.status:
            changed[run.metadata.name] = run.status
    return changed


def _creation_notices(made: tuple[Manifest, ...]) -> tuple[Notice, ...]:
    return tuple(
        Notice(
            EventReason.REVISION_CREATED,
            f"{manifest['metadata']['name']} is made for {manifest['spec']['model']['uri']}.",
        )
        for manifest in made
    )


def _start_notices(retraining: RetrainingDecision) -> tuple[Notice, ...]:
    start = retraining.start
    if start is None:
        return ()
    return (
        Notice(
            EventReason.RETRAINING_STARTED,
            f"{start.name} is started by {start.breach_id} of {start.monitor}.",
        ),
    )
