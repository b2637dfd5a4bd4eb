"""Walk a rollout along its road: wait for pods, show, mirror, shift, stay, analyse; promote at the end or roll back."""

from datetime import datetime, timedelta

from perennial_api.modeldeployment.gate_status import Evidence, GateDecision, MetricCounts
from perennial_api.modeldeployment.rollout import Rollout
from perennial_api.modeldeployment.status import RolloutPhase, RolloutStatus
from perennial_api.modelroute import Mirror

from perennial.rollout.decision import EventReason, StepState
from perennial.rollout.observed import Observed
from perennial.rollout.road.build import build_road
from perennial.rollout.road.endings import promote
from perennial.rollout.road.gates import fail_at_once, look, pass_gate
from perennial.rollout.road.progress import Progress, Scene
from perennial.rollout.road.steps import FULL_PERCENT, Look, MirrorCopies, Preview, Road, SetWeight, Stay
from perennial.rollout.road.waits import await_capacity, await_pods, await_routers, await_warm_up

__all__ = ["advance", "progress", "shift"]


def progress(spec: Rollout, current: RolloutStatus, observed: Observed, now: datetime) -> Progress:
    """Take a rollout as far as it can go at this moment."""
    scene = Scene(build_road(spec, current), spec.analysis, observed, now)
    at = _enter(scene, Progress(current.model_copy(update={"phase": RolloutPhase.PROGRESSING})))
    at = look(scene, at)
    if failed := fail_at_once(scene, at):
        return failed
    at, ready = await_pods(scene, at)
    if at.rollout.canary is not None and at.rollout.held:
        return at.then(phase=RolloutPhase.PAUSED)
    if ready:
        at, ready = await_warm_up(scene, at)
    moved = ready
    for _ in range(len(scene.road.steps) + 1):
        if not moved or at.rollout.canary is None:
            break
        at, moved = _walk(scene, at)
    if at.rollout.canary is None:
        return at
    return at.then(steps_hash=scene.road.hash_until(at.rollout.step_index))


def _enter(scene: Scene, at: Progress) -> Progress:
    """Where the steps up to here were edited, go on from the weight that was reached."""
    rollout, road = at.rollout, scene.road
    known = rollout.steps_hash
    if rollout.held or not known:
        return at
    if rollout.step_index < len(road.steps) and known == road.hash_until(rollout.step_index):
        return at
    weight_percent = rollout.canary_weight_percent or 0
    index = road.entry_at(weight_percent)
    at = at.then(step_index=index)
    if rollout.step_state in {StepState.WAITING_FOR_PODS, StepState.WARMING_UP}:
        return at
    here = road.steps[index]
    has_it = isinstance(here, SetWeight) and here.weight_percent <= weight_percent
    state = StepState.SHIFTING if has_it else ""
    return at.then(step_state=state, step_started_at=scene.now, step_applied_at=None)


def _walk(scene: Scene, at: Progress) -> tuple[Progress, bool]:
    """Try to finish the present step; return where that led and whether there may be more to do."""
    match at.here(scene.road):
        case SetWeight(weight_percent):
            return _set_weight(scene, at, weight_percent)
        case Stay(duration_s):
            return _stay(scene, at, duration_s)
        case Look(bake_s):
            at, passed = pass_gate(scene, at, bake_s, at.rollout.step_started_at)
            return advance(scene.road, at, scene.now) if passed else (at, False)
        case MirrorCopies(percent, duration_s):
            return _mirror(scene, at, percent, duration_s)
        case Preview(duration_s):
            return _preview(scene, at, duration_s)


def advance(road: Road, at: Progress, now: datetime) -> tuple[Progress, bool]:
    """Go to the next step, or be promoted after the last."""
    index = at.rollout.step_index + 1
    if index >= len(road.steps):
        return promote(at, now), False
    # No state yet: the next step decides, at this very moment.
    known = road.hash_until(index)
    return at.then(
        step_index=index, step_state="", steps_hash=known, step_started_at=now, progressed_at=now
    ), True


def shift(at: Progress, weight_percent: int, now: datetime) -> Progress:
    """Ask for a weight."""
    text = f"{at.rollout.canary} is given {weight_percent} % of the requests."
    state = StepState.SHIFTING
    return at.entering(EventReason.WEIGHT_CHANGED, text, now, step_state=state, step_applied_at=None)


