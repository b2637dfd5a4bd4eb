"""When a comparison begins, begins anew and ends. Pure."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum

from perennial_api import ModelDeployment

__all__ = ["MAX_ARMS", "RECENT_S", "Change", "Situation", "choose_arms", "decide", "read_attempt", "stays_on"]

# One revision alone for so long ends a comparison.
RECENT_S = 600.0
MAX_ARMS = 20


class Change(Enum):
    """What becomes of a comparison."""

    NONE = "None"
    BEGIN = "Begin"
    END = "End"


@dataclass(frozen=True)
class Situation:
    """What is known about one deployment at a look.

    Parameters
    ----------
    attempt
        Number of the rollout.
    stays_on
        A rollout or an experiment is under way, so silence doesn't end the comparison.
    answering
        Revisions that have answered since the last look.
    recent
        Revisions that have answered in the last ten minutes.
    """

    attempt: int
    stays_on: bool
    answering: AbstractSet[str]
    recent: AbstractSet[str]


def decide(running: tuple[int, AbstractSet[str]] | None, now: Situation) -> Change:
    """Say what becomes of a comparison.

    A revision that joins makes all counts start anew: only what both arms answered at the same time can be compared.

    Parameters
    ----------
    running
        Attempt and arms of the comparison that is on; None if none is.

    Examples
    --------
    >>> both = frozenset({"a", "b"})
    >>> decide(None, Situation(1, stays_on=True, answering=both, recent=both))
    <Change.BEGIN: 'Begin'>
    >>> decide((1, both), Situation(1, stays_on=False, answering=frozenset(), recent=frozenset({"a"})))
    <Change.END: 'End'>
    """
    several = len(now.recent) > 1
    if running is None:
        return Change.BEGIN if several else Change.NONE
    attempt, arms = running
    joins = len(arms) < MAX_ARMS and not now.answering <= arms
    if now.attempt != attempt or joins:
        return Change.BEGIN if several else Change.END
    return Change.NONE if several or now.stays_on else Change.END


def choose_arms(recent: Mapping[str, float]) -> list[str]:
    """Choose the arms of a new comparison: the revisions that answered last, at most twenty.

    Parameters
    ----------
    recent
        When each revision last answered, seconds since the epoch.
    """
    return sorted(sorted(recent, key=lambda revision: (-recent[revision], revision))[:MAX_ARMS])


def read_attempt(deployment: ModelDeployment) -> int:
    """Return the number of the rollout; 0 before the first."""
    return deployment.status.rollout.attempt if deployment.status.rollout is not None else 0


def stays_on(deployment: ModelDeployment) -> bool:
    """Whether a rollout or an experiment is under way."""
    rollout = deployment.status.rollout
    return deployment.spec.experiment is not None or (rollout is not None and rollout.canary is not None)
