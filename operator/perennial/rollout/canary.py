"""Walk a canary along its road: wait for pods, shift, pause, analyse; promote at the end or roll back."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from perennial_api.modeldeployment.analysis import Analysis, OnInconclusive
from perennial_api.modeldeployment.gate_status import Evidence, Gate, GateDecision
from perennial_api.modeldeployment.rollout import Rollout
from perennial_api.modeldeployment.status import RolloutPhase, RolloutStatus

from perennial.rollout.decision import EventReason, Notice, Outcome, StepState
from perennial.rollout.gate import (
    Decision,
    GateVerdict,
    assess_gate,
    next_look_at,
    observe_gate,
    to_evidence,
)
from perennial.rollout.observed import Observed
from perennial.rollout.settings import RolloutSettings
from perennial.rollout.steps import FULL_PERCENT, Road, SetWeight

__all__ = ["Progress", "progress", "road_weight"]

MOST_EVIDENCE = 20
SHORTEST_REQUEUE_S = 0.2


@dataclass(frozen=True, slots=True)
class Progress:
    """A rollout's next status, what happened on the way, and how it ended if it did."""

    rollout: RolloutStatus
    notices: tuple[Notice, ...] = ()
    outcome: Outcome | None = None

    def then(self, *notices: Notice, **update: Any) -> "Progress":
        """Return this with more of the status changed and more said."""
        return Progress(self.rollout.model_copy(update=update), (*self.notices, *notices), self.outcome)

    def requeue_after(self, spec: Rollout, settings: RolloutSettings, now: datetime) -> float | None:
        """Seconds until the canary must be looked at again, or None when nothing is on trial."""
        rollout = self.rollout
        if rollout.canary is None:
            return None
        if rollout.step_state == StepState.SHIFTING:
            return settings.verify_interval_s
        due = [now + timedelta(seconds=spec.analysis.interval.seconds)]
        road = Road.of(spec.canary.steps)
        if since := _weight_since(road, rollout):
            due.append(next_look_at(rollout.gate or Gate(), spec.analysis, since))
        if rollout.step_state == StepState.PAUSING and rollout.step_started_at:
            due.append(_pause_end(road, rollout))
        return max(SHORTEST_REQUEUE_S, (min(due) - now).total_seconds())


def road_weight(road: Road, rollout: RolloutStatus) -> int:
    """Return the canary's share in percent: a function of the step, and 0 while it has no ready pod."""
    index = min(rollout.step_index, len(road.steps) - 1)
    here = road.steps[index]
    if rollout.step_state == StepState.WAITING_FOR_PODS:
        return 0
    if rollout.step_state == StepState.SHIFTING and isinstance(here, SetWeight):
        return here.weight_percent
    return road.weight_before(index)


def progress(spec: Rollout, current: RolloutStatus, observed: Observed, now: datetime) -> Progress:
    """Take a rollout as far as it can go at this moment."""
    road = Road.of(spec.canary.steps)
    index = min(current.step_index, len(road.steps) - 1)
    at = Progress(current.model_copy(update={"step_index": index, "phase": RolloutPhase.PROGRESSING}))
    at = _look(road, spec.analysis, at, observed, now)
    verdict = assess_gate(at.rollout.gate or Gate(), spec.analysis, baked=False, at_deadline=False)
    if verdict.decision is Decision.FAILED:
        return _roll_back(
            at, verdict.reason, verdict.message, _evidence(at, verdict, GateDecision.FAILED, now)
        )
    # All pods to begin with, since they must carry their share; one of them to go on with it.
    needed = observed.replicas if current.step_state == StepState.WAITING_FOR_PODS else 1
    if observed.ready_endpoints(current.canary) < needed:
        return _wait_for_pods(road, spec.analysis, at, observed, now)
    for _ in range(len(road.steps) + 1):
        at, moved = _walk(road, spec.analysis, at, observed, now)
        if not moved:
            return at
    return at


def _look(road: Road, analysis: Analysis, at: Progress, observed: Observed, now: datetime) -> Progress:
    since = _weight_since(road, at.rollout)
    if since is None or at.rollout.canary is None or at.rollout.stable is None:
        return at
    gate = observe_gate(
        at.rollout.gate or Gate(),
        analysis,
        observed,
        canary=at.rollout.canary,
        stable=at.rollout.stable,
        weight_since=since,
        now=now,
    )
    return at.then(gate=gate)


