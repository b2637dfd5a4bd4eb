"""What an experiment under way asks of the route and the pods."""

from perennial_api.modeldeployment.experiment import Experiment, RouteType
from perennial_api.modeldeployment.experiment_status import (
    ArmStatus,
    ExperimentPhase,
    ExperimentStatus,
    VariantState,
)
from perennial_api.modelrevision import RevisionRole
from perennial_api.modelroute import Mirror, Place, Sticky, StickyType

from perennial.rollout.decision import ExperimentPlan
from perennial.rollout.experiment.arms import variants_of
from perennial.rollout.experiment.facts import ExperimentFacts
from perennial.rollout.experiment.shares import FULL_PERCENT

__all__ = ["build_plan"]


def build_plan(spec: Experiment, status: ExperimentStatus, facts: ExperimentFacts) -> ExperimentPlan:
    """Build the plan from the arms' states and shares; nothing of an older one is kept."""
    living = [arm for arm in variants_of(status) if arm.revision and arm.state is not VariantState.UNSAFE]
    return ExperimentPlan(
        weights=_weights(status, facts),
        mirror=_mirror(spec, living),
        sticky=_sticky(spec, status),
        keep=frozenset(arm.revision for arm in living if arm.revision),
        roles={
            arm.revision: RevisionRole.FAILED if arm.state is VariantState.UNSAFE else RevisionRole.VARIANT
            for arm in variants_of(status)
            if arm.revision
        },
    )


def _weights(status: ExperimentStatus, facts: ExperimentFacts) -> dict[str, int]:
    """Return the shares of the arms in the route, the stable revision last."""
    ordered = (*variants_of(status), status.arms[0])
    return {arm.revision: arm.weight_percent for arm in ordered if arm.revision and _is_routed(arm, facts)}


def _is_routed(arm: ArmStatus, facts: ExperimentFacts) -> bool:
    """Whether an arm stands in the route: ready for a share, or there already, so that its requests end well."""
    if arm.state is VariantState.UNSAFE:
        return False
    in_route = facts.observed.route is not None and arm.revision in facts.observed.route.weights
    return in_route or arm.state is VariantState.RUNNING


def _mirror(spec: Experiment, living: list[ArmStatus]) -> Mirror | None:
    serving = next((arm for arm in living if arm.serving_since is not None), None)
    if spec.shadow is None or serving is None or serving.revision is None:
        return None
    return Mirror(revision=serving.revision, percent=spec.shadow.percent)


def _sticky(spec: Experiment, status: ExperimentStatus) -> Sticky | None:
    """Bind clients from the moment they are split: bound before, those that a variant gets would count twice."""
    test = spec.ab_test
    if test is None or test.route_by is None or status.phase is not ExperimentPhase.RUNNING:
        return None
    is_cookie = test.route_type is RouteType.COOKIE
    return Sticky(
        type=StickyType.COOKIE if is_cookie else StickyType.HEADER,
        name=test.route_by,
        salt=status.salt,
        # As long as the test itself: whoever comes back meets the same arm.
        ttl=test.max_duration if is_cookie else None,
        places=_places(spec, status),
    )


def _places(spec: Experiment, status: ExperimentStatus) -> tuple[Place, ...]:
    """Return the parts of the clients, the same from beginning to end.

    A variant that has no share, or whose revision is gone, leaves its clients to the stable revision, the last; those
    of the others stay.
    """
    revisions = {arm.name: arm.revision for arm in status.arms}
    parts = [(revisions[variant.name], variant.weight or 0) for variant in spec.variants]
    rest = FULL_PERCENT - sum(part for _, part in parts)
    return tuple(
        # One whose revision can't be made yet keeps its place under its own name, which nothing serves.
        Place(revision=revision or f"variant-{number}", percent=part)
        for number, (revision, part) in enumerate([*parts, (status.stable, rest)])
    )
