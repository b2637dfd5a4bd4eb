"""How a shadow's answers differ from the live ones: the observer's counts, summed over its restarts."""

from perennial_api.arms import Arm, ShadowPairs
from perennial_api.modeldeployment.experiment_status import (
    ArmStatus,
    ExperimentStatus,
    ReportMark,
    ShadowComparison,
)

from perennial.rollout.experiment.facts import ExperimentFacts

__all__ = ["compare_shadow", "describe_shadow"]


def compare_shadow(status: ExperimentStatus, facts: ExperimentFacts) -> ExperimentStatus:
    """Add what the observer has compared since the last look."""
    arms = tuple(_add(arm, facts.observed.arms.get(arm.revision or "")) for arm in status.arms)
    return status.model_copy(update={"arms": arms})


def _add(arm: ArmStatus, reported: Arm | None) -> ArmStatus:
    if reported is None or reported.shadow is None:
        return arm
    seen, before = reported.shadow, arm.shadow or ShadowComparison()
    mark = arm.mark if arm.mark and arm.mark.since == reported.since else ReportMark(since=reported.since)
    pairs = before.pairs + max(0, seen.agreement.total - mark.total)
    agreements = before.agreements + max(0, _agreements(seen) - (mark.total - round(mark.bad)))
    differences = before.differences + max(0, seen.differences - mark.differences)
    difference_sum = before.difference_sum + max(0.0, seen.difference_sum - mark.difference_sum)
    largest = max(before.largest_difference or 0.0, seen.difference_max)
    shadow = ShadowComparison(
        requests=before.requests + max(0, seen.requests - mark.requests),
        pairs=pairs,
        agreements=min(agreements, pairs),
        agreement_rate=min(agreements, pairs) / pairs if pairs else None,
        differences=differences,
        difference_sum=difference_sum,
        mean_difference=difference_sum / differences if differences else None,
        largest_difference=largest if differences else None,
    )
    return arm.model_copy(update={"shadow": shadow, "mark": _mark(reported, seen)})


def _agreements(seen: ShadowPairs) -> int:
    return seen.agreement.total - seen.agreement.bad


def _mark(reported: Arm, seen: ShadowPairs) -> ReportMark:
    return ReportMark(
        since=reported.since,
        requests=seen.requests,
        total=seen.agreement.total,
        bad=float(seen.agreement.bad),
        differences=seen.differences,
        difference_sum=seen.difference_sum,
    )


def describe_shadow(arm: ArmStatus) -> str:
    """Say in a sentence how the answers differed."""
    shadow = arm.shadow
    if shadow is None or shadow.agreement_rate is None:
        return f"No answer of {arm.name} could be compared with a live one."
    text = (
        f"{arm.name} agreed with the stable revision in {shadow.agreement_rate:.2%} of {shadow.pairs} answers"
    )
    if shadow.mean_difference is not None:
        text += f"; numbers differed by {shadow.mean_difference:.4g} on average, {shadow.largest_difference:.4g} at most"
    return f"{text}."
