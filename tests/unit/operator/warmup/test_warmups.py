"""Measurements beside the passes: asked for once, held until forgotten, tried again while no pod answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from perennial.cluster.warmup import NoSampleError, find_pod_addresses
from perennial.controller.queue import Key
from perennial.controller.warmups import WarmUps, Wish
from perennial.errors import UnavailableError
from perennial.rollout.warmup import Measurement

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WINE = Key("shop", "wine")
WISH = Wish("wine-b", 3000, NOW, 50.0)
FAST = Measurement((10.0,) * 200)


class Pods:
    """Answers in turn what was prepared; the last of it for good."""

    def __init__(self, *answers: Measurement | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, str, int]] = []
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def measure(self, namespace: str, model: str, revision: str, port: int) -> Measurement:
        self.asked.append((namespace, model, revision, port))
        self.begun.set()
        await self.gate.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Passes:
    """Where keys come in when a result is there."""

    def __init__(self, pods: Pods) -> None:
        self.keys: asyncio.Queue[Key] = asyncio.Queue()
        self.warm_ups = WarmUps(pods.measure, self.keys.put_nowait, retry_s=0, clock=lambda: NOW)

    async def next(self) -> Key:
        return await asyncio.wait_for(self.keys.get(), timeout=10)


async def test_result_comes_in_a_later_pass() -> None:
    pods = Pods(FAST)
    passes = Passes(pods)
    passes.warm_ups.want(WINE, WISH)
    assert passes.warm_ups.get(WINE) is None
    assert await passes.next() == WINE
    got = passes.warm_ups.get(WINE)
    assert got is not None
    assert (got.revision, got.within_budget, got.time) == ("wine-b", True, NOW)
    assert pods.asked == [("shop", "wine", "wine-b", 3000)]


async def test_same_wish_is_measured_once() -> None:
    pods = Pods(FAST)
    passes = Passes(pods)
    for _ in range(3):
        passes.warm_ups.want(WINE, WISH)
    await passes.next()
    passes.warm_ups.want(WINE, WISH)
    await asyncio.sleep(0)
    assert len(pods.asked) == 1


@pytest.mark.parametrize(
    "other",
    [
        replace(WISH, revision="wine-c"),
        replace(WISH, since=NOW + timedelta(minutes=1)),
        replace(WISH, budget_ms=5.0),
    ],
)
async def test_other_wish_is_measured_anew_and_the_old_result_is_gone(other) -> None:
    passes = Passes(Pods(FAST))
    passes.warm_ups.want(WINE, WISH)
    await passes.next()
    passes.warm_ups.want(WINE, other)
    assert passes.warm_ups.get(WINE) is None
    await passes.next()
    got = passes.warm_ups.get(WINE)
    assert got is not None
    assert got.revision == other.revision
    assert got.within_budget is (other.budget_ms == 50.0)


async def test_other_wish_stops_the_measurement_under_way() -> None:
    pods = Pods(FAST)
    pods.gate.clear()
    passes = Passes(pods)
    passes.warm_ups.want(WINE, WISH)
    await pods.begun.wait()
    passes.warm_ups.want(WINE, replace(WISH, revision="wine-c"))
    pods.gate.set()
    await passes.next()
    got = passes.warm_ups.get(WINE)
    assert got is not None
    assert got.revision == "wine-c"
    assert passes.keys.empty()


async def test_no_wish_forgets_and_stops() -> None:
    pods = Pods(FAST)
    passes = Passes(pods)
    passes.warm_ups.want(WINE, WISH)
    await passes.next()
    passes.warm_ups.want(WINE, None)
    assert passes.warm_ups.get(WINE) is None


async def test_pods_that_cannot_be_reached_are_tried_again() -> None:
    pods = Pods(UnavailableError("no pod is ready"), UnavailableError("no pod is ready"), FAST)
    passes = Passes(pods)
    passes.warm_ups.want(WINE, WISH)
    await passes.next()
    got = passes.warm_ups.get(WINE)
    assert got is not None
    assert got.requests == 200
    assert len(pods.asked) == 3


async def test_server_without_sample_is_passed_over_with_a_word() -> None:
    passes = Passes(Pods(NoSampleError("its server has no sample request.")))
    passes.warm_ups.want(WINE, WISH)
    await passes.next()
    got = passes.warm_ups.get(WINE)
    assert got is not None
    assert got.within_budget is None
    assert got.message == "The latency of wine-b was not measured: its server has no sample request."


async def test_two_deployments_are_measured_one_after_the_other() -> None:
    pods = Pods(FAST)
    pods.gate.clear()
    passes = Passes(pods)
    passes.warm_ups.want(WINE, WISH)
    passes.warm_ups.want(Key("shop", "beer"), replace(WISH, revision="beer-a"))
    await pods.begun.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(pods.asked) == 1
    pods.gate.set()
    assert {await passes.next(), await passes.next()} == {WINE, Key("shop", "beer")}


async def test_bug_in_a_measurement_is_logged_and_breaks_nothing_else(caplog) -> None:
    passes = Passes(Pods(ValueError("a bug"), FAST))
    passes.warm_ups.want(WINE, WISH)
    passes.warm_ups.want(Key("shop", "beer"), WISH)
    assert await passes.next() == Key("shop", "beer")
    assert passes.warm_ups.get(WINE) is None
    assert "warm-up broke key=shop/wine" in caplog.text


async def test_close_stops_and_forgets_everything() -> None:
    pods = Pods(FAST)
    pods.gate.clear()
    passes = Passes(pods)
    passes.warm_ups.want(WINE, WISH)
    await pods.begun.wait()
    await passes.warm_ups.close()
    pods.gate.set()
    assert passes.warm_ups.get(WINE) is None
    assert passes.keys.empty()


async def test_only_ready_pods_that_stay_are_measured() -> None:
    def pod(name: str, address: str, ready: str, **metadata: str) -> dict[str, object]:
        return {
            "metadata": {"name": name, **metadata},
            "status": {"podIP": address, "conditions": [{"type": "Ready", "status": ready}]},
        }

    class Api:
        async def list(self, kind: str, namespace: str, selector: str) -> list[dict[str, object]]:
            assert (kind, namespace, selector) == ("Pod", "shop", "perennial.dev/revision=wine-b")
            return [
                pod("a", "10.0.0.2", "True"),
                pod("b", "10.0.0.3", "False"),
                pod("c", "10.0.0.4", "True", deletionTimestamp="2026-01-01T00:00:00Z"),
                pod("d", "fd00::1", "True"),
                {"metadata": {"name": "e"}},
            ]

    assert await find_pod_addresses(Api(), "shop", "wine-b", 3000) == ["10.0.0.2:3000", "[fd00::1]:3000"]
