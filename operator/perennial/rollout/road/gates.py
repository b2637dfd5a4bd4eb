"""The gate as the walker sees it: look at the counters, fail at once, let pass or hold."""

from datetime import datetime, timedelta

from perennial_api.modeldeployment.analysis import OnInconclusive
from perennial_api.modeldeployment.gate_status import Gate, GateDecision
from perennial_api.modeldeployment.status import RolloutPhase, RolloutStatus

from perennial.rollout import gate as statistics
from perennial.rollout.decision import EventReason, Notice, StepState
from perennial.rollout.road.endings import roll_back
from perennial.rollout.road.progress import Progress, Scene
from perennial.rollout.road.steps import Road

__all__ = ["fail_at_once", "look", "pass_gate", "weight_since"]


def weight_since(road: Road, rollout: RolloutStatus) -> datetime | None:
    """When the present share was applied, or asked for where the routers lag; None without a share."""
    if road.weight_of(rollout) == 0:
        return None
    return rollout.step_applied_at or rollout.step_started_at


def look(scene: Scene, at: Progress) -> Progress:
    """Read the counters if it is time."""
    rollout = at.rollout
    since = weight_since(scene.road, rollout)
    if since is None or rollout.canary is None or rollout.stable is None:
        return at
    gate = statistics.observe_gate(
        rollout.gate or Gate(),
        scene.analysis,
        scene.observed,
        canary=rollout.canary,
        stable=rollout.stable,
        weight_since=since,
        now=scene.now,
    )
    return at.then(gate=gate)


def fail_at_once(scene: Scene, at: Progress) -> Progress | None:
    """Return the way back where the gate has failed, whatever the step waits for."""
    verdict = statistics.assess_gate(
        at.rollout.gate or Gate(), scene.analysis, baked=False, at_deadline=False
    )
    if verdict.decision is not statistics.Decision.FAILED:
        return None
    found = statistics.to_evidence(verdict, GateDecision.FAILED, at.rollout.step_index, scene.now)
    return roll_back(at, verdict.reason, verdict.message, found)


def pass_gate(scene: Scene, at: Progress, bake_s: float, since: datetime | None) -> tuple[Progress, bool]:
    """Let pass once the analysis has succeeded; too little traffic is neither pass nor failure."""
    rollout, analysis, now = at.rollout, scene.analysis, scene.now
    bake = timedelta(seconds=bake_s)
    deadline = max(timedelta(seconds=analysis.progress_deadline.seconds), bake)
    verdict = statistics.assess_gate(
        rollout.gate or Gate(),
        analysis,
        baked=now - (since or now) >= bake,
        at_deadline=now - (rollout.progressed_at or now) >= deadline,
    )
    if verdict.decision is statistics.Decision.SUCCESSFUL:
        found = statistics.to_evidence(verdict, GateDecision.SUCCESSFUL, rollout.step_index, now)
        if rollout.step_state == StepState.INCONCLUSIVE:
            at = at.then(Notice(EventReason.ROLLOUT_RESUMED, verdict.message))
        return at.with_evidence(*found), True
    if verdict.decision is statistics.Decision.WAITING:
        text = f"Analysing at {scene.road.weight_of(rollout)} %: {verdict.message}"
        return at.then(step_state=StepState.ANALYZING, message=text), False
    return _act_on_inconclusive(scene, at, verdict)


def _act_on_inconclusive(
    scene: Scene, at: Progress, verdict: statistics.GateVerdict
) -> tuple[Progress, bool]:
    rollout, choice = at.rollout, scene.analysis.on_inconclusive
    if rollout.step_state == StepState.INCONCLUSIVE and choice is OnInconclusive.PAUSE:
        return at.then(phase=RolloutPhase.PAUSED), False
    found = statistics.to_evidence(verdict, GateDecision.INCONCLUSIVE, rollout.step_index, scene.now)
    text = f"{verdict.message} onInconclusive is {choice}."
    match choice:
        case OnInconclusive.PROMOTE:
            return at.with_evidence(*found), True
        case OnInconclusive.ABORT:
            return roll_back(at, "InconclusiveAnalysis", text, found), False
        case OnInconclusive.PAUSE:
            paused = at.with_evidence(*found).then(
                Notice(EventReason.ROLLOUT_PAUSED, text, is_warning=True),
                phase=RolloutPhase.PAUSED,
                step_state=StepState.INCONCLUSIVE,
                message=f"{text} It goes on when traffic comes.",
            )
            return paused, False
