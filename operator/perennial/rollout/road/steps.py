"""The kinds of steps, and the road that they make."""

from dataclasses import dataclass

from perennial_api.modeldeployment.status import RolloutStatus

from perennial.rollout.decision import StepState
from perennial.rollout.lineage import digest_of

__all__ = ["FULL_PERCENT", "Look", "MirrorCopies", "Preview", "Road", "SetWeight", "Stay", "Step"]

FULL_PERCENT = 100
_WITHOUT_WEIGHT = frozenset(
    {StepState.WAITING_FOR_EXPERIMENT, StepState.WAITING_FOR_PODS, StepState.WARMING_UP}
)


@dataclass(frozen=True, slots=True)
class SetWeight:
    """Give the new revision this share of the requests."""

    weight_percent: int


@dataclass(frozen=True, slots=True)
class Stay:
    """Keep the weight for this long; None until somebody promotes."""

    duration_s: float | None


@dataclass(frozen=True, slots=True)
class Look:
    """Keep the weight until the gate has succeeded, with this bake."""

    bake_s: float


@dataclass(frozen=True, slots=True)
class MirrorCopies:
    """Copy this share of the requests to the new revision for this long."""

    percent: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class Preview:
    """Let the new revision answer on the preview address for this long; None until somebody promotes."""

    duration_s: float | None


Step = SetWeight | Stay | Look | MirrorCopies | Preview


@dataclass(frozen=True, slots=True)
class Road:
    """All steps in order; the last weight is 100.

    Examples
    --------
    >>> road = Road((SetWeight(5), Stay(60.0), SetWeight(100)))
    >>> [road.weight_before(i) for i in range(3)]
    [0, 5, 5]
    """

    steps: tuple[Step, ...]

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

    def weight_of(self, rollout: RolloutStatus) -> int:
        """Return the new revision's share in percent: a function of the status, and 0 while it has no ready pod."""
        if rollout.step_state in _WITHOUT_WEIGHT:
            return 0
        if rollout.held or rollout.step_state == StepState.WAITING_FOR_CAPACITY:
            return rollout.canary_weight_percent or 0
        index = min(rollout.step_index, len(self.steps) - 1)
        here = self.steps[index]
        if rollout.step_state == StepState.SHIFTING and isinstance(here, SetWeight):
            return here.weight_percent
        return self.weight_before(index)

    def start_of_weight(self, rollout: RolloutStatus) -> int:
        """Return the step that gave the present weight, to which a rollout returns once its pods are back."""
        if rollout.step_state == StepState.SHIFTING:
            return rollout.step_index
        return self._last_weight(rollout.step_index, FULL_PERCENT, rollout.step_index)

    def entry_at(self, weight_percent: int) -> int:
        """Return where a rollout that came by other steps enters: at the last weight that isn't above its own.

        An edit of the steps so never raises the weight by itself.
        """
        return self._last_weight(len(self.steps), weight_percent, 0)

    def _last_weight(self, end: int, most_percent: int, default: int) -> int:
        weights = ((i, s.weight_percent) for i, s in enumerate(self.steps[:end]) if isinstance(s, SetWeight))
        return max((i for i, weight in weights if weight <= most_percent), default=default)

    def hash_until(self, index: int) -> str:
        """Return the hash of the kinds and weights of the steps up to this one; times may change on the way."""
        return digest_of([_shape(step) for step in self.steps[: index + 1]])


def _shape(step: Step) -> list[str | int]:
    match step:
        case SetWeight(weight_percent):
            return ["SetWeight", weight_percent]
        case MirrorCopies(percent, _):
            return ["MirrorCopies", percent]
        case _:
            return [type(step).__name__]
