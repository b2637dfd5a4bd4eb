"""Whether a person may end an experiment with a variant as its winner."""

from perennial_api.modeldeployment.experiment_status import ExperimentStatus, VariantState

from perennial.rollout.experiment.arms import variants_of
from perennial.rollout.experiment.attempt import is_under_way
from perennial.rollout.verdicts import Verdict

__all__ = ["assess_promotion"]


def assess_promotion(variant: str | None, status: ExperimentStatus | None) -> Verdict:
    """Judge the verb promote with a variant; called where the command is answered, and where it is carried out."""
    if status is None or not is_under_way(status):
        text = "No experiment is under way, so there is no variant to promote."
        return Verdict(False, "NoExperiment", text)
    variants = {arm.name: arm for arm in variants_of(status)}
    arm = variants.get(variant or "")
    if arm is None:
        text = f"The experiment has no variant {variant}: name one of {', '.join(variants)}."
        return Verdict(False, "UnknownVariant", text)
    if arm.state is VariantState.UNSAFE:
        text = f"{arm.name} was found unsafe, edit the experiment to try it again: {arm.message}"
        return Verdict(False, "VariantUnsafe", text)
    if arm.revision is None:
        text = f"{arm.name} has no revision yet, wait for it: {arm.message or status.message}"
        return Verdict(False, "VariantNotReady", text)
    return Verdict(True, "VariantPromoted", f"The experiment ends and {arm.name} takes the rollout's road.")
