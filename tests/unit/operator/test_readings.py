"""Prometheus is asked beside the passes, and never oftener than once an interval."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from perennial.controller.queue import Key
from perennial.controller.readings import Question, Readings
from perennial.rollout.observed import Reading
from perennial_api.modeldeployment.analysis import Metric

KEY = Key("shop", "wine")
START = datetime(2026, 1, 1, tzinfo=UTC)
REVENUE = Metric.model_validate(
    {
        "name": "revenue",
        "type": "Prometheus",
        "prometheus": {"address": "http://prometheus:9090", "query": "sales", "min": 1},
    }
)
ASK = Question((REVENUE,), (("revision", "wine-2"),), 15.0)


class Slow:
    """A Prometheus that answers when it is let go."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, str]] = []
        self.go = asyncio.Event()
        self.now = START
        self.breaks = False

    async def answer(self, metrics: Any, names: Mapping[str, str]) -> Mapping[str, Reading]:
        self.asked.append(names)
        await self.go.wait()
        if self.breaks:
            raise RuntimeError("a bug")
        return {metric.name: Reading(float(len(self.asked))) for metric in metrics}

    def readings(self) -> Readings:
        return Readings(self.answer, clock=lambda: self.now)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_pass_does_not_wait_and_a_later_one_finds_the_answer() -> None:
    slow = Slow()
    readings = slow.readings()
    readings.want(KEY, ASK)
    await settle()
    assert readings.get(KEY) == {}
    slow.wait(3)
    slow.go.set()
    await settle()
    assert readings.get(KEY) == {"revenue": Reading(1.0, at=START)}
    assert slow.asked == [{"revision": "wine-2"}]


async def test_one_that_hangs_is_not_asked_again() -> None:
    slow = Slow()
    readings = slow.readings()
    for _ in range(10):
        readings.want(KEY, ASK)
        slow.wait(30)
        await settle()
    assert len(slow.asked) == 1
    await readings.close()


async def test_it_is_asked_once_an_interval_and_keeps_the_last_answer_meanwhile() -> None:
    slow = Slow()
    slow.go.set()
    readings = slow.readings()
    for _ in range(10):
        readings.want(KEY, ASK)
        await settle()
        assert "revenue" in readings.get(KEY)
        slow.wait(3)
    assert len(slow.asked) == 2


async def test_another_question_forgets_the_answers_to_the_first() -> None:
    slow = Slow()
    slow.go.set()
    readings = slow.readings()
    readings.want(KEY, ASK)
    await settle()
    slow.go.clear()
    readings.want(KEY, Question((REVENUE,), (("revision", "wine-3"),), 15.0))
    await settle()
    assert readings.get(KEY) == {}
    assert slow.asked[-1] == {"revision": "wine-3"}
    await readings.close()


async def test_end_of_the_rollout_forgets_the_answers_and_stops_what_runs() -> None:
    slow = Slow()
    readings = slow.readings()
    readings.want(KEY, ASK)
    await settle()
    readings.want(KEY, None)
    slow.go.set()
    await settle()
    assert readings.get(KEY) == {}


async def test_bug_in_reading_is_no_answer_and_is_tried_again() -> None:
    slow = Slow()
    slow.go.set()
    slow.breaks = True
    readings = slow.readings()
    readings.want(KEY, ASK)
    await settle()
    assert readings.get(KEY) == {}
    slow.breaks = False
    slow.wait(15)
    readings.want(KEY, ASK)
    await settle()
    assert readings.get(KEY)["revenue"].value == 2.0