def _set_weight(scene: Scene, at: Progress, weight_percent: int) -> tuple[Progress, bool]:
    rollout, road = at.rollout, scene.road
    if rollout.step_state != StepState.SHIFTING:
        # Whoever waits for capacity has passed the gate.
        if road.is_gate(rollout.step_index) and rollout.step_state != StepState.WAITING_FOR_CAPACITY:
            at, granted = pass_gate(scene, at, scene.analysis.bake.seconds, rollout.step_applied_at)
            if not granted:
                return at, False
        at, carried = await_capacity(scene, at, weight_percent)
        if not carried:
            return at, False
        at = shift(at, weight_percent, scene.now)
    stable, canary = rollout.stable or "", rollout.canary or ""
    if not scene.observed.is_applied({stable: FULL_PERCENT - weight_percent, canary: weight_percent}):
        return await_routers(scene, at), False
    return advance(scene.road, at.then(step_applied_at=scene.now), scene.now)


def _stay(scene: Scene, at: Progress, duration_s: float | None) -> tuple[Progress, bool]:
    weight_percent = scene.road.weight_before(at.rollout.step_index)
    if duration_s is None:
        return _await_promotion(scene, at, f"Paused at {weight_percent} %"), False
    end = _end(at.rollout.step_started_at, duration_s)
    if scene.now >= end:
        return advance(scene.road, at, scene.now)
    text = f"Staying at {weight_percent} % until {end:%H:%M:%S} UTC."
    return at.then(step_state=StepState.PAUSING, message=text), False


def _await_promotion(scene: Scene, at: Progress, where: str) -> Progress:
    """Wait for a person; no deadline runs meanwhile."""
    name = scene.observed.deployment or "NAME"
    text = f"{where} until somebody promotes {at.rollout.canary}: kubectl perennial promote {name}"
    if at.rollout.step_state == StepState.AWAITING_PROMOTION:
        return at.then(phase=RolloutPhase.PAUSED, message=text)
    state, phase = StepState.AWAITING_PROMOTION, RolloutPhase.PAUSED
    return at.entering(EventReason.ROLLOUT_PAUSED, text, scene.now, step_state=state, phase=phase)


def _mirror(scene: Scene, at: Progress, percent: int, duration_s: float) -> tuple[Progress, bool]:
    canary, route = at.rollout.canary or "", scene.observed.route
    if at.rollout.step_state != StepState.MIRRORING:
        text = f"{canary} is given copies of {percent} % of the requests; its answers are thrown away."
        at = at.entering(
            EventReason.STEP_ENTERED, text, scene.now, step_state=StepState.MIRRORING, step_applied_at=None
        )
    mirrors = route is not None and route.mirror == Mirror(revision=canary, percent=percent)
    at, over = _apply_for(scene, at, duration_s, is_in_route=mirrors)
    if not over:
        return at, False
    return advance(scene.road, at.with_evidence(_shadow_evidence(scene, at)), scene.now)


def _shadow_evidence(scene: Scene, at: Progress) -> Evidence:
    """Tell what became of the copies. It decides nothing: nobody waited for those answers."""
    canary = at.rollout.canary or ""
    shadows = [r.counters[canary].shadow for r in scene.observed.routers if canary in r.counters]
    total, bad = sum(s.requests for s in shadows), sum(s.errors for s in shadows)
    return Evidence(
        time=scene.now,
        metric="mirror",
        step_index=at.rollout.step_index,
        canary=MetricCounts(total=total, bad=bad),
        decision=GateDecision.INCONCLUSIVE,
        dry_run=True,
        reason="Mirrored",
        message=f"{canary} answered {total} copied requests, {bad} of them failed.",
    )


def _preview(scene: Scene, at: Progress, duration_s: float | None) -> tuple[Progress, bool]:
    canary, route = at.rollout.canary or "", scene.observed.route
    if at.rollout.step_state != StepState.PREVIEWING:
        text = f"{canary} stands at the preview address and gets no other request."
        if duration_s is None:
            name = scene.observed.deployment or "NAME"
            text += f" It waits until somebody promotes it: kubectl perennial promote {name}"
        reason = EventReason.STEP_ENTERED if duration_s is not None else EventReason.ROLLOUT_PAUSED
        at = at.entering(reason, text, scene.now, step_state=StepState.PREVIEWING, step_applied_at=None)
    shown = route is not None and route.preview == canary
    at, over = _apply_for(scene, at, duration_s, is_in_route=shown)
    if over:
        return advance(scene.road, at, scene.now)
    return (at.then(phase=RolloutPhase.PAUSED) if duration_s is None else at), False


def _apply_for(
    scene: Scene, at: Progress, duration_s: float | None, *, is_in_route: bool
) -> tuple[Progress, bool]:
    """Wait until every router has what stands in the route, and then for the time that it is to stand there."""
    if at.rollout.step_applied_at is None:
        if not (is_in_route and scene.observed.is_loaded()):
            return await_routers(scene, at), False
        at = at.then(step_applied_at=scene.now)
    return at, duration_s is not None and scene.now >= _end(at.rollout.step_applied_at, duration_s)


def _end(began: datetime | None, duration_s: float) -> datetime:
    assert began is not None, "a step under way has a start"
    return began + timedelta(seconds=duration_s)
