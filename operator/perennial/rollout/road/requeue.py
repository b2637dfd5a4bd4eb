"""When a rollout must be looked at again."""

from datetime import datetime, timedelta

from perennial_api.modeldeployment.gate_status import Gate
from perennial_api.modeldeployment.rollout import Rollout
from perennial_api.modeldeployment.status import RolloutStatus

from perennial.rollout.decision import StepState
from perennial.rollout.gate import next_look_at
from perennial.rollout.road.build import build_road
from perennial.rollout.road.gates import weight_since
from perennial.rollout.road.steps import MirrorCopies, Preview, Road, Stay
from perennial.rollout.settings import RolloutSettings

__all__ = ["requeue_after_s"]

SHORTEST_REQUEUE_S = 0.2
_APPLYING = frozenset({StepState.MIRRORING, StepState.PREVIEWING})


def requeue_after_s(
    spec: Rollout, rollout: RolloutStatus, settings: RolloutSettings, now: datetime
) -> float | None:
    """Return the seconds until then, or None when nothing is on trial."""
    if rollout.canary is None:
        return None
    if rollout.step_state == StepState.SHIFTING:
        return settings.verify_interval_s
    if rollout.step_state in _APPLYING and rollout.step_applied_at is None:
        return settings.verify_interval_s
    due = [now + timedelta(seconds=spec.analysis.interval.seconds)]
    road = build_road(spec, rollout)
    if since := weight_since(road, rollout):
        due.append(next_look_at(rollout.gate or Gate(), spec.analysis, since))
    if end := _end_of_step(road, rollout):
        due.append(end)
    return max(SHORTEST_REQUEUE_S, (min(due) - now).total_seconds())


def _end_of_step(road: Road, rollout: RolloutStatus) -> datetime | None:
    match road.steps[min(rollout.step_index, len(road.steps) - 1)]:
        case Stay(float(duration_s)):
            began = rollout.step_started_at if rollout.step_state == StepState.PAUSING else None
        case MirrorCopies(_, duration_s) | Preview(float(duration_s)):
            began = rollout.step_applied_at if rollout.step_state in _APPLYING else None
        case _:
            return None
    return began + timedelta(seconds=duration_s) if began else None
