"""What follows from where a rollout stands: weights, mirror, preview, roles, drains, and when to look again."""

from collections.abc import Mapping
from datetime import datetime

from perennial_api.modeldeployment.rollout import Rollout
from perennial_api.modeldeployment.status import RolloutStatus, WeightRole, WeightStatus
from perennial_api.modelrevision import RevisionRole
from perennial_api.modelroute import Mirror

from perennial.rollout.decision import Decision, EventReason, ExperimentPlan, Notice, StepState
from perennial.rollout.drain import assess_drains
from perennial.rollout.observed import Observed
from perennial.rollout.road import FULL_PERCENT, MirrorCopies, Progress, build_road
from perennial.rollout.road.requeue import requeue_after_s
from perennial.rollout.settings import RolloutSettings

__all__ = ["conclude", "is_under_way"]

_NO_PLAN = ExperimentPlan(weights={})


def is_under_way(rollout: RolloutStatus | None) -> bool:
    """Whether a rollout has begun, so that no experiment may start."""
    return (
        rollout is not None
        and rollout.canary is not None
        and rollout.step_state != StepState.WAITING_FOR_EXPERIMENT
    )


def conclude(
    spec: Rollout,
    done: Progress,
    observed: Observed,
    settings: RolloutSettings,
    now: datetime,
    *,
    experiment: ExperimentPlan | None,
) -> Decision:
    """Build the decision from the rollout's next status and from what a running experiment asks for."""
    plan = experiment or _NO_PLAN
    rollout = done.rollout
    waits = rollout.step_state == StepState.WAITING_FOR_EXPERIMENT
    canary = None if waits else rollout.canary
    active = {name for name in (rollout.stable, canary) if name} | plan.keep | set(plan.weights)
    routed = set(observed.route.weights) if observed.route else set()
    leaving = {r.name for r in observed.revisions.values() if r.running} | (routed & set(observed.revisions))
    drain = assess_drains(
        rollout.draining, leaving - active, observed, settings, now, delay_s=spec.scale_down_delay.seconds
    )
    shares = plan.weights if plan.weights and rollout.stable else _shares(spec, rollout, canary, observed)
    weights = dict(shares)
    if weights:
        weights |= dict.fromkeys(sorted(drain.routed), 0)
    rollout = rollout.model_copy(
        update={
            "draining": drain.entries,
            "weights": _weight_statuses(rollout, shares),
            "canary_weight_percent": weights.get(canary, 0) if canary else None,
            "route_generation": observed.route.generation if observed.route else 0,
            "preview": rollout.canary if rollout.step_state == StepState.PREVIEWING else None,
        }
    )
    scaled_down = (Notice(EventReason.SCALED_DOWN, f"{n} was drained; its pods go.") for n in drain.gone)
    waits_s = [requeue_after_s(spec, rollout, settings, now), drain.requeue_after_s]
    if weights and not observed.is_applied(weights) and observed.ready_routers:
        waits_s.append(settings.verify_interval_s)
    return Decision(
        rollout=rollout,
        weights=weights,
        keep=frozenset(active | drain.keep),
        roles={name: _role(name, rollout, plan.roles, observed) for name in observed.revisions},
        notices=(*done.notices, *scaled_down),
        outcome=done.outcome,
        requeue_after_s=min((s for s in waits_s if s is not None), default=None),
        mirror=plan.mirror or _mirror(spec, rollout),
        preview=rollout.preview,
        sticky=plan.sticky,
        warm_up=rollout.canary if rollout.step_state == StepState.WARMING_UP else None,
    )


def _shares(
    spec: Rollout, rollout: RolloutStatus, canary: str | None, observed: Observed
) -> Mapping[str, int]:
    """Return stable's and the canary's shares; the order never changes while they are the two."""
    if rollout.stable is None:
        return {}
    if canary:
        share = build_road(spec, rollout).weight_of(rollout)
        in_route = observed.route is not None and canary in observed.route.weights
        if share or in_route or observed.ready_endpoints(canary):
            return {rollout.stable: FULL_PERCENT - share, canary: share}
    return {rollout.stable: FULL_PERCENT}


def _mirror(spec: Rollout, rollout: RolloutStatus) -> Mirror | None:
    if rollout.step_state != StepState.MIRRORING or rollout.canary is None:
        return None
    here = build_road(spec, rollout).steps[rollout.step_index]
    return Mirror(revision=rollout.canary, percent=here.percent) if isinstance(here, MirrorCopies) else None


def _weight_statuses(rollout: RolloutStatus, shares: Mapping[str, int]) -> tuple[WeightStatus, ...]:
    roles = {rollout.canary: WeightRole.CANARY, rollout.stable: WeightRole.STABLE}
    in_order = sorted(shares, key=lambda name: name != rollout.stable)
    return tuple(
        WeightStatus(revision=n, weight_percent=shares[n], role=roles.get(n, WeightRole.VARIANT))
        for n in in_order
    )


def _role(
    name: str, rollout: RolloutStatus, variants: Mapping[str, RevisionRole], observed: Observed
) -> RevisionRole:
    was = observed.revisions[name].role
    if name == rollout.stable:
        return RevisionRole.STABLE
    if name == rollout.canary and rollout.step_state != StepState.WAITING_FOR_EXPERIMENT:
        return RevisionRole.CANARY
    if name in variants:
        return variants[name]
    if name == rollout.failed_revision:
        return RevisionRole.FAILED
    served = {RevisionRole.CANARY, RevisionRole.STABLE, RevisionRole.VARIANT}
    return RevisionRole.RETIRED if was in served else was
