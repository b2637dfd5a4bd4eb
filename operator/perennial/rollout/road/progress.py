"""How far a rollout has come in this pass."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from perennial_api.modeldeployment.analysis import Analysis
from perennial_api.modeldeployment.gate_status import Evidence
from perennial_api.modeldeployment.status import RolloutStatus

from perennial.rollout.decision import EventReason, Notice, Outcome
from perennial.rollout.observed import Observed
from perennial.rollout.road.steps import Road, Step

__all__ = ["MOST_EVIDENCE", "Progress", "Scene"]

MOST_EVIDENCE = 20


@dataclass(frozen=True, slots=True)
class Scene:
    """What a step is judged in: the road, the gate's settings, what was seen, and when."""

    road: Road
    analysis: Analysis
    observed: Observed
    now: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """A rollout's next status, what happened on the way, and how it ended if it did."""

    rollout: RolloutStatus
    notices: tuple[Notice, ...] = ()
    outcome: Outcome | None = None

    def then(self, *notices: Notice, **update: Any) -> "Progress":
        """Return this with more of the status changed and more said."""
        return Progress(self.rollout.model_copy(update=update), (*self.notices, *notices), self.outcome)

    def entering(self, reason: EventReason, text: str, now: datetime, **update: Any) -> "Progress":
        """Return this in another state that begins now, and say so."""
        return self.then(Notice(reason, text), step_started_at=now, message=text, **update)

    def with_evidence(self, *evidence: Evidence) -> "Progress":
        """Return this with what a decision was made on; the oldest goes where there is too much."""
        return self.then(evidence=(*self.rollout.evidence, *evidence)[-MOST_EVIDENCE:])

    def here(self, road: Road) -> Step:
        """Return the present step."""
        return road.steps[self.rollout.step_index]
