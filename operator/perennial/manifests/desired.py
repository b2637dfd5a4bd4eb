"""Every child that must exist after a pass."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from perennial_api.modeldeployment.resource import ModelDeploymentSpec
from perennial_api.modelrevision import ModelRevision
from perennial_api.retrainingrun import RetrainingRun

from perennial.manifests.context import Installation, Manifest, Owner
from perennial.manifests.deployment import build_deployment
from perennial.manifests.hpa import build_hpa
from perennial.manifests.plan import Key
from perennial.manifests.route import RouteWish, build_route
from perennial.manifests.service import build_address, build_service
from perennial.manifests.service_account import build_service_accounts
from perennial.rollout.decision import Decision
from perennial.rollout.revision_status import choose_kept_revisions, choose_kept_runs
from perennial.rollout.scaling import ScaledBy, ScalePolicy

__all__ = ["Wish", "build_desired"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What was decided, and what is there to keep.

    Attributes
    ----------
    revisions
        All revisions, with one that is to be made.
    made
        Objects that this pass makes: a revision, a run, a Job.
    stored
        Children as read; history is kept as it is.
    minimums
        The fewest pods of each revision at this moment, where the load decides; else the spec's.
    """

    spec: ModelDeploymentSpec
    decision: Decision
    revisions: Mapping[str, ModelRevision]
    runs: tuple[RetrainingRun, ...]
    made: tuple[Manifest, ...]
    stored: Mapping[Key, Mapping[str, Any]]
    minimums: Mapping[str, int] = field(default_factory=dict)


def build_desired(owner: Owner, wish: Wish, installation: Installation) -> list[Manifest]:
    """Build all children; what exists beside them and is ours goes."""
    decision = wish.decision
    served = [wish.revisions[name] for name in sorted(decision.keep) if name in wish.revisions]
    desired = [*build_service_accounts(owner), build_address(owner, installation), *wish.made]
    for revision in served:
        desired += [build_service(owner, revision), *_workload(owner, wish, revision)]
    if decision.weights:
        runtimes = {name: revision.spec.runtime for name, revision in wish.revisions.items()}
        desired.append(build_route(owner, RouteWish.of(decision), runtimes, wish.spec.server))
    return [*desired, *_history(wish)]


def _workload(owner: Owner, wish: Wish, revision: ModelRevision) -> list[Manifest]:
    """Build what runs a revision's pods, and what scales them where the cluster does."""
    policy = ScalePolicy.of(wish.spec.server)
    minimum = wish.minimums.get(revision.metadata.name, policy.minimum)
    match policy.scaled_by:
        case ScaledBy.MANIFEST:
            return [build_deployment(owner, revision, policy.minimum)]
        case ScaledBy.OPERATOR:
            return [build_deployment(owner, revision, None)]
        case ScaledBy.AUTOSCALER:
            return [build_deployment(owner, revision, None), build_hpa(owner, revision, policy, minimum)]


def _history(wish: Wish) -> Iterable[Manifest]:
    kept_revisions = choose_kept_revisions(
        wish.revisions, wish.decision, wish.runs, wish.spec.revision_history_limit
    )
    kept_runs = choose_kept_runs(wish.runs)
    kept = {Key("ModelRevision", name) for name in kept_revisions}
    kept |= {Key(kind, name) for name in kept_runs for kind in ("RetrainingRun", "Job")}
    return [dict(stored) for key, stored in wish.stored.items() if key in kept]
