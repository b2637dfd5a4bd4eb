"""Which model is wanted now: the spec's, a retrained candidate's, or that of the stable revision.

A retrained model never edits the spec. So the hash of the `spec.model` under which a revision was made is kept on
the revision: while `spec.model` still has the stable revision's hash, an edit of anything else rebases on the stable
revision's model; a `spec.model` with another hash always wins.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from perennial_api.modeldeployment.model import ModelSource
from perennial_api.modeldeployment.resource import ModelDeploymentSpec
from perennial_api.modeldeployment.status import RolloutStatus
from perennial_api.modelrevision import Origin, RevisionRole
from perennial_api.retrainingrun import RetrainingPhase, RetrainingRun

from perennial.rollout.observed import RevisionView

__all__ = [
    "Wanted",
    "choose_again",
    "choose_target",
    "choose_wanted",
    "digest_of",
    "hash_inputs",
    "hash_model",
    "open_candidate",
]

HASH_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """The revision that is asked for, before one knows whether it exists.

    Attributes
    ----------
    model_uri, digest, secret
        The bundle, and the Secret with which its store is asked.
    model_hash
        Hash of the `spec.model` in force.
    inputs_hash
        Hash of all the user's wishes that a revision answers.
    retraining_run
        The run whose candidate it is, for origin Retraining.
    variant
        The variant that it serves, for origin Experiment.
    """

    model_uri: str
    digest: str
    model_hash: str
    inputs_hash: str
    origin: Origin
    retraining_run: str | None = None
    variant: str | None = None
    secret: str | None = None


def digest_of(value: Any) -> str:
    """Return a short stable hash of JSON values, as hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]


def hash_model(model: ModelSource) -> str:
    """Return the hash of `spec.model` by which its edits are told."""
    return digest_of(model.to_api())


_OUTSIDE_PODS = {
    "minReplicas",
    "maxReplicas",
    "scaleMetric",
    "scaleTarget",
    "scaleDownWindow",
    "latencyBudget",
    "onTooSlow",
    "requestTimeout",
    "maxRequestSize",
}
"""Fields of `spec.server` that no pod is made of: changing them, or learning of them, restarts no model."""
WHOLE_PERCENT = 100


def hash_inputs(spec: ModelDeploymentSpec, model_uri: str, digest: str, secret: str | None = None) -> str:
    """Return the hash of what makes a revision: model, server (but not its scale and limits) and logger.

    Neither the runtime's content nor anything that this program adds is part of it: an upgrade of either makes no
    new revision, hence restarts no model. The next one that the user asks for picks them up.
    """
    server = {key: value for key, value in spec.server.to_api().items() if key not in _OUTSIDE_PODS}
    logger = spec.logger.to_api()
    if spec.logger.percent == WHOLE_PERCENT:
        del logger["percent"]  # as revisions were hashed before there was a share
    wish = {"uri": model_uri, "digest": digest, "server": server, "logger": logger}
    return digest_of(wish if secret is None else {**wish, "secret": secret})


def open_candidate(
    runs: Iterable[RetrainingRun], revisions: Mapping[str, RevisionView], stable: RevisionView
) -> RetrainingRun | None:
    """Return the latest run if its accepted candidate is still meant to replace the stable revision.

    It isn't once the stable revision has another model than the run's champion, or the candidate's own, or once
    the candidate was stable and was replaced. While its revision is marked as stable it still is: the deployment's
    status may not say so yet.
    """
    latest = max(runs, key=_age_key, default=None)
    if latest is None or latest.status.phase is not RetrainingPhase.ACCEPTED or latest.status.result is None:
        return None
    uri = latest.status.result.candidate_uri
    if uri is None or uri == stable.model_uri or latest.spec.champion_uri != stable.model_uri:
        return None
    replaced = any(
        r.retraining_run == latest.metadata.name and r.stable_at and r.role is RevisionRole.RETIRED
        for r in revisions.values()
    )
    return None if replaced else latest


