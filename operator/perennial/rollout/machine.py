"""The rollout's state machine: one pure function from what is and what should be to what happens next.

Every timer is a timestamp in the status, every weight a function of status, spec and readiness: whoever runs the
next pass, after whatever crash, comes to the same decision. An increase of weight counts as made only when every
ready router has applied it. The way back never waits for anything.
"""

from collections.abc import Mapping
from datetime import datetime

from perennial_api.modeldeployment.rollout import Rollout
from perennial_api.modeldeployment.status import RolloutPhase, RolloutStatus, WeightRole, WeightStatus
from perennial_api.modelrevision import RevisionRole

from perennial.rollout.canary import Progress, progress, road_weight
from perennial.rollout.decision import Decision, EventReason, Notice, Outcome, StepState
from perennial.rollout.drain import Drain, assess_drains
from perennial.rollout.observed import Observed, RevisionView
from perennial.rollout.settings import RolloutSettings
from perennial.rollout.steps import FULL_PERCENT, Road

__all__ = ["find_stable", "step"]


def step(
    spec: Rollout, status: RolloutStatus | None, observed: Observed, settings: RolloutSettings, now: datetime
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
    """
    current = _restore(status, observed)
    outcome = _decide(spec, current, observed, now)
    return _conclude(spec, outcome, observed, settings, now)


def _restore(status: RolloutStatus | None, observed: Observed) -> RolloutStatus:
    """Return the status, rebuilt from the revisions' roles where it is missing or names what isn't there."""
    stable = find_stable(status, observed.revisions)
    if status is None:
        target = observed.revisions.get(observed.target or "")
        failed = target.name if target and target.role is RevisionRole.FAILED else None
        return RolloutStatus(phase=RolloutPhase.PROGRESSING, stable=stable, failed_revision=failed)
    canary = status.canary if status.canary in observed.revisions else None
    return status.model_copy(update={"stable": stable, "canary": canary})


def find_stable(status: RolloutStatus | None, revisions: Mapping[str, RevisionView]) -> str | None:
    """Return the stable revision: the status's, or where that names none that exists, the one marked as stable."""
    if status is not None and status.stable in revisions:
        return status.stable
    marked = [r for r in revisions.values() if r.role is RevisionRole.STABLE]
    latest = max(marked, key=lambda r: (str(r.stable_at or ""), r.name), default=None)
    return latest.name if latest else None


def _decide(spec: Rollout, current: RolloutStatus, observed: Observed, now: datetime) -> Progress:
    target = observed.target or current.canary
    if target is None or target not in observed.revisions:
        return Progress(current)
    if target == current.stable:
        return _settle(current)
    if target == current.failed_revision:
        return _stay_rolled_back(current)
    notices: tuple[Notice, ...] = ()
    if current.canary != target:
        current, notices = _start(current, target, now)
    done = (
        _first(spec, current, observed, now)
        if current.stable is None
        else progress(spec, current, observed, now)
    )
    return Progress(done.rollout, (*notices, *done.notices), done.outcome)


def _settle(current: RolloutStatus) -> Progress:
    """Nothing is on trial: what serves is what the spec asks for."""
    notices: tuple[Notice, ...] = ()
    if current.canary is not None:
        text = f"{current.canary} is no longer asked for; {current.stable} keeps all traffic."
        notices = (Notice(EventReason.ROLLOUT_SUPERSEDED, text),)
    update = {
        "phase": RolloutPhase.HEALTHY,
        "message": f"{current.stable} is stable.",
        "canary": None,
        "failed_revision": None,
        "step_index": 0,
        "step_state": StepState.COMPLETED,
    }
    return Progress(current.model_copy(update=update), notices)


def _stay_rolled_back(current: RolloutStatus) -> Progress:
    """A revision that failed is not tried again until the spec asks for another."""
    update = {"phase": RolloutPhase.DEGRADED, "canary": None, "step_state": StepState.ROLLED_BACK}
    return Progress(current.model_copy(update=update))


def _start(current: RolloutStatus, target: str, now: datetime) -> tuple[RolloutStatus, tuple[Notice, ...]]:
    notices = []
    if current.canary is not None:
        text = f"{current.canary} is superseded by {target} and gets no more traffic."
        notices.append(Notice(EventReason.ROLLOUT_SUPERSEDED, text))
    where = f"beside {current.stable}" if current.stable else "as the first revision"
    notices.append(Notice(EventReason.ROLLOUT_STARTED, f"{target} is started {where}."))
    started = RolloutStatus(
        phase=RolloutPhase.PROGRESSING,
        stable=current.stable,
        canary=target,
        attempt=current.attempt + 1,
        step_state=StepState.WAITING_FOR_PODS,
        message=f"Waiting for the pods of {target}.",
        started_at=now,
        step_started_at=now,
        progressed_at=now,
        draining=current.draining,
        evidence=current.evidence,
    )
    return started, tuple(notices)


def _first(spec: Rollout, current: RolloutStatus, observed: Observed, now: datetime) -> Progress:
    """The first revision is stable as soon as it is ready; there is nothing to compare it with or to return to."""
    if observed.ready_endpoints(current.canary) == 0:
        waited_s = (now - (current.progressed_at or now)).total_seconds()
        late = waited_s >= spec.analysis.progress_deadline.seconds
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


def _conclude(
    spec: Rollout, done: Progress, observed: Observed, settings: RolloutSettings, now: datetime
) -> Decision:
    """Add what follows from the decision: drains, weights, roles, and when to look again."""
    rollout = done.rollout
    active = {name for name in (rollout.stable, rollout.canary) if name}
    routed = set(observed.route.weights) if observed.route else set()
    leaving = {r.name for r in observed.revisions.values() if r.running} | (routed & set(observed.revisions))
    drain = assess_drains(rollout.draining, leaving - active, observed, settings, now)
    weights = _weights(spec, rollout, observed, drain)
    canary_weight = weights.get(rollout.canary, 0) if rollout.canary else None
    rollout = rollout.model_copy(
        update={
            "draining": drain.entries,
            "weights": _weight_statuses(rollout, weights),
            "canary_weight_percent": canary_weight,
            "route_generation": observed.route.generation if observed.route else 0,
        }
    )
    scaled_down = tuple(
        Notice(EventReason.SCALED_DOWN, f"{name} was drained; its pods go.") for name in drain.gone
    )
    waits = [s for s in (done.requeue_after(spec, settings, now), drain.requeue_after_s) if s is not None]
    if weights and not observed.is_applied(weights) and observed.ready_routers:
        waits.append(settings.verify_interval_s)
    return Decision(
        rollout=rollout,
        weights=weights,
        keep=frozenset(active | drain.keep),
        roles={name: _role(name, rollout, observed) for name in observed.revisions},
        notices=(*done.notices, *scaled_down),
        outcome=done.outcome,
        requeue_after_s=min(waits, default=None),
    )


def _weights(spec: Rollout, rollout: RolloutStatus, observed: Observed, drain: Drain) -> dict[str, int]:
    if rollout.stable is None:
        return {}
    weights = {rollout.stable: FULL_PERCENT}
    canary = rollout.canary
    if canary:
        share = road_weight(Road.of(spec.canary.steps), rollout)
        in_route = observed.route is not None and canary in observed.route.weights
        if share or in_route or observed.ready_endpoints(canary):
            weights = {rollout.stable: FULL_PERCENT - share, canary: share}
    return weights | dict.fromkeys(sorted(drain.routed), 0)


def _weight_statuses(rollout: RolloutStatus, weights: dict[str, int]) -> tuple[WeightStatus, ...]:
    shown = [(rollout.stable, WeightRole.STABLE), (rollout.canary, WeightRole.CANARY)]
    return tuple(
        WeightStatus(revision=name, weight_percent=weights[name], role=role)
        for name, role in shown
        if name is not None and name in weights
    )


def _role(name: str, rollout: RolloutStatus, observed: Observed) -> RevisionRole:
    was = observed.revisions[name].role
    if name == rollout.stable:
        return RevisionRole.STABLE
    if name == rollout.canary:
        return RevisionRole.CANARY
    if name == rollout.failed_revision:
        return RevisionRole.FAILED
    return RevisionRole.RETIRED if was in {RevisionRole.CANARY, RevisionRole.STABLE} else was
