"""The steps of a canary as the machine walks them: the user's, and the implied 100 at the end."""

from collections.abc import Sequence
from dataclasses import dataclass

from perennial_api.modeldeployment.rollout import Step

__all__ = ["FULL_PERCENT", "Road", "SetWeight", "Stay"]

FULL_PERCENT = 100


@dataclass(frozen=True, slots=True)
class SetWeight:
    """Give the canary this share of the requests."""

    weight_percent: int


@dataclass(frozen=True, slots=True)
class Stay:
    """Keep the weight for this long."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class Road:
    """All steps in order; the last weight is 100.

    Examples
    --------
    >>> road = Road((SetWeight(5), Stay(60.0), SetWeight(100)))
    >>> [road.weight_before(i) for i in range(3)]
    [0, 5, 5]
    """

    steps: tuple[SetWeight | Stay, ...]

    @classmethod
    def of(cls, steps: Sequence[Step]) -> "Road":
        """Read the spec's steps and add the implied 100."""
        road: list[SetWeight | Stay] = []
        for step in steps:
            if step.set_weight is not None:
                road.append(SetWeight(step.set_weight))
            elif step.pause is not None:
                road.append(Stay(step.pause.duration.seconds))
        weights = [step.weight_percent for step in road if isinstance(step, SetWeight)]
        if not weights or weights[-1] < FULL_PERCENT:
            road.append(SetWeight(FULL_PERCENT))
        return cls(tuple(road))

    def weight_before(self, index: int) -> int:
        """Return the weight, in percent, that the steps before this one have reached."""
        weights = [step.weight_percent for step in self.steps[:index] if isinstance(step, SetWeight)]
        return weights[-1] if weights else 0

    def is_gate(self, index: int) -> bool:
        """Whether the analysis must have succeeded before this step: the one that leaves the stable revision nothing.

        Where the first weight is 100 there is nothing to compare, hence no gate.
        """
        step = self.steps[index]
        full = isinstance(step, SetWeight) and step.weight_percent == FULL_PERCENT
        return full and 0 < self.weight_before(index) < FULL_PERCENT
