"""What an experiment under way asks of the route and the pods."""

from perennial_api.modeldeployment.experiment import Experiment, RouteType
from perennial_api.modeldeployment.experiment_status import (
    ArmStatus,
    ExperimentPhase,
    ExperimentStatus,
    VariantState,
)
from perennial_api.modelrevision import RevisionRole
from perennial_api.modelroute import Mirror, Sticky, StickyType

from perennial.rollout.decision import ExperimentPlan
from perennial.rollout.experiment.arms import variants_of
from perennial.rollout.experiment.facts import ExperimentFacts

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
    """Order the arms with the stable revision in the middle.

    A sticky route cuts the clients into intervals in this order. Beside the interval of the stable revision, which
    takes what a variant loses, no other moves; with up to two variants all of them are beside it.
    """
    variants = variants_of(status)
    before = (len(variants) + 1) // 2
    ordered = (*variants[:before], status.arms[0], *variants[before:])
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
    )
