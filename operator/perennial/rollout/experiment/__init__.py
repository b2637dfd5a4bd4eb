"""Long-running comparisons of variants with the stable revision: A/B tests, bandits and shadows.

`step_experiment` is the one entry: a pure function from spec, status, facts and time to the next status and a plan of
shares. It knows nothing of rollouts but that one excludes the other; the rollout's machine turns the plan into weights,
drains and roles.
"""

from perennial.rollout.experiment.attempt import is_about, is_under_way
from perennial.rollout.experiment.commands import assess_promotion
from perennial.rollout.experiment.ending import EndReason, promoted_revision
from perennial.rollout.experiment.facts import ExperimentDecision, ExperimentFacts
from perennial.rollout.experiment.step import step_experiment

__all__ = [
    "EndReason",
    "ExperimentDecision",
    "ExperimentFacts",
    "assess_promotion",
    "is_about",
    "is_under_way",
    "promoted_revision",
    "step_experiment",
]
