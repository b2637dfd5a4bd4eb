"""One pass over the pods of all revisions of a deployment."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from perennial_api.modeldeployment.scaling_status import RevisionScale, ScalingStatus

from perennial.rollout.scaling.capacity import needed_replicas
from perennial.rollout.scaling.demand import TOLERANCE, wanted_replicas
from perennial.rollout.scaling.load import Load
from perennial.rollout.scaling.policy import ScaledBy, ScalePolicy
from perennial.rollout.scaling.stabilise import stabilise

__all__ = ["Arm", "Scaling", "Situation", "plan_scaling"]

LOAD_DIGITS = 2
MOST_REMEMBERED = 20


@dataclass(frozen=True, slots=True)
class Arm:
    """One revision that has pods or is to have some.

    Attributes
    ----------
    replicas
        `spec.replicas` of its Deployment, or None while it has none.
    share_percent
        The largest share that it has or is about to get, of the requests or of their copies.
    load
        What it carries, or None where that isn't known.
    """

    replicas: int | None = None
    share_percent: int = 0
    load: Load | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """What the numbers of pods are decided on.

    Attributes
    ----------
    stable
        The revision that all traffic may return to at any moment.
    on_trial
        A canary, or the variants of an experiment. Revisions that are neither are on their way out.
    arms
        All revisions that must have pods.
    keeps_floor
        Whether the stable revision stays ready to carry everything: in a rollout, but not in an experiment, which may
        last for weeks.
    """

    stable: str | None
    on_trial: frozenset[str]
    arms: Mapping[str, Arm]
    keeps_floor: bool = True

    @property
    def is_guarded(self) -> bool:
        """Whether the stable revision must be ready to carry everything now."""
        return bool(self.on_trial) and self.keeps_floor and self.stable is not None


@dataclass(frozen=True, slots=True)
class Scaling:
    """How many pods each revision should have.

    Attributes
    ----------
    status
        The next `status.scaling`; None where nothing scales.
    capacity
        Pods that carry the whole traffic: `needed_replicas` takes a share of it.
    minimums
        The fewest pods of each revision: what a HorizontalPodAutoscaler is given.
    replicas
        What the operator sets through /scale; empty where somebody else does.
    needed
        How many pods of a revision on trial must be ready before it may get its share.
    requeue_after_s
        When fewer pods may be enough, or None.
    """

    status: ScalingStatus | None
    capacity: int
    minimums: Mapping[str, int]
    replicas: Mapping[str, int]
    needed: Mapping[str, int]
    requeue_after_s: float | None = None


def plan_scaling(
    policy: ScalePolicy, status: ScalingStatus | None, situation: Situation, now: datetime
) -> Scaling:
    """Decide how many pods each revision should have.

    The stable revision keeps, while anything is on trial, the size that it had before, and where the operator scales,
    what the load of all revisions together takes: traffic may return to it at any moment and waits for no pod. A
    revision on trial has at least what its share needs. One on its way out stays as it is.
    """
    if policy.scaled_by is ScaledBy.MANIFEST:
        minimums = dict.fromkeys(situation.arms, policy.minimum)
        needed = dict.fromkeys(situation.on_trial, policy.minimum)
        return Scaling(None, policy.minimum, minimums, {}, needed)
    previous = {scale.revision: scale for scale in status.revisions} if status else {}
    befores = {
        name: _before(policy, name, arm, previous.get(name)) for name, arm in sorted(situation.arms.items())
    }
    present = _present(policy, situation, befores)
    floor = _floor(status, situation, present)
    capacity = _capacity(policy, situation, present, floor)
    scales = []
    for name, before in befores.items():
        wanted = _wanted(policy, situation, name, current=before.replicas, floor=floor, capacity=capacity)
        after = before if wanted is None else stabilise(before, wanted, policy.window_s, now)
        scales.append(_note_load(after, situation.arms[name].load))
    replicas = {scale.revision: scale.replicas for scale in scales}
    return Scaling(
        status=ScalingStatus(
            revisions=_remembered(scales, situation),
            floor_revision=situation.stable if situation.is_guarded else None,
            floor=floor,
        ),
        capacity=capacity,
        minimums=replicas,
        replicas=replicas if policy.scaled_by is ScaledBy.OPERATOR else {},
        needed={
            name: needed_replicas(arm.share_percent, capacity, policy)
            for name, arm in situation.arms.items()
            if name in situation.on_trial
        },
        requeue_after_s=_due_s(scales, policy.window_s, now),
    )


def _present(policy: ScalePolicy, situation: Situation, befores: Mapping[str, RevisionScale]) -> int:
    """Return the stable revision's size: as decided where the operator sets it, else as it is."""
    stable = situation.stable
    if stable is None or stable not in situation.arms:
        return policy.minimum
    if policy.scaled_by is ScaledBy.OPERATOR:
        return befores[stable].replicas
    return policy.clamp(situation.arms[stable].replicas or policy.minimum)


