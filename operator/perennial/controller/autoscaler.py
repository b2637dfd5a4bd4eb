"""Know the load of every deployment that the operator scales, and have a pass done when its pods should change.

All routers are read at once, however many deployments there are, and a pass comes only where something would change. The
readings stand in memory alone: after a restart nothing scales until there are enough of them again.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from perennial_api.modeldeployment.scaling_status import ScalingStatus

from perennial.cluster.routers import RouterSnapshot
from perennial.controller.queue import Key
from perennial.controller.scaling import Scaled
from perennial.errors import PerennialError
from perennial.rollout.scaling import (
    Load,
    Sample,
    ScaledBy,
    ScalePolicy,
    assess_scaling,
    measure_load,
    plan_scaling,
)

__all__ = ["Autoscaler"]

_log = logging.getLogger(__name__)

# Half of the readings that are kept must be there.
LEAST_SHARE = 0.5


class RouterSource(Protocol):
    """Where the readings come from."""

    async def observe(self) -> RouterSnapshot:
        """Read all routers."""
        ...


class Autoscaler:
    """Samples the routers and adds the keys whose pods should change.

    Parameters
    ----------
    routers
        Read once per interval, and only while something is followed.
    interval_s, window_s
        Time between two readings, and how long each counts: the load is the mean over the window.
    """

    def __init__(
        self,
        routers: RouterSource,
        *,
        interval_s: float,
        window_s: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._routers = routers
        self._interval_s = interval_s
        self._window_s = window_s
        self._clock = clock
        self._monotonic = monotonic
        self._followed: dict[Key, Scaled] = {}
        self._readings: deque[tuple[float, RouterSnapshot]] = deque()

    def loads(self, key: Key, policy: ScalePolicy, revisions: Iterable[str]) -> dict[str, Load]:
        """Return the load of each revision whose load is known."""
        if policy.metric is None or policy.scaled_by is not ScaledBy.OPERATOR:
            return {}
        samples = [Sample(at_s, read.view(key.namespace, key.name)) for at_s, read in self._readings]
        least_span_s = self._window_s * LEAST_SHARE
        found = {
            name: measure_load(policy.metric, samples, name, least_span_s=least_span_s) for name in revisions
        }
        return {name: load for name, load in found.items() if load is not None}

    def follow(self, key: Key, scaled: Scaled) -> None:
        """Remember how a pass left a deployment; one that the operator doesn't scale is not followed."""
        if scaled.policy.scaled_by is ScaledBy.OPERATOR:
            self._followed[key] = scaled
        else:
            self.forget(key)

    def forget(self, key: Key) -> None:
        """Follow a deployment no more."""
        self._followed.pop(key, None)

    async def run(self, add: Callable[[Key], None]) -> None:
        """Read and compare until cancelled; `add` puts a key into the queue."""
        while True:
            try:
                await self.look(add)
            except PerennialError as error:
                _log.warning("routers not read error=%s", error)
            await asyncio.sleep(self._interval_s)

    async def look(self, add: Callable[[Key], None]) -> None:
        """Take one reading and add the keys whose next pass would change something."""
        if not self._followed:
            self._readings.clear()
            return
        snapshot = await self._routers.observe()
        now_s = self._monotonic()
        self._readings.append((now_s, snapshot))
        while self._readings[0][0] < now_s - self._window_s:
            self._readings.popleft()
        for key, scaled in list(self._followed.items()):
            if self._is_due(key, scaled):
                add(key)

    def _is_due(self, key: Key, followed: Scaled) -> bool:
        loads = self.loads(key, followed.policy, followed.situation.arms)
        arms = {name: replace(arm, load=loads.get(name)) for name, arm in followed.situation.arms.items()}
        situation = replace(followed.situation, arms=arms)
        before = followed.scaling.status
        got = plan_scaling(followed.policy, before, situation, self._clock())
        verdict = assess_scaling(followed.policy, situation, None)
        told = (verdict and verdict.reason) != (followed.verdict and followed.verdict.reason)
        return told or _without_loads(got.status) != _without_loads(before)


def _without_loads(status: ScalingStatus | None) -> ScalingStatus | None:
    """Return what is worth a pass: a load that leaves the number of pods as it is waits for the next one."""
    if status is None:
        return None
    revisions = tuple(scale.model_copy(update={"load": None}) for scale in status.revisions)
    return status.model_copy(update={"revisions": revisions})
