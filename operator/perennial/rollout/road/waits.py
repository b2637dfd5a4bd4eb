"""What may hold a step up: pods, capacity, a warm-up, routers. None of them may hold it up silently or for ever."""

from datetime import datetime, timedelta

from perennial_api.modeldeployment.status import RolloutPhase, RolloutStatus

from perennial.rollout.decision import EventReason, Notice, StepState
from perennial.rollout.road.build import is_straight
from perennial.rollout.road.endings import roll_back
from perennial.rollout.road.progress import Progress, Scene

__all__ = ["await_capacity", "await_pods", "await_routers", "await_warm_up", "is_late"]


def is_late(scene: Scene, since: datetime | None) -> bool:
    """Whether a wait that began then has used up the progress deadline."""
    began = since or scene.now
    return scene.now - began >= timedelta(seconds=scene.analysis.progress_deadline.seconds)


def _since(rollout: RolloutStatus) -> datetime | None:
    """When the present wait began; the time before a resume counts against no deadline."""
    return max(filter(None, (rollout.step_started_at, rollout.progressed_at)), default=None)


def await_pods(scene: Scene, at: Progress) -> tuple[Progress, bool]:
    """No weight without a ready pod: back to the start of the present weight, and on from there once one is ready.

    All the pods that the first weight needs to begin with; one of them to go on with.
    """
    rollout, observed = at.rollout, scene.observed
    canary = rollout.canary or ""
    waiting = rollout.step_state == StepState.WAITING_FOR_PODS
    if observed.has_needed(canary) if waiting else observed.ready_endpoints(canary) > 0:
        return at, True
    if not waiting:
        text = f"{canary} has no ready pod and gets no request until it has."
        at = at.then(
            Notice(EventReason.STEP_ENTERED, text, is_warning=True),
            step_index=scene.road.start_of_weight(rollout),
            step_state=StepState.WAITING_FOR_PODS,
            step_started_at=scene.now,
            step_applied_at=None,
            progressed_at=scene.now,
            message=text,
        )
    if rollout.held or not is_late(scene, at.rollout.progressed_at):
        return at, False
    return _give_up_on_pods(scene, at), False


def _give_up_on_pods(scene: Scene, at: Progress) -> Progress:
    canary = at.rollout.canary or ""
    failure = scene.observed.revisions[canary].failure
    reason = failure.reason if failure else "ProgressDeadlineExceeded"
    why = f": {failure.message or failure.reason}" if failure else "."
    text = f"{canary} had too few ready pods for {scene.analysis.progress_deadline}{why}"
    return roll_back(at, reason, text)


def await_capacity(scene: Scene, at: Progress, weight_percent: int) -> tuple[Progress, bool]:
    """No higher weight without the pods that carry it; the present one stays meanwhile."""
    rollout, observed = at.rollout, scene.observed
    canary = rollout.canary or ""
    if observed.has_needed(canary, weight_percent):
        return at, True
    if rollout.step_state != StepState.WAITING_FOR_CAPACITY:
        needed = observed.needed_for(canary, weight_percent)
        ready = observed.ready_endpoints(canary)
        text = (
            f"{canary} has {ready} of the {needed} ready pods that {weight_percent} % of the requests need."
        )
        state = StepState.WAITING_FOR_CAPACITY
        return at.entering(EventReason.STEP_ENTERED, text, scene.now, step_state=state), False
    if is_late(scene, _since(rollout)):
        return _give_up_on_pods(scene, at), False
    return at, False


def await_warm_up(scene: Scene, at: Progress) -> tuple[Progress, bool]:
    """Have the latency of a revision measured before it gets its first request; a straight road has no time for it."""
    rollout, observed = at.rollout, scene.observed
    if rollout.step_state not in {StepState.WAITING_FOR_PODS, StepState.WARMING_UP}:
        return at, True
    known = rollout.warm_up is not None and rollout.warm_up.revision == rollout.canary
    if known or is_straight(rollout) or not observed.warm_up_required:
        return at, True
    measured = observed.warm_up
    fits = measured is not None and measured.revision == rollout.canary
    if measured is None or not fits or (rollout.started_at and measured.time < rollout.started_at):
        return _go_on_waiting_for_warm_up(scene, at)
    slow = measured.within_budget is False
    text = measured.message or f"{rollout.canary} has been measured."
    at = at.then(Notice(EventReason.WARM_UP_MEASURED, text, is_warning=slow), warm_up=measured)
    if slow and observed.refuse_too_slow:
        return roll_back(at, "TooSlow", f"{text} server.onTooSlow is Refuse."), False
    return at, True


def _go_on_waiting_for_warm_up(scene: Scene, at: Progress) -> tuple[Progress, bool]:
    rollout = at.rollout
    if rollout.step_state != StepState.WARMING_UP:
        text = f"Measuring how fast {rollout.canary} answers before it gets any request."
        state = StepState.WARMING_UP
        return at.then(step_state=state, step_started_at=scene.now, message=text), False
    if not is_late(scene, _since(rollout)):
        return at, False
    text = f"The latency of {rollout.canary} could not be measured in {scene.analysis.progress_deadline}."
    if scene.observed.refuse_too_slow:
        return roll_back(at, "WarmUpDeadlineExceeded", f"{text} server.onTooSlow is Refuse."), False
    return at.then(
        Notice(EventReason.WARM_UP_MEASURED, f"{text} It goes on unmeasured.", is_warning=True)
    ), True


def await_routers(scene: Scene, at: Progress) -> Progress:
    """Say which routers hold a step up for too long. It goes on waiting: what serves isn't touched by it."""
    if not is_late(scene, at.rollout.step_started_at):
        return at
    lagging = scene.observed.lagging_routers()
    names = ", ".join(router.pod for router in lagging) or "the gateway, of which no pod is ready,"
    text = (
        f"{names} has not applied the route for {scene.analysis.progress_deadline}: look at the gateway's pods. "
        f"The rollout of {at.rollout.canary} goes on when it has."
    )
    return at.then(phase=RolloutPhase.DEGRADED, message=text)