def _weight_since(road: Road, rollout: RolloutStatus) -> datetime | None:
    """When the canary's present share was applied, or asked for where the routers lag; None without a share."""
    if road_weight(road, rollout) == 0:
        return None
    return rollout.step_applied_at or rollout.step_started_at


def _wait_for_pods(
    road: Road, analysis: Analysis, at: Progress, observed: Observed, now: datetime
) -> Progress:
    """No weight without a ready pod: back to the start of the present weight, and on from there once one is ready."""
    rollout = at.rollout
    if rollout.step_state != StepState.WAITING_FOR_PODS:
        at = at.then(
            step_index=_start_of_weight(road, rollout),
            step_state=StepState.WAITING_FOR_PODS,
            step_started_at=now,
            step_applied_at=None,
            progressed_at=now,
            message=f"Waiting for the pods of {rollout.canary}.",
        )
    waited_s = (now - (at.rollout.progressed_at or now)).total_seconds()
    if waited_s < analysis.progress_deadline.seconds:
        return at
    failure = observed.revisions[rollout.canary or ""].failure
    reason = failure.reason if failure else "ProgressDeadlineExceeded"
    why = f": {failure.message or failure.reason}" if failure else "."
    text = f"{rollout.canary} had too few ready pods for {analysis.progress_deadline}{why}"
    return _roll_back(at, reason, text, ())


def _start_of_weight(road: Road, rollout: RolloutStatus) -> int:
    if rollout.step_state == StepState.SHIFTING:
        return rollout.step_index
    before = [i for i in range(rollout.step_index) if isinstance(road.steps[i], SetWeight)]
    return before[-1] if before else rollout.step_index


def _walk(
    road: Road, analysis: Analysis, at: Progress, observed: Observed, now: datetime
) -> tuple[Progress, bool]:
    """Try to finish the present step; return where that led and whether there may be more to do."""
    rollout = at.rollout
    here = road.steps[rollout.step_index]
    if not isinstance(here, SetWeight):
        if now < _pause_end(road, rollout):
            text = f"Paused at {road.weight_before(rollout.step_index)} % until {_pause_end(road, rollout):%H:%M:%S} UTC."
            return at.then(step_state=StepState.PAUSING, message=text), False
        return _advance(road, at, now)
    if rollout.step_state != StepState.SHIFTING:
        at, granted = _pass_gate(road, analysis, at, now)
        if not granted:
            return at, False
        text = f"{rollout.canary} is given {here.weight_percent} % of the requests."
        at = at.then(
            Notice(EventReason.WEIGHT_CHANGED, text),
            step_state=StepState.SHIFTING,
            step_started_at=now,
            step_applied_at=None,
            message=text,
        )
    stable, canary = rollout.stable or "", rollout.canary or ""
    if not observed.is_applied({stable: FULL_PERCENT - here.weight_percent, canary: here.weight_percent}):
        return at, False
    return _advance(road, at.then(step_applied_at=now), now)


def _pause_end(road: Road, rollout: RolloutStatus) -> datetime:
    here = road.steps[rollout.step_index]
    duration_s = 0.0 if isinstance(here, SetWeight) else here.duration_s
    started = rollout.step_started_at
    assert started is not None, "a step under way has a start"
    return started + timedelta(seconds=duration_s)


def _advance(road: Road, at: Progress, now: datetime) -> tuple[Progress, bool]:
    index = at.rollout.step_index + 1
    if index >= len(road.steps):
        return _promote(at, now), False
    # Neither Shifting nor Pausing yet: the next step decides, at this very moment.
    return at.then(step_index=index, step_state="", step_started_at=now, progressed_at=now), True


