"""Hear everybody who may ask for a revision: the spec, people and the experiment."""

from dataclasses import dataclass, replace
from datetime import datetime

from perennial_api.modeldeployment.resource import ModelDeployment
from perennial_api.modeldeployment.server import OnTooSlow
from perennial_api.modeldeployment.status import RolloutStatus
from perennial_api.modeldeployment.warmup_status import WarmUp

from perennial.cluster.observe import Children, Runtimes
from perennial.controller.commands import answer_command
from perennial.controller.experiments import Experimenting, decide_experiment
from perennial.controller.scaling import Scaled
from perennial.controller.target import Target, Wishes, choose
from perennial.manifests.context import Installation, Manifest, Owner
from perennial.rollout.experiment import promoted_revision
from perennial.rollout.machine import restore
from perennial.rollout.observed import Observed
from perennial.rollout.verbs import Answer, Situation

__all__ = ["Heard", "hear", "view_observed"]


@dataclass(frozen=True, slots=True)
class Heard:
    """What is asked for, by whom, and what the experiment does meanwhile.

    Attributes
    ----------
    target
        With all children, even those that this pass makes.
    rollout
        `status.rollout`, as the command has changed it.
    made
        The revisions that this pass makes.
    """

    target: Target
    answer: Answer | None
    trial: Experimenting
    rollout: RolloutStatus | None
    made: tuple[Manifest, ...]


def hear(
    owner: Owner,
    deployment: ModelDeployment,
    children: Children,
    runtimes: Runtimes,
    installation: Installation,
    *,
    scaled: Scaled,
    now: datetime,
) -> Heard:
    """Choose the target, hear what people and the experiment say to it, and choose again where they want another."""
    spec, status = deployment.spec, deployment.status
    winner = promoted_revision(status.experiment)
    wishes = Wishes(spec, status.rollout, winner=winner)
    target = choose(owner, wishes, children, runtimes, installation)
    current = restore(status.rollout, target.children.views, target.name)
    situation = Situation(owner.deployment, spec.rollout, current, children.views, status.experiment, now)
    answer = answer_command(deployment.metadata.annotations, status.last_command, situation)
    said = answer.rollout.rollout if answer and answer.rollout else current
    trial = decide_experiment(
        owner,
        deployment,
        target.children,
        runtimes,
        installation,
        observed=view_observed(deployment, target.children, target.name, None, scaled=scaled),
        rollout=said,
        command=answer.experiment if answer else None,
        now=now,
    )
    target = replace(target, children=trial.children)
    made = (*target.made, *trial.made)
    wished = Wishes(
        spec, said, answer.undone_to if answer else None, promoted_revision(trial.decision.status)
    )
    if said.pinned != current.pinned or wished.winner != winner:
        target = choose(owner, wished, trial.children, runtimes, installation)
        made = (*made, *target.made)
    return Heard(target, answer, trial, said if answer and answer.rollout else status.rollout, made)


def view_observed(
    deployment: ModelDeployment,
    children: Children,
    target: str | None,
    warm_up: WarmUp | None = None,
    *,
    scaled: Scaled,
) -> Observed:
    """Reduce what was observed to what decisions need."""
    server = deployment.spec.server
    return Observed(
        children.views,
        target,
        children.route,
        children.routers,
        server.min_replicas,
        deployment=deployment.metadata.name,
        warm_up_required=server.latency_budget is not None,
        warm_up=warm_up,
        needed=scaled.scaling.needed,
        needed_by_share=scaled.needed_by_share,
        refuse_too_slow=server.on_too_slow is OnTooSlow.REFUSE,
        arms={arm.revision: arm for arm in children.report.status.arms} if children.report else {},
    )
