"""Begin an experiment: each attempt has a number, and from it a salt and a seed of its own."""

import hashlib

from perennial_api.modeldeployment.experiment import Experiment
from perennial_api.modeldeployment.experiment_status import (
    ArmStatus,
    ExperimentPhase,
    ExperimentStatus,
    VariantState,
)

from perennial.rollout.experiment.facts import STABLE, ExperimentFacts
from perennial.rollout.lineage import digest_of

__all__ = ["begin", "hash_experiment", "is_about", "is_under_way"]

_SEED_DIGITS = 8


def hash_experiment(spec: Experiment) -> str:
    """Return the hash of `spec.experiment` by which its edits are told."""
    return digest_of(spec.to_api())


def is_under_way(status: ExperimentStatus | None) -> bool:
    """Whether an experiment waits or runs."""
    return status is not None and status.phase is not ExperimentPhase.ENDED


def is_about(status: ExperimentStatus | None, spec: Experiment, stable: str | None) -> bool:
    """Whether a status is about this spec, compared with this stable revision; one that ended compares no more."""
    if status is None or status.spec_hash != hash_experiment(spec):
        return False
    return not is_under_way(status) or status.stable in {None, stable}


def begin(spec: Experiment, previous: ExperimentStatus | None, facts: ExperimentFacts) -> ExperimentStatus:
    """Return the status of a new attempt.

    The salt differs from any earlier one, so that the clients are split anew and no group of them is always tried on.
    """
    attempt = (previous.attempt if previous else 0) + 1
    digest = hashlib.sha256(f"{facts.uid}/{attempt}".encode()).hexdigest()
    names = (STABLE, *(variant.name for variant in spec.variants))
    return ExperimentStatus(
        type=spec.type,
        phase=ExperimentPhase.WAITING,
        spec_hash=hash_experiment(spec),
        attempt=attempt,
        salt=digest[_SEED_DIGITS : 3 * _SEED_DIGITS],
        seed=int(digest[:_SEED_DIGITS], 16),
        arms=tuple(
            ArmStatus(name=n, state=VariantState.RUNNING if n == STABLE else VariantState.WAITING_FOR_PODS)
            for n in names
        ),
    )
