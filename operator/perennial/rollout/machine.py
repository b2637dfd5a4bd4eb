"""The rollout's state machine: one pure function from what is and what should be to what happens next.

Every timer is a timestamp in the status, every weight a function of status, spec and readiness: whoever runs the
next pass, after whatever crash, comes to the same decision. An increase of weight counts as made only when every
ready router has applied it. The way back never waits for anything.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from perennial_api.modeldeployment.rollout import Rollout
from perennial_api.modeldeployment.status import RolloutPhase, RolloutStatus
from perennial_api.modelrevision import RevisionRole

from perennial.rollout.conclude import conclude
from perennial.rollout.decision import Decision, EventReason, ExperimentPlan, Notice, Outcome, StepState
from perennial.rollout.observed import Observed, RevisionView
from perennial.rollout.road import Progress, progress
from perennial.rollout.settings import RolloutSettings

__all__ = ["find_stable", "restore", "step"]


def step(
    spec: Rollout,
    status: RolloutStatus | None,
    observed: Observed,
    settings: RolloutSettings,
    now: datetime,
    *,
    experiment: ExperimentPlan | None = None,
) -> Decision:
    """Decide what the rollout does now.

    Parameters
    ----------
    spec
        `spec.rollout`.
    status
        `status.rollout` as the last pass left it, or None; it can be rebuilt from the revisions' roles.
    observed
        Revisions, route and routers; `observed.target` is the revision that the spec asks for, or None when that
        can't be honoured: then what serves goes on serving, and a rollout under way goes on.
    settings, now
        Times that no spec sets, and the clock (aware).
    experiment
        What a running experiment asks of the route, or None. No rollout starts meanwhile; the experiment in its turn
        has to wait while `conclude.is_under_way` says so.
    """
    current = restore(status, observed.revisions, observed.target)
    done = _decide(spec, current, observed, now, is_experimenting=experiment is not None)
    return conclude(spec, done, observed, settings, now, experiment=experiment)


def restore(
    status: RolloutStatus | None, revisions: Mapping[str, RevisionView], target: str | None
) -> RolloutStatus:
    """Return the status, rebuilt from the revisions' roles where it is missing or names what isn't there."""
    stable = find_stable(status, revisions)
    if status is None:
        wanted = revisions.get(target or "")
        failed = wanted.name if wanted and wanted.role is RevisionRole.FAILED else None
        return RolloutStatus(phase=RolloutPhase.PROGRESSING, stable=stable, failed_revision=failed)
    canary = status.canary if status.canary in revisions else None
    pinned = status.pinned if status.pinned in revisions else None
    return status.model_copy(update={"stable": stable, "canary": canary, "pinned": pinned})


def find_stable(status: RolloutStatus | None, revisions: Mapping[str, RevisionView]) -> str | None:
    """Return the stable revision: the status's, or where that names none that exists, the one marked as stable."""
    if status is not None and status.stable in revisions:
        return status.stable
    marked = [r for r in revisions.values() if r.role is RevisionRole.STABLE]
    latest = max(marked, key=lambda r: (str(r.stable_at or ""), r.name), default=None)
    return latest.name if latest else None


def _decide(
    spec: Rollout, current: RolloutStatus, observed: Observed, now: datetime, *, is_experimenting: bool
) -> Progress:
    target = observed.target or current.canary
    if target is None or target not in observed.revisions:
        return Progress(current)
    if current.pinned not in {None, target}:
        current = current.model_copy(update={"pinned": None})
    if target == current.stable:
        return _settle(current)
    if target == current.failed_revision:
        return _stay_rolled_back(current)
    notices: tuple[Notice, ...] = ()
    if current.canary != target:
        current, notices = _start(current, target, now)
    done = _go_on(spec, current, observed, now, is_experimenting=is_experimenting)
    return Progress(done.rollout, (*notices, *done.notices), done.outcome)


def _go_on(
    spec: Rollout, current: RolloutStatus, observed: Observed, now: datetime, *, is_experimenting: bool
) -> Progress:
    if current.stable is None:
        return _first(spec, current, observed, now)
    waits = current.step_state == StepState.WAITING_FOR_EXPERIMENT
    if is_experimenting:
        return Progress(current) if waits else _wait_for_experiment(current, now)
    if waits:
        current = current.model_copy(update=_beginning(current.canary, now))
    return progress(spec, current, observed, now)


