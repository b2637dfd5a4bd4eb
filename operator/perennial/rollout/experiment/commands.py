"""The verbs that concern an experiment: abort ends it, promote --variant ends it with that winner."""

from perennial_api.modeldeployment.command_status import Command, Verb
from perennial_api.modeldeployment.experiment_status import ExperimentStatus, VariantState

from perennial.rollout.experiment.arms import variants_of
from perennial.rollout.experiment.attempt import is_under_way
from perennial.rollout.verdicts import Verdict

__all__ = ["assess_command", "concerns_experiment"]


def concerns_experiment(command: Command, status: ExperimentStatus | None) -> bool:
    """Whether a verb is meant for the experiment and not for a rollout.

    While an experiment is under way no rollout is, so that abort can mean nothing else, unless it names a revision
    that is no variant's.
    """
    if command.verb is Verb.PROMOTE:
        return command.variant is not None
    if command.verb is not Verb.ABORT or status is None or not is_under_way(status):
        return False
    return command.revision is None or command.revision in {arm.revision for arm in variants_of(status)}


def assess_command(command: Command, status: ExperimentStatus | None) -> Verdict:
    """Say whether a verb that concerns the experiment can be carried out."""
    if status is None or not is_under_way(status):
        text = "No experiment is under way: there is nothing to abort or to promote from."
        return Verdict(False, "NoExperiment", text)
    if command.verb is Verb.ABORT:
        return Verdict(
            True, "ExperimentAborted", "The experiment ends; the stable revision keeps all traffic."
        )
    variants = {arm.name: arm for arm in variants_of(status)}
    arm = variants.get(command.variant or "")
    if arm is None:
        return Verdict(False, "NoSuchVariant", f"The experiment has the variants {', '.join(variants)}.")
    if arm.state is VariantState.UNSAFE:
        return Verdict(False, "VariantUnsafe", f"{arm.name} isn't promoted: {arm.message}")
    if arm.revision is None:
        return Verdict(False, "VariantNotReady", f"{arm.name} has no revision yet: {arm.message}")
    return Verdict(True, "VariantPromoted", f"The experiment ends; {arm.revision} goes on to its rollout.")
