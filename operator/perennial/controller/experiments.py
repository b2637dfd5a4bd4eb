"""The experiment's part of a pass: which revisions its variants are, and what it does now."""

from dataclasses import dataclass, replace
from datetime import datetime

from perennial_api.modeldeployment.command_status import Command
from perennial_api.modeldeployment.experiment import Variant
from perennial_api.modeldeployment.experiment_status import ExperimentStatus
from perennial_api.modeldeployment.resource import ModelDeployment, ModelDeploymentSpec
from perennial_api.modeldeployment.status import RolloutStatus
from perennial_api.modelrevision import ModelRevision, Origin

from perennial.cluster.observe import Children, Runtimes
from perennial.errors import InvalidSpecError
from perennial.manifests.context import Installation, Manifest, Owner
from perennial.manifests.revision import build_revision, fit_runtime, name_revision
from perennial.manifests.views import view_revisions
from perennial.rollout.conclude import is_under_way as is_rolling_out
from perennial.rollout.experiment import (
    ExperimentDecision,
    ExperimentFacts,
    is_about,
    is_under_way,
    step_experiment,
)
from perennial.rollout.lineage import Wanted, hash_inputs, hash_model
from perennial.rollout.observed import Observed

__all__ = ["Experimenting", "decide_experiment"]


@dataclass(frozen=True, slots=True)
class Experimenting:
    """What the experiment does in this pass.

    Attributes
    ----------
    children
        With the variants' revisions among them, even those that this pass makes.
    made
        The manifests of the latter.
    """

    decision: ExperimentDecision
    children: Children
    made: tuple[Manifest, ...] = ()


@dataclass(frozen=True, slots=True)
class _Variants:
    """The variants' revisions by name of the variant, or why some can't be made."""

    names: dict[str, str]
    made: tuple[Manifest, ...] = ()
    problem: tuple[str, str] | None = None


def decide_experiment(
    owner: Owner,
    deployment: ModelDeployment,
    children: Children,
    runtimes: Runtimes,
    installation: Installation,
    *,
    observed: Observed,
    rollout: RolloutStatus,
    command: Command | None,
    now: datetime,
) -> Experimenting:
    """Find or build the revisions of the variants, and decide what the experiment does.

    Parameters
    ----------
    rollout
        `status.rollout`, restored: its stable revision is the one that the variants are compared with.
    command
        An accepted verb that is for the experiment, or None.
    """
    spec, status = deployment.spec, deployment.status.experiment
    under_way = is_rolling_out(rollout)
    variants = _Variants({})
    if not under_way and _needs_variants(spec, status, rollout.stable):
        variants = _find_variants(owner, deployment, children, runtimes, installation, stable=rollout.stable)
    made = [ModelRevision.model_validate(manifest) for manifest in variants.made]
    with_new = replace(
        children,
        revisions={**children.revisions, **{revision.metadata.name: revision for revision in made}},
        views={**children.views, **view_revisions(made, (), (), {})},
    )
    facts = ExperimentFacts(
        uid=owner.uid,
        observed=replace(observed, revisions=with_new.views),
        stable=rollout.stable,
        analysis=spec.rollout.analysis,
        rollout_under_way=under_way,
        variants=variants.names,
        problem=variants.problem,
        command=command,
    )
    return Experimenting(step_experiment(spec.experiment, status, facts, now), with_new, variants.made)


def _needs_variants(spec: ModelDeploymentSpec, status: ExperimentStatus | None, stable: str | None) -> bool:
    if spec.experiment is None or stable is None:
        return False
    return is_under_way(status) or not is_about(status, spec.experiment, stable)


def _find_variants(
    owner: Owner,
    deployment: ModelDeployment,
    children: Children,
    runtimes: Runtimes,
    installation: Installation,
    *,
    stable: str | None,
) -> _Variants:
    """Keep the revisions that the experiment began with, whatever was edited since; find or build the others."""
    spec, status = deployment.spec, deployment.status.experiment
    assert spec.experiment is not None, "only an experiment has variants"
    names: dict[str, str] = {}
    if status is not None and is_about(status, spec.experiment, stable):
        named = {arm.name: arm.revision or "" for arm in status.arms}
        names = {name: revision for name, revision in named.items() if revision in children.revisions}
    missing = [variant for variant in spec.experiment.variants if variant.name not in names]
    made = []
    for variant in missing:
        wanted = _want(spec, variant)
        runtime = fit_runtime(runtimes.server, wanted.model_uri, spec.logger, spec.server.outlier_scores)
        if isinstance(runtime, InvalidSpecError):
            return _Variants(names, problem=(runtime.reason, runtime.message))
        names[variant.name] = name_revision(owner.deployment, wanted, runtime)
        if names[variant.name] not in children.revisions:
            made.append(build_revision(owner, spec, wanted, runtime, installation, parent=stable))
    return _Variants(names, tuple(made))


def _want(spec: ModelDeploymentSpec, variant: Variant) -> Wanted:
    """Wish for the variant's model, with everything else as the spec says it."""
    uri, digest, secret = variant.model.uri, variant.model.digest, variant.model.secret
    return Wanted(
        uri,
        digest,
        hash_model(spec.model),
        hash_inputs(spec, uri, digest, secret),
        Origin.EXPERIMENT,
        variant=variant.name,
        secret=secret,
    )