def _floor(status: ScalingStatus | None, situation: Situation, present: int) -> int:
    """Return the stable revision's size before the rollout; 0 where that isn't kept."""
    if not situation.is_guarded:
        return 0
    if status is not None and status.floor_revision == situation.stable:
        return status.floor
    return present


def _capacity(policy: ScalePolicy, situation: Situation, present: int, floor: int) -> int:
    """Return how many pods carry all of the traffic: what the load takes, or what has been enough."""
    if policy.scaled_by is ScaledBy.OPERATOR:
        loads = [arm.load for arm in situation.arms.values() if arm.load is not None]
        wanted = wanted_replicas(sum(load.value for load in loads), present, policy)
        is_known = len(loads) == len(situation.arms) and all(load.is_complete for load in loads)
        present = wanted if is_known else max(wanted, present)
    return policy.clamp(max(floor, present))


def _before(policy: ScalePolicy, name: str, arm: Arm, previous: RevisionScale | None) -> RevisionScale:
    """Return how many pods the revision should have had up to now.

    Where the operator scales, it has what it has: somebody's `kubectl scale` to more, or another's scaling before,
    goes back after the window like any other surplus; one to fewer goes back at once.
    """
    before = previous or RevisionScale(revision=name, replicas=policy.minimum)
    if policy.scaled_by is ScaledBy.OPERATOR:
        before = before.model_copy(
            update={"replicas": max(before.replicas if previous else 0, arm.replicas or 0)}
        )
    return before.model_copy(update={"replicas": policy.clamp(before.replicas)})


def _wanted(
    policy: ScalePolicy, situation: Situation, name: str, *, current: int, floor: int, capacity: int
) -> int | None:
    """Return how many pods one revision should have at this moment, the window aside.

    None where that isn't known and those that are there are enough: then they stay, and a window that runs goes on.
    """
    arm = situation.arms[name]
    is_guarded = name == situation.stable and situation.is_guarded
    if name in situation.on_trial:
        least = needed_replicas(arm.share_percent, capacity, policy)
    elif name == situation.stable:
        least = capacity if is_guarded and policy.scaled_by is ScaledBy.OPERATOR else policy.clamp(floor)
    else:
        return None
    if policy.scaled_by is ScaledBy.AUTOSCALER:
        return least
    if arm.load is None:
        return least if least > current else None
    if is_guarded:
        return least
    wanted = max(least, wanted_replicas(arm.load.value, current, policy))
    return wanted if arm.load.is_complete else max(wanted, current)


def _remembered(scales: list[RevisionScale], situation: Situation) -> tuple[RevisionScale, ...]:
    """Return what the status has room for: of those on their way out some are left out, which stay as they are."""
    active = {*situation.on_trial, situation.stable}
    chosen = sorted(scales, key=lambda scale: scale.revision not in active)[:MOST_REMEMBERED]
    return tuple(sorted(chosen, key=lambda scale: scale.revision))


def _note_load(scale: RevisionScale, load: Load | None) -> RevisionScale:
    """Write down a load that differs from the one written: each pass would write the status otherwise."""
    if load is None:
        return scale
    written = scale.load
    if written is not None and math.isclose(load.value, written, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
        return scale
    return scale.model_copy(update={"load": round(load.value, LOAD_DIGITS)})


def _due_s(scales: list[RevisionScale], window_s: float, now: datetime) -> float | None:
    due = [
        s.wanted_less_since + timedelta(seconds=window_s) for s in scales if s.wanted_less_since is not None
    ]
    return max(0.0, (min(due) - now).total_seconds()) if due else None