def _wait_for_experiment(current: RolloutStatus, now: datetime) -> Progress:
    text = f"{current.canary} waits until the experiment has ended; remove spec.experiment to end it now."
    update = {"step_state": StepState.WAITING_FOR_EXPERIMENT, "step_started_at": now, "message": text}
    return Progress(current.model_copy(update=update), (Notice(EventReason.ROLLOUT_PAUSED, text),))


def _settle(current: RolloutStatus) -> Progress:
    """Nothing is on trial: what serves is what the spec asks for."""
    notices: tuple[Notice, ...] = ()
    if current.canary is not None:
        text = f"{current.canary} is no longer asked for; {current.stable} keeps all traffic."
        notices = (Notice(EventReason.ROLLOUT_SUPERSEDED, text),)
    held = " It was asked for by undo and holds until spec.model changes." if current.pinned else ""
    update = {
        "phase": RolloutPhase.HEALTHY,
        "message": f"{current.stable} is stable.{held}",
        "canary": None,
        "failed_revision": None,
        "held": False,
        "promoted_fully": False,
        "step_index": 0,
        "steps_hash": "",
        "step_state": StepState.COMPLETED,
    }
    return Progress(current.model_copy(update=update), notices)


def _stay_rolled_back(current: RolloutStatus) -> Progress:
    """A revision that failed is not tried again until the spec asks for another or somebody says retry."""
    update = {"phase": RolloutPhase.DEGRADED, "canary": None, "step_state": StepState.ROLLED_BACK}
    return Progress(current.model_copy(update=update))


def _start(current: RolloutStatus, target: str, now: datetime) -> tuple[RolloutStatus, tuple[Notice, ...]]:
    notices = []
    if current.canary is not None:
        text = f"{current.canary} is superseded by {target} and gets no more traffic."
        notices.append(Notice(EventReason.ROLLOUT_SUPERSEDED, text))
    where = f"beside {current.stable}" if current.stable else "as the first revision"
    notices.append(Notice(EventReason.ROLLOUT_STARTED, f"{target} is started {where}."))
    is_undo = current.pinned == target
    started = RolloutStatus(
        phase=RolloutPhase.PROGRESSING,
        stable=current.stable,
        canary=target,
        attempt=current.attempt + 1,
        started_at=now,
        draining=current.draining,
        evidence=current.evidence,
        pinned=current.pinned,
        # What failed stays failed while an undo that may not come to its end is on.
        failed_revision=current.failed_revision if is_undo else None,
    )
    return started.model_copy(update=_beginning(target, now)), tuple(notices)


def _beginning(canary: str | None, now: datetime) -> dict[str, object]:
    return {
        "step_index": 0,
        "step_state": StepState.WAITING_FOR_PODS,
        "message": f"Waiting for the pods of {canary}.",
        "step_started_at": now,
        "progressed_at": now,
    }


def _first(spec: Rollout, current: RolloutStatus, observed: Observed, now: datetime) -> Progress:
    """The first revision is stable as soon as it is ready; there is nothing to compare it with or to return to."""
    if observed.ready_endpoints(current.canary) == 0:
        waited = now - (current.progressed_at or now)
        late = waited >= timedelta(seconds=spec.analysis.progress_deadline.seconds)
        phase = RolloutPhase.DEGRADED if late else RolloutPhase.PROGRESSING
        return Progress(current.model_copy(update={"phase": phase}))
    text = f"{current.canary} is ready and, as the first revision, stable."
    return Progress(
        current.model_copy(
            update={
                "phase": RolloutPhase.HEALTHY,
                "message": f"{current.canary} is stable.",
                "stable": current.canary,
                "canary": None,
                "step_state": StepState.COMPLETED,
                "progressed_at": now,
            }
        ),
        (Notice(EventReason.PROMOTED, text),),
        Outcome(current.canary or "", "FirstRevision", text),
    )
