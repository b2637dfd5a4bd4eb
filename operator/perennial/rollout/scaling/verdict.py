"""Whether the number of pods can follow the load, for the condition that says so."""

from dataclasses import dataclass

from perennial.rollout.scaling.plan import Situation
from perennial.rollout.scaling.policy import ScaledBy, ScalePolicy
from perennial.rollout.verdicts import Verdict

__all__ = ["AutoscalerView", "assess_scaling"]


@dataclass(frozen=True, slots=True)
class AutoscalerView:
    """What a HorizontalPodAutoscaler says about itself.

    Attributes
    ----------
    is_active
        Whether it knows its metric; None before it has looked.
    """

    is_active: bool | None = None
    reason: str = ""
    message: str = ""


def assess_scaling(
    policy: ScalePolicy, situation: Situation, autoscaler: AutoscalerView | None
) -> Verdict | None:
    """Say whether the stable revision's pods follow the load, and if not, what to do; None where nothing scales.

    Parameters
    ----------
    autoscaler
        Of the stable revision, where the cluster scales it and it exists.
    """
    if policy.metric is None or situation.stable is None:
        return None
    follows = Verdict(True, "FollowsLoad", f"The number of pods follows {policy.metric}.")
    if policy.scaled_by is ScaledBy.AUTOSCALER:
        return _assess_autoscaler(situation.stable, autoscaler) or follows
    arm = situation.arms.get(situation.stable)
    if arm is None or arm.load is None:
        text = "The gateway hasn't been read for long enough to know the load; the pods stay as they are."
        return Verdict(False, "LoadUnknown", text)
    if not arm.load.is_complete:
        text = "A router doesn't answer, so the load may be larger: pods are added but none are taken."
        return Verdict(False, "RouterUnreachable", text)
    if arm.load.value > policy.maximum * policy.target:
        text = f"The load needs more than the {policy.maximum} pods of server.maxReplicas: raise it."
        return Verdict(False, "AtMaximum", text)
    return follows


def _assess_autoscaler(stable: str, autoscaler: AutoscalerView | None) -> Verdict | None:
    if autoscaler is None or autoscaler.is_active is None:
        text = f"The HorizontalPodAutoscaler {stable} hasn't looked at its metric yet."
        return Verdict(False, "NoMetricYet", text)
    if autoscaler.is_active:
        return None
    text = (
        f"The HorizontalPodAutoscaler {stable} can't scale: {autoscaler.message} It needs metrics-server, and a request "
        "of the resource in server.resources or in the runtime."
    )
    return Verdict(False, autoscaler.reason or "AutoscalerInactive", text)
