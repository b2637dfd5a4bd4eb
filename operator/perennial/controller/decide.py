"""The pure middle of a pass: from what was observed to writes, statuses and events."""

from dataclasses import dataclass, replace
from datetime import datetime

from perennial_api.labels import ConditionType
from perennial_api.modeldeployment.resource import ModelDeployment
from perennial_api.modelrevision import ModelRevision, ModelRevisionStatus, Origin
from perennial_api.retrainingrun import RetrainingPhase, RetrainingRun, RetrainingRunStatus

from perennial.cluster.observe import Children, Runtimes
from perennial.errors import InvalidSpecError
from perennial.manifests.context import Installation, Manifest, Owner
from perennial.manifests.desired import Wish, build_desired
from perennial.manifests.plan import Key, Plan, build_plan
from perennial.manifests.retraining import build_job, build_retraining_run
from perennial.manifests.revision import build_revision, name_revision
from perennial.manifests.views import view_revisions
from perennial.rollout.conditions import Facts, Problem
from perennial.rollout.decision import Decision, EventReason, Notice
from perennial.rollout.lineage import choose_target, choose_wanted, hash_model
from perennial.rollout.machine import find_stable, step
from perennial.rollout.observed import Observed
from perennial.rollout.retraining import RetrainingDecision, decide_retraining
from perennial.rollout.revision_status import next_revision_status
from perennial.rollout.runs import assess_run
from perennial.rollout.settings import RolloutSettings
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
    notices
        Transitions, told once the status is written.
    """

    plan: Plan
    revision_statuses: dict[str, ModelRevisionStatus]
    run_statuses: dict[str, RetrainingRunStatus]
    facts: Facts
    retraining: RetrainingDecision
    notices: tuple[Notice, ...]

    @property
    def decision(self) -> Decision:
        """The decision on the rollout."""
        return self.facts.decision

    @property
    def requeue_after_s(self) -> float | None:
        """When to look again, in seconds, or None for no sooner than the resync."""
        waits = [self.decision.requeue_after_s, self.retraining.requeue_after_s]
        return min((s for s in waits if s is not None), default=None)


@dataclass(frozen=True, slots=True)
class _Target:
    """The children with the revision that is asked for among them, made in this pass if need be."""

    children: Children
    name: str | None
    made: tuple[Manifest, ...] = ()
    problem: Problem | None = None


def decide(
    deployment: ModelDeployment,
    children: Children,
    runtimes: Runtimes,
    installation: Installation,
    settings: RolloutSettings,
    *,
    now: datetime,
) -> Outcome:
    """Decide everything that one pass does.

    Parameters
    ----------
    deployment
        As read, with its status.
    children, runtimes
        What exists of it, and the runtimes that its spec names.
    """
    metadata, spec, status = deployment.metadata, deployment.spec, deployment.status
    owner = Owner("ModelDeployment", metadata.name, metadata.namespace, metadata.uid, metadata.name)
    runs = tuple(_next_run(run, deployment, children, now) for run in children.runs)
    target = _choose_target(owner, deployment, replace(children, runs=runs), runtimes, installation)
    children = target.children
    observed = Observed(
        children.views, target.name, children.route, children.routers, spec.server.min_replicas
    )
    decision = step(spec.rollout, status.rollout, observed, settings, now)
    retraining = _decide_retraining(deployment, children, runtimes, decision, now)
    runs = tuple(_note_candidate(run, children, target.name) for run in runs)
    made = (
        *target.made,
        *_make_retraining(
            owner, deployment, replace(children, runs=runs), runtimes, retraining, installation=installation
        ),
    )
    wish = Wish(spec, decision, children.revisions, runs, made, children.stored)
    return Outcome(
        plan=build_plan(build_desired(owner, wish, installation), children.stored, children.ours),
        revision_statuses=_revision_statuses(children, decision, now),
        run_statuses=_run_statuses(children, runs),
        facts=Facts(
            spec=spec,
            observed=observed,
            decision=decision,
            report=children.report.status if children.report else None,
            runs=runs,
            retraining_blocked=retraining.blocked,
            problems=(target.problem,) if target.problem else (),
        ),
        retraining=retraining,
        notices=(
            *_creation_notices(target),
            *decision.notices,
            *retraining.notices,
            *_start_notices(retraining),
        ),
    )


def _choose_target(
    owner: Owner,
    deployment: ModelDeployment,
    children: Children,
    runtimes: Runtimes,
    installation: Installation,
) -> _Target:
    rollout = deployment.status.rollout
    stable = find_stable(rollout, children.views)
    wanted = choose_wanted(deployment.spec, children.views.get(stable or ""), children.runs, children.views)
    runtime = runtimes.server
    planned = (
        None if isinstance(runtime, InvalidSpecError) else name_revision(owner.deployment, wanted, runtime)
    )
    name = choose_target(wanted, children.views, stable, rollout.canary if rollout else None, planned)
    if name is not None:
        return _Target(children, name)
    if isinstance(runtime, InvalidSpecError):
        problem = Problem(ConditionType.INVALID_SPEC, runtime.reason, runtime.message)
        return _Target(children, None, (), problem)
    made = build_revision(owner, deployment.spec, wanted, runtime, installation, parent=stable)
    revision = ModelRevision.model_validate(made)
    name = revision.metadata.name
    with_new = replace(
        children,
        revisions={**children.revisions, name: revision},
        views={**children.views, **view_revisions([revision], (), (), {})},
    )
    return _Target(with_new, name, (made,))


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
    return decide_retraining(
        deployment.spec,
        deployment.status.retraining,
        children.report.status if children.report else None,
        children.runs,
        decision.rollout,
        name=deployment.metadata.name,
        uid=deployment.metadata.uid,
        model_is_stable=stable is not None and stable.model_hash == hash_model(deployment.spec.model),
        trainer=found,
        ended=_candidate_ended(children, decision),
        now=now,
    )


def _candidate_ended(children: Children, decision: Decision) -> bool | None:
    outcome = decision.outcome
    view = children.views.get(outcome.revision) if outcome else None
    if outcome is None or view is None or view.origin is not Origin.RETRAINING:
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


def _revision_statuses(
    children: Children, decision: Decision, now: datetime
) -> dict[str, ModelRevisionStatus]:
    changed = {}
    for name, revision in children.revisions.items():
        status = next_revision_status(revision, decision, now)
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


def _creation_notices(target: _Target) -> tuple[Notice, ...]:
    return tuple(
        Notice(
            EventReason.REVISION_CREATED,
            f"{made['metadata']['name']} is made for {made['spec']['model']['uri']}.",
        )
        for made in target.made
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
