"""The coalescing queue and the workers."""

import asyncio
from typing import Any

from perennial.controller.metrics import Metrics
from perennial.controller.queue import Key, WorkQueue
from perennial.controller.workers import Workers
from perennial.errors import ConflictError, UnavailableError

A, B = Key("shop", "a"), Key("shop", "b")


async def test_key_added_twice_is_worked_on_once() -> None:
    queue = WorkQueue()
    queue.add(A)
    queue.add(A)
    queue.add(B)
    assert len(queue) == 2
    assert await queue.get() == A
    assert await queue.get() == B
    assert len(queue) == 0


async def test_key_added_while_it_is_worked_on_comes_back_only_when_done() -> None:
    queue = WorkQueue()
    queue.add(A)
    await queue.get()
    queue.add(A)
    queue.add(A)
    assert len(queue) == 0, "never two workers on one key"
    queue.done(A)
    assert len(queue) == 1


async def test_earliest_of_several_delays_counts_and_an_event_comes_before_all() -> None:
    queue = WorkQueue()
    queue.add_after(A, 1000)
    queue.add_after(A, 0)
    queue.add_after(A, 2000)
    assert await queue.get() == A
    queue.done(A)
    queue.add_after(A, 1000)
    queue.add(A)
    assert await queue.get() == A
    assert not queue._timers


async def test_cleared_queue_holds_nothing() -> None:
    queue = WorkQueue()
    queue.add(A)
    queue.add_after(B, 1000)
    queue.clear()
    assert len(queue) == 0
    assert not queue._timers


class Recorder:
    """Reconciles by recording; fails as told."""

    def __init__(self, errors: dict[Key, list[BaseException]] | None = None) -> None:
        self.seen: list[Key] = []
        self.errors = errors or {}
        self.changed = asyncio.Event()
        self.hold: asyncio.Event | None = None

    async def __call__(self, key: Key) -> float | None:
        self.seen.append(key)
        self.changed.set()
        if self.hold is not None:
            await self.hold.wait()
        if waiting := self.errors.get(key):
            raise waiting.pop(0)
        return None

    async def until(self, count: int) -> None:
        while len(self.seen) < count:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 5)


class NoClient:
    async def list(self, _kind: str) -> list[dict[str, Any]]:
        return [{"metadata": {"namespace": k.namespace, "name": k.name}} for k in (A, B)]


def workers_of(recorder: Recorder, queue: WorkQueue) -> Workers:
    client: Any = NoClient()
    return Workers(client, queue, recorder, Metrics(), count=2, pass_timeout_s=5, resync_s=1000)


async def test_every_deployment_is_worked_on_when_the_lease_is_acquired() -> None:
    recorder, queue = Recorder(), WorkQueue()
    workers = workers_of(recorder, queue)
    await workers.start()
    await recorder.until(2)
    assert sorted(recorder.seen) == [A, B]
    await workers.stop()


async def test_standby_forgets_what_the_watches_tell_it() -> None:
    recorder, queue = Recorder(), WorkQueue()
    workers_of(recorder, queue).add(A)
    assert len(queue) == 0


async def test_conflict_and_failure_are_tried_again_and_a_bug_stops_nobody() -> None:
    errors: list[BaseException] = [ConflictError("changed"), UnavailableError("away"), KeyError("a bug")]
    recorder, queue = Recorder({A: errors}), WorkQueue()
    workers = workers_of(recorder, queue)
    workers._failures[A] = -6  # backs off in milliseconds
    await workers.start()
    await recorder.until(5)
    assert recorder.seen.count(A) == 4
    assert recorder.seen.count(B) == 1
    await workers.stop()


async def test_lost_lease_stops_a_pass_in_the_middle() -> None:
    recorder, queue = Recorder(), WorkQueue()
    recorder.hold = asyncio.Event()
    workers = workers_of(recorder, queue)
    await workers.start()
    await recorder.until(2)
    await workers.stop()
    queue.add(A)
    assert len(queue) == 1, "no worker is left"
