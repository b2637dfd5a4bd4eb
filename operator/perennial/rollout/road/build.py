"""From `spec.rollout` to the road that a rollout walks."""

from perennial_api.modeldeployment.rollout import BlueGreen, Canary, Rollout, RolloutType
from perennial_api.modeldeployment.rollout import Step as SpecStep
from perennial_api.modeldeployment.status import RolloutStatus

from perennial.rollout.road.steps import (
    FULL_PERCENT,
    Look,
    MirrorCopies,
    Preview,
    Road,
    SetWeight,
    Stay,
    Step,
)

__all__ = ["build_road", "is_straight", "next_weight"]

# For an undo, a promotion to the end, and type Immediate: nothing stands between ready pods and all the traffic.
_STRAIGHT = Road((SetWeight(FULL_PERCENT),))


def build_road(spec: Rollout, rollout: RolloutStatus) -> Road:
    """Return the road of the revision on trial."""
    if is_straight(rollout):
        return _STRAIGHT
    match spec.type:
        case RolloutType.CANARY:
            return _canary(spec.canary)
        case RolloutType.BLUE_GREEN:
            return _blue_green(spec.blue_green or BlueGreen())
        case RolloutType.IMMEDIATE:
            return _STRAIGHT


def is_straight(rollout: RolloutStatus) -> bool:
    """Whether somebody asked for the end at once, by undo or by promote with full."""
    return rollout.promoted_fully or (rollout.canary is not None and rollout.pinned == rollout.canary)


def next_weight(spec: Rollout, rollout: RolloutStatus) -> int:
    """Return the share, in percent, that the revision on trial has or gets next, for which pods must be ready.

    Copies count as well as requests: each costs a pod as much.
    """
    road = build_road(spec, rollout)
    index = min(rollout.step_index, len(road.steps) - 1)
    here = road.steps[index]
    if isinstance(here, MirrorCopies):
        return here.percent
    ahead = (step.weight_percent for step in road.steps[index:] if isinstance(step, SetWeight))
    return next(ahead, road.weight_before(index))


def _canary(canary: Canary) -> Road:
    steps = [_to_step(step) for step in canary.steps]
    weights = [step.weight_percent for step in steps if isinstance(step, SetWeight)]
    if not weights or weights[-1] < FULL_PERCENT:
        steps.append(SetWeight(FULL_PERCENT))
    return Road(tuple(steps))


def _to_step(step: SpecStep) -> Step:
    if step.set_weight is not None:
        return SetWeight(step.set_weight)
    if step.analysis is not None:
        return Look(step.analysis.duration.seconds)
    if step.set_mirror is not None:
        return MirrorCopies(step.set_mirror.percent, step.set_mirror.duration.seconds)
    duration = step.pause.duration if step.pause else None
    return Stay(duration.seconds if duration else None)


def _blue_green(blue_green: BlueGreen) -> Road:
    """The old revision's pods all stay during the last step: until then the way back takes no time."""
    switch: tuple[Step, ...] = (SetWeight(FULL_PERCENT), Stay(blue_green.keep.seconds))
    if not blue_green.auto_promotion:
        return Road((Preview(None), *switch))
    if blue_green.preview.seconds == 0:
        return Road(switch)
    return Road((Preview(blue_green.preview.seconds), *switch))
