"""Ask Prometheus beside the passes: a pass never waits for it, and finds the latest answers in memory."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from perennial_api.modeldeployment.analysis import Metric
from perennial_api.modeldeployment.resource import ModelDeployment

from perennial.controller.queue import Key
from perennial.rollout.decision import Decision
from perennial.rollout.observed import Reading

__all__ = ["Question", "Readings", "build_question"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """What a pass wants read, the names that stand in the queries, and how often."""

    metrics: tuple[Metric, ...]
    names: tuple[tuple[str, str], ...]
    interval_s: float


def build_question(deployment: ModelDeployment, decision: Decision) -> Question | None:
    """Return what a rollout's metrics want to know, or None where nothing is on trial or none of them asks."""
    rollout, analysis = decision.rollout, deployment.spec.rollout.analysis
    metrics = tuple(metric for metric in analysis.metrics if metric.prometheus is not None)
    if not metrics or rollout.canary is None or rollout.stable is None:
        return None
    metadata = deployment.metadata
    names = (
        ("revision", rollout.canary),
        ("stable", rollout.stable),
        ("namespace", metadata.namespace),
        ("deployment", metadata.name),
    )
    return Question(metrics, names, analysis.interval.seconds)


@dataclass(slots=True)
class _Asked:
    question: Question
    at: datetime
    task: asyncio.Task[None]
    answers: Mapping[str, Reading]


class Readings:
    """Holds the latest answers for each deployment whose rollout asks for some.

    Lost with the process: the next leader's passes ask again.

    Parameters
    ----------
    ask
        Reads metrics, given the names in their queries; it raises nothing.
    """

    def __init__(
        self,
        ask: Callable[[tuple[Metric, ...], Mapping[str, str]], Awaitable[Mapping[str, Reading]]],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._asked: dict[Key, _Asked] = {}

    def get(self, key: Key) -> Mapping[str, Reading]:
        """Return the latest answers, each with the time when it was asked for."""
        asked = self._asked.get(key)
        return asked.answers if asked else {}

    def want(self, key: Key, question: Question | None) -> None:
        """Ask if an interval has passed since the last time; None forgets the deployment."""
        asked = self._asked.get(key)
        if question is None or (asked is not None and asked.question != question):
            self._forget(key)
            asked = None
        if question is None:
            return
        now = self._clock()
        if asked is not None:
            is_due = now - asked.at >= timedelta(seconds=question.interval_s)
            if not is_due or not asked.task.done():
                return
        answers = asked.answers if asked else {}
        task = asyncio.create_task(self._run(key, question, now), name=f"readings-{key}")
        self._asked[key] = _Asked(question, now, task, answers)

    async def close(self) -> None:
        """Stop everything and forget it: another replica leads, or the process ends."""
        tasks = [asked.task for asked in self._asked.values()]
        for key in tuple(self._asked):
            self._forget(key)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, key: Key) -> None:
        asked = self._asked.pop(key, None)
        if asked is not None:
            asked.task.cancel()

    async def _run(self, key: Key, question: Question, at: datetime) -> None:
        try:
            found = await self._ask(question.metrics, dict(question.names))
        except Exception:  # noqa: BLE001 - the top of a task
            # A bug here must be no pass and no rollback either: the rollout goes on waiting for a number.
            _log.exception("reading broke key=%s", key)
            return
        answers = {name: replace(reading, at=at) for name, reading in found.items()}
        self._asked[key].answers = answers
