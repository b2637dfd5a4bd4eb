"""Measure revisions beside the passes: a pass asks, goes on at once, and finds the result in a later one."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from perennial_api.modeldeployment.resource import ModelDeployment
from perennial_api.modeldeployment.warmup_status import WarmUp

from perennial.cluster.warmup import NoSampleError
from perennial.controller.queue import Key
from perennial.errors import PerennialError
from perennial.rollout.decision import Decision
from perennial.rollout.observed import RevisionView
from perennial.rollout.warmup import Measurement, assess_warm_up, skip_warm_up

__all__ = ["WarmUps", "Wish", "build_wish"]

_log = logging.getLogger(__name__)

RETRY_S = 3.0
MOST_AT_A_TIME = 1
"""Two at a time would measure each other."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a pass wants measured.

    Attributes
    ----------
    revision, port
        The revision, and where its pods listen.
    since
        When its rollout began: another attempt is measured anew.
    budget_ms
        What it should keep, in milliseconds, or None.
    """

    revision: str
    port: int
    since: datetime | None
    budget_ms: float | None


def build_wish(
    deployment: ModelDeployment, views: Mapping[str, RevisionView], decision: Decision
) -> Wish | None:
    """Return what a decision wants measured, if anything."""
    view = views.get(decision.warm_up or "")
    if view is None:
        return None
    budget = deployment.spec.server.latency_budget
    since = decision.rollout.started_at
    return Wish(view.name, view.port, since, budget.seconds * 1000 if budget else None)


class WarmUps:
    """Runs one measurement for each deployment that wants one, and holds its result in memory.

    Lost with the process: the next leader's passes ask again, and it is measured again.

    Parameters
    ----------
    measure
        Measures a revision of a namespace: namespace, model (the deployment's name), revision, port.
    enqueue
        Has a pass done over a key, once its result is there.
    """

    def __init__(
        self,
        measure: Callable[[str, str, str, int], Awaitable[Measurement]],
        enqueue: Callable[[Key], None],
        *,
        retry_s: float = RETRY_S,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._measure = measure
        self._enqueue = enqueue
        self._retry_s = retry_s
        self._clock = clock
        self._turn = asyncio.Semaphore(MOST_AT_A_TIME)
        self._results: dict[Key, tuple[Wish, WarmUp]] = {}
        self._running: dict[Key, tuple[Wish, asyncio.Task[None]]] = {}

    def get(self, key: Key) -> WarmUp | None:
        """Return the latest result of a deployment that wasn't forgotten since."""
        found = self._results.get(key)
        return found[1] if found else None

    def want(self, key: Key, wish: Wish | None) -> None:
        """Have a revision measured, unless it is being or was; None forgets the deployment and stops what runs for it."""
        running = self._running.get(key)
        known = self._results.get(key)
        if wish is None:
            self._stop(key)
            self._results.pop(key, None)
            return
        if (running and running[0] == wish) or (known and known[0] == wish):
            return
        self._stop(key)
        self._results.pop(key, None)
        task = asyncio.create_task(self._run(key, wish), name=f"warm-up-{key}")
        self._running[key] = (wish, task)

    async def close(self) -> None:
        """Stop everything and forget it: another replica leads, or the process ends."""
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()
        self._results.clear()

    def _stop(self, key: Key) -> None:
        running = self._running.pop(key, None)
        if running is not None:
            running[1].cancel()

    async def _run(self, key: Key, wish: Wish) -> None:
        try:
            result = await self._try_until_known(key, wish)
        except Exception:  # noqa: BLE001 - the top of a task
            # A bug here must not keep a rollout waiting without a word; its progressDeadline ends the wait.
            _log.exception("warm-up broke key=%s revision=%s", key, wish.revision)
            return
        _log.info("warm-up key=%s revision=%s result=%s", key, wish.revision, result.message)
        self._running.pop(key, None)
        self._results[key] = (wish, result)
        self._enqueue(key)

    async def _try_until_known(self, key: Key, wish: Wish) -> WarmUp:
        """Measure; where no pod can be reached, again and again: the rollout's deadline ends it."""
        while True:
            try:
                async with self._turn:
                    measured = await self._measure(key.namespace, key.name, wish.revision, wish.port)
                return assess_warm_up(wish.revision, measured, wish.budget_ms, self._clock())
            except NoSampleError as error:
                return skip_warm_up(wish.revision, str(error), self._clock())
            except PerennialError as error:
                _log.debug("warm-up key=%s revision=%s error=%s", key, wish.revision, error)
                await asyncio.sleep(self._retry_s)