def choose_wanted(
    spec: ModelDeploymentSpec,
    stable: RevisionView | None,
    runs: Iterable[RetrainingRun],
    revisions: Mapping[str, RevisionView],
    chosen: RevisionView | None = None,
) -> Wanted:
    """Decide which model is wanted, and with which origin.

    `chosen` is the revision that an undo or the end of an experiment put in the place of the spec's. It holds until
    `spec.model` changes; an edit of anything else rebases on its model.
    """
    model_hash = hash_model(spec.model)
    if chosen is not None and chosen.model_hash_in_force == model_hash:
        return _same_model(spec, chosen, model_hash)
    if stable is None or stable.model_hash_in_force != model_hash:
        uri, digest, secret = spec.model.uri, spec.model.digest, spec.model.secret
        inputs_hash = hash_inputs(spec, uri, digest, secret)
        return Wanted(uri, digest, model_hash, inputs_hash, Origin.SPEC, secret=secret)
    run = open_candidate(runs, revisions, stable)
    if run is not None and run.status.result is not None and run.status.result.candidate_uri is not None:
        uri = run.status.result.candidate_uri
        digest = uri.removeprefix("perennial://")
        wanted = Wanted(
            uri, digest, model_hash, hash_inputs(spec, uri, digest), Origin.RETRAINING, run.metadata.name
        )
        if not _failed_in_another_form(wanted, revisions):
            return wanted
    return _same_model(spec, stable, model_hash)


def _same_model(spec: ModelDeploymentSpec, base: RevisionView, model_hash: str) -> Wanted:
    """The model of a revision, with everything else as the spec says it."""
    inputs_hash = hash_inputs(spec, base.model_uri, base.digest, base.secret)
    # What is made anew of a variant is no variant: somebody's edit made it.
    origin = Origin.SPEC if base.origin is Origin.EXPERIMENT else base.origin
    run, secret = base.retraining_run, base.secret
    return Wanted(base.model_uri, base.digest, model_hash, inputs_hash, origin, run, secret=secret)


def _failed_in_another_form(wanted: Wanted, revisions: Mapping[str, RevisionView]) -> bool:
    """Whether this candidate failed with other settings: an edit of those must not bring it back."""
    failed = [
        r
        for r in revisions.values()
        if r.retraining_run == wanted.retraining_run and r.role is RevisionRole.FAILED
    ]
    return bool(failed) and all(r.inputs_hash != wanted.inputs_hash for r in failed)


def choose_target(
    wanted: Wanted,
    revisions: Mapping[str, RevisionView],
    stable: str | None,
    canary: str | None,
    planned: str | None,
    *,
    chosen: str | None = None,
) -> str | None:
    """Return the existing revision that answers the wish, or None when one has to be made.

    `planned` is the name of the one that would be made with the runtime as it is now. A revision that has been
    stable is as good as before when its runtime changes, and goes on; one that never was is replaced, so that a
    repaired runtime gets a new attempt. None, when the runtime can't be had, takes what is there. A variant of an
    experiment answers no wish before it has been chosen. What undo or an experiment chose comes first of all: the
    stable revision may have been made for the very same wish.
    """
    fitting = [
        r
        for r in revisions.values()
        if r.answers(wanted.model_hash, wanted.inputs_hash)
        and (planned in (None, r.name) or r.stable_at is not None or r.consumed_model_hash is not None)
        and not (r.origin is Origin.EXPERIMENT and r.consumed_model_hash is None)
    ]
    if not fitting:
        return None
    preferred = {canary: 1, stable: 2, chosen: 3}
    return max(fitting, key=lambda r: (preferred.get(r.name, 0), str(r.created_at or ""), r.name)).name


def choose_again(
    status: RolloutStatus | None,
    revisions: Mapping[str, RevisionView],
    stable: str | None,
    winner: str | None,
) -> RevisionView | None:
    """Return the revision that is to replace the stable one though the spec doesn't name it.

    That is what undo pinned, else what won an experiment and wasn't replaced since, else, where the status was lost,
    a revision on trial that had been chosen so. Once stable, it holds by the hash that it keeps.
    """
    if status is None:
        on_trial = (r for r in revisions.values() if r.role is RevisionRole.CANARY and r.consumed_model_hash)
        return min(on_trial, key=lambda r: r.name, default=None)
    pinned = revisions.get(status.pinned or "")
    if pinned is not None and pinned.name != stable:
        return pinned
    won = revisions.get(winner or "")
    if won is None or won.name == stable or (won.role is RevisionRole.RETIRED and won.stable_at):
        return None
    return won


def _age_key(run: RetrainingRun) -> tuple[str, str]:
    return str(run.metadata.creation_timestamp or ""), run.metadata.name
