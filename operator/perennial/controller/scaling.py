"""Bring together what one pass needs to know to decide on pods, and what it does about them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from perennial_api.modeldeployment.experiment_status import ExperimentPhase
from perennial_api.modeldeployment.resource import ModelDeployment

from perennial.cluster.observe import Children
from perennial.manifests.hpa import view_hpa
from perennial.manifests.plan import Key
from perennial.rollout.conclude import is_under_way
from perennial.rollout.machine import find_stable
from perennial.rollout.road import FULL_PERCENT, next_weight
from perennial.rollout.scaling import (
    Arm,
    Load,
    ScaledBy,
    ScalePolicy,
    Scaling,
    Situation,
    assess_scaling,
    needed_replicas,
    plan_scaling,
)
from perennial.rollout.verdicts import Verdict

__all__ = ["Scaled", "decide_scaling", "view_situation"]

AUTOSCALER_RETRY_S = 15.0


@dataclass(frozen=True, slots=True)
class Scaled:
    """What was decided about the pods, and on what; `verdict` says whether their number can follow the load."""

    policy: ScalePolicy
    situation: Situation
    scaling: Scaling
    verdict: Verdict | None = None

    @property
    def needed_by_share(self) -> tuple[int, ...]:
        """How many ready pods each share from 0 to 100 percent needs."""
        capacity = self.scaling.capacity
        return tuple(needed_replicas(share, capacity, self.policy) for share in range(FULL_PERCENT + 1))

    @property
    def targets(self) -> Mapping[str, int | None]:
        """The Deployments whose manifests leave the number of pods out, and the number where the operator sets it."""
        match self.policy.scaled_by:
            case ScaledBy.MANIFEST:
                return {}
            case ScaledBy.AUTOSCALER:
                return dict.fromkeys(self.scaling.minimums)
            case ScaledBy.OPERATOR:
                return self.scaling.replicas


def decide_scaling(
    deployment: ModelDeployment, children: Children, loads: Mapping[str, Load], now: datetime
) -> Scaled:
    """Decide how many pods each revision should have; called before the rollout, which waits for them.

    Parameters
    ----------
    loads
        By revision, as the autoscaler knows them.
    """
    policy = ScalePolicy.of(deployment.spec.server)
    situation = view_situation(deployment, children, loads)
    scaling = plan_scaling(policy, deployment.status.scaling, situation, now)
    stored = children.stored.get(Key("HorizontalPodAutoscaler", situation.stable or ""))
    verdict = assess_scaling(policy, situation, view_hpa(stored) if stored else None)
    if policy.scaled_by is ScaledBy.AUTOSCALER and verdict is not None and not verdict.passed:
        # Nobody watches autoscalers: their figures change all the time.
        scaling = replace(scaling, requeue_after_s=AUTOSCALER_RETRY_S)
    return Scaled(policy, situation, scaling, verdict)


def view_situation(deployment: ModelDeployment, children: Children, loads: Mapping[str, Load]) -> Situation:
    """Reduce what was observed to what the numbers of pods are decided on."""
    status, views = deployment.status, children.views
    stable = find_stable(status.rollout, views)
    coming = {name: share for name, share in _coming(deployment).items() if name in views and name != stable}
    sizes = _sizes(children)
    now = _present_shares(children)
    arms = {
        name: Arm(sizes.get(name), max(now.get(name, 0), coming.get(name, 0)), loads.get(name))
        for name in sorted(sizes.keys() | coming.keys())
    }
    keeps_floor = is_under_way(status.rollout)
    return Situation(stable, frozenset(coming), arms, keeps_floor=keeps_floor)


def _coming(deployment: ModelDeployment) -> dict[str, int]:
    """Return the revisions on trial, and the share in percent that each is to have."""
    rollout, experiment = deployment.status.rollout, deployment.status.experiment
    shares: dict[str, int] = {}
    if experiment is not None and experiment.phase is not ExperimentPhase.ENDED:
        shares |= {arm.revision: arm.weight_percent for arm in experiment.arms if arm.revision}
    if rollout is not None and rollout.canary and is_under_way(rollout):
        shares[rollout.canary] = next_weight(deployment.spec.rollout, rollout)
    return shares


def _present_shares(children: Children) -> dict[str, int]:
    """Return what each revision gets by the stored route, in percent: of the requests, or of their copies."""
    route = children.route
    if route is None:
        return {}
    shares = dict(route.weights)
    if route.mirror is not None:
        shares[route.mirror.revision] = max(shares.get(route.mirror.revision, 0), route.mirror.percent)
    return shares


def _sizes(children: Children) -> dict[str, int]:
    """Return how many pods each revision's Deployment asks for."""
    return {
        key.name: stored["spec"].get("replicas", 1)
        for key, stored in children.stored.items()
        if key.kind == "Deployment" and key.name in children.views
    }