def _pass_gate(road: Road, analysis: Analysis, at: Progress, now: datetime) -> tuple[Progress, bool]:
    """Before the last weight the analysis must have succeeded; too little traffic is neither pass nor failure."""
    rollout = at.rollout
    if not road.is_gate(rollout.step_index):
        return at, True
    applied_at = rollout.step_applied_at or now
    progressed_at = rollout.progressed_at or now
    bake_s = analysis.bake.seconds
    waited_s = (now - progressed_at).total_seconds()
    verdict = assess_gate(
        rollout.gate or Gate(),
        analysis,
        baked=(now - applied_at).total_seconds() >= bake_s,
        at_deadline=waited_s >= max(analysis.progress_deadline.seconds, bake_s),
    )
    if verdict.decision is Decision.SUCCESSFUL:
        found = _evidence(at, verdict, GateDecision.SUCCESSFUL, now)
        notices = [Notice(EventReason.ROLLOUT_RESUMED, verdict.message)] if _is_inconclusive(rollout) else []
        return at.then(*notices, evidence=(*rollout.evidence, *found)[-MOST_EVIDENCE:]), True
    if verdict.decision is Decision.WAITING:
        text = f"Analysing at {road.weight_before(rollout.step_index)} %: {verdict.message}"
        return at.then(step_state=StepState.ANALYZING, message=text), False
    return _act_on_inconclusive(analysis, at, verdict, now)


def _is_inconclusive(rollout: RolloutStatus) -> bool:
    return rollout.step_state == StepState.INCONCLUSIVE


def _act_on_inconclusive(
    analysis: Analysis, at: Progress, verdict: GateVerdict, now: datetime
) -> tuple[Progress, bool]:
    rollout = at.rollout
    found = _evidence(at, verdict, GateDecision.INCONCLUSIVE, now)
    text = f"{verdict.message} onInconclusive is {analysis.on_inconclusive}."
    match analysis.on_inconclusive:
        case OnInconclusive.PROMOTE:
            return at.then(evidence=(*rollout.evidence, *found)[-MOST_EVIDENCE:]), True
        case OnInconclusive.ABORT:
            return _roll_back(at, "InconclusiveAnalysis", text, found), False
        case OnInconclusive.PAUSE:
            pass
    if _is_inconclusive(rollout):
        return at.then(phase=RolloutPhase.PAUSED), False
    return (
        at.then(
            Notice(EventReason.ROLLOUT_PAUSED, text, is_warning=True),
            phase=RolloutPhase.PAUSED,
            step_state=StepState.INCONCLUSIVE,
            message=f"{text} It goes on when traffic comes.",
            evidence=(*rollout.evidence, *found)[-MOST_EVIDENCE:],
        ),
        False,
    )


def _promote(at: Progress, now: datetime) -> Progress:
    """A change of role only: the same pods go on serving."""
    rollout = at.rollout
    mine = tuple(e for e in rollout.evidence if rollout.started_at is None or e.time >= rollout.started_at)
    text = f"{rollout.canary} replaces {rollout.stable} as the stable revision."
    why = mine[-1].message if mine else text
    ended = rollout.model_copy(
        update={
            "phase": RolloutPhase.HEALTHY,
            "message": f"{rollout.canary} is stable.",
            "stable": rollout.canary,
            "canary": None,
            "step_state": StepState.COMPLETED,
            "progressed_at": now,
            "failed_revision": None,
            "gate": _without_marks(rollout.gate),
        }
    )
    outcome = Outcome(rollout.canary or "", mine[-1].reason if mine else "Promoted", why, mine)
    return Progress(ended, (*at.notices, Notice(EventReason.PROMOTED, text)), outcome)


def _roll_back(at: Progress, reason: str, why: str, evidence: tuple[Evidence, ...]) -> Progress:
    rollout = at.rollout
    text = f"{rollout.canary} was rolled back to {rollout.stable}: {why}"
    ended = rollout.model_copy(
        update={
            "phase": RolloutPhase.DEGRADED,
            "message": text,
            "canary": None,
            "step_state": StepState.ROLLED_BACK,
            "failed_revision": rollout.canary,
            "gate": _without_marks(rollout.gate),
            "evidence": (*rollout.evidence, *evidence)[-MOST_EVIDENCE:],
        }
    )
    notice = Notice(EventReason.ROLLED_BACK, text, is_warning=True)
    return Progress(ended, (*at.notices, notice), Outcome(rollout.canary or "", reason, why, evidence))


def _without_marks(gate: Gate | None) -> Gate | None:
    return gate.model_copy(update={"routers": ()}) if gate else None


def _evidence(
    at: Progress, verdict: GateVerdict, decision: GateDecision, now: datetime
) -> tuple[Evidence, ...]:
    return to_evidence(verdict, decision, at.rollout.step_index, now)
