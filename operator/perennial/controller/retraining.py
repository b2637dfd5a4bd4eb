"""What a pass does about retraining: runs, their Jobs, and the candidates that come of them. Pure."""

from datetime import datetime

from perennial_api.modeldeployment.resource import ModelDeployment
from perennial_api.modelrevision import Origin
from perennial_api.retrainingrun import RetrainingPhase, RetrainingRun, RetrainingRunStatus

from perennial.cluster.observe import Children, Runtimes
from perennial.errors import InvalidSpecError
from perennial.manifests.context import Installation, Manifest, Owner
from perennial.manifests.retraining import build_job, build_retraining_run
from perennial.rollout.decision import Decision, EventReason, Notice
from perennial.rollout.lineage import hash_model
from perennial.rollout.machine import find_stable
from perennial.rollout.retraining import RetrainingDecision, decide_retraining
from perennial.rollout.runs import assess_run
from perennial.rollout.verdicts import Verdict

__all__ = ["changed_runs", "decide_runs", "make_runs", "next_run", "note_candidate", "start_notices"]


def next_run(
    run: RetrainingRun, deployment: ModelDeployment, children: Children, now: datetime
) -> RetrainingRun:
    """Return a run as its Job leaves it."""
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


def note_candidate(run: RetrainingRun, children: Children, target: str | None) -> RetrainingRun:
    """Record which revision was made of an accepted candidate."""
    revision = children.revisions.get(target or "")
    if revision is None or revision.spec.retraining_run != run.metadata.name or run.status.candidate_revision:
        return run
    return run.model_copy(update={"status": run.status.model_copy(update={"candidate_revision": target})})


def decide_runs(
    deployment: ModelDeployment, children: Children, runtimes: Runtimes, decision: Decision, now: datetime
) -> RetrainingDecision:
    """Decide whether a run starts now, from what the reports and the rollout say."""
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
        ended=_candidate_ended(deployment, children, decision),
        now=now,
    )


def _candidate_ended(deployment: ModelDeployment, children: Children, decision: Decision) -> bool | None:
    """Whether a retrained candidate's rollout ended in this pass, and well; None where none did."""
    outcome, before = decision.outcome, deployment.status.rollout
    view = children.views.get(outcome.revision) if outcome else None
    if outcome is None or view is None or view.origin is not Origin.RETRAINING:
        return None
    if outcome.revision in {decision.rollout.pinned, before.pinned if before else None}:
        # An undo says nothing about what retraining is worth.
        return None
    return outcome.revision == decision.rollout.stable


def make_runs(
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


def changed_runs(children: Children, runs: tuple[RetrainingRun, ...]) -> dict[str, RetrainingRunStatus]:
    """Return the statuses that differ from what is stored, by name."""
    stored = {key.name: child for key, child in children.stored.items() if key.kind == "RetrainingRun"}
    changed = {}
    for run in runs:
        was = RetrainingRunStatus.model_validate(stored[run.metadata.name].get("status") or {})
        if was != run.status:
            changed[run.metadata.name] = run.status
    return changed


def start_notices(retraining: RetrainingDecision) -> tuple[Notice, ...]:
    """Tell of a run that starts now."""
    start = retraining.start
    if start is None:
        return ()
    return (
        Notice(
            EventReason.RETRAINING_STARTED,
            f"{start.name} is started by {start.breach_id} of {start.monitor}.",
        ),
    )
