"""Which revision the pass is about: one that exists, or one that it makes."""

from dataclasses import dataclass, replace

from perennial_api.labels import ConditionType
from perennial_api.modeldeployment.resource import ModelDeploymentSpec
from perennial_api.modeldeployment.status import RolloutStatus
from perennial_api.modelrevision import ModelRevision

from perennial.cluster.observe import Children, Runtimes
from perennial.errors import InvalidSpecError
from perennial.manifests.context import Installation, Manifest, Owner
from perennial.manifests.revision import build_revision, fit_runtime, name_revision
from perennial.manifests.views import view_revisions
from perennial.rollout.conditions import Problem
from perennial.rollout.lineage import choose_again, choose_target, choose_wanted, hash_inputs, hash_model
from perennial.rollout.machine import find_stable
from perennial.rollout.revision_status import Choice

__all__ = ["Target", "Wishes", "choose"]


@dataclass(frozen=True, slots=True)
class Target:
    """The revision that is asked for, with the children, among which it is even if this pass makes it.

    Attributes
    ----------
    name
        None where the wish can't be honoured; `problem` then says why.
    choice
        What is to be kept on a revision that stands for the wish though it was made for another.
    """

    children: Children
    name: str | None
    made: tuple[Manifest, ...] = ()
    problem: Problem | None = None
    choice: Choice | None = None


@dataclass(frozen=True, slots=True)
class Wishes:
    """Who may ask for a revision beside the spec.

    Attributes
    ----------
    undone_to
        The revision that a command asked for in this pass.
    winner
        The revision that an experiment has made the candidate.
    """

    spec: ModelDeploymentSpec
    rollout: RolloutStatus | None
    undone_to: str | None = None
    winner: str | None = None


def choose(
    owner: Owner, wishes: Wishes, children: Children, runtimes: Runtimes, installation: Installation
) -> Target:
    """Choose the revision that is asked for, or build it."""
    spec, rollout, views = wishes.spec, wishes.rollout, children.views
    stable = find_stable(rollout, views)
    chosen = choose_again(rollout, views, stable, wishes.winner)
    fresh = wishes.undone_to or _fresh_winner(wishes, chosen.name if chosen else None, children)
    if fresh is not None:
        return Target(children, fresh, choice=_choice(spec, fresh, children))
    wanted = choose_wanted(spec, views.get(stable or ""), children.runs, views, chosen)
    runtime = fit_runtime(runtimes.server, wanted.model_uri, spec.logger, spec.server.outlier_scores)
    planned = (
        None if isinstance(runtime, InvalidSpecError) else name_revision(owner.deployment, wanted, runtime)
    )
    canary = rollout.canary if rollout else None
    again = chosen.name if chosen else None
    name = choose_target(wanted, views, stable, canary, planned, chosen=again)
    if name is not None:
        return Target(children, name, choice=_own_again(spec, name, stable, children))
    if isinstance(runtime, InvalidSpecError):
        problem = Problem(ConditionType.INVALID_SPEC, runtime.reason, runtime.message)
        return Target(children, None, problem=problem)
    made = build_revision(owner, spec, wanted, runtime, installation, parent=stable)
    revision = ModelRevision.model_validate(made)
    name = revision.metadata.name
    with_new = replace(
        children,
        revisions={**children.revisions, name: revision},
        views={**views, **view_revisions([revision], (), (), {})},
    )
    return Target(with_new, name, (made,))


def _fresh_winner(wishes: Wishes, chosen: str | None, children: Children) -> str | None:
    """Return the winner in the pass that first sees it, unless `spec.model` was changed since its variant was made."""
    if chosen is None or chosen != wishes.winner:
        return None
    view = children.views[chosen]
    is_fresh = view.consumed_model_hash is None and view.model_hash == hash_model(wishes.spec.model)
    return chosen if is_fresh else None


def _choice(spec: ModelDeploymentSpec, name: str, children: Children) -> Choice:
    view = children.views[name]
    return Choice(name, hash_model(spec.model), hash_inputs(spec, view.model_uri, view.digest, view.secret))


def _own_again(spec: ModelDeploymentSpec, name: str, stable: str | None, children: Children) -> Choice | None:
    """Let a revision stand for its own wish again once the spec has come back to that: an undo holds no longer."""
    view = children.views[name]
    model_hash = hash_model(spec.model)
    is_back = name == stable and view.model_hash == model_hash != view.consumed_model_hash
    return Choice(name, None, None) if is_back and view.consumed_model_hash is not None else None
