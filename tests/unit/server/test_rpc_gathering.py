import asyncio

import pytest
from perennial_server.rpc.gathering import LOOK_EVERY, MOST_ALONE, MOST_ROUNDS, Gathering


class Clock:
    """Counts the waits; each lasts until `tick`."""

    def __init__(self):
        self.waits = 0
        self.waiting = []

    async def sleep(self, _):
        self.waits += 1
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        await future

    async def tick(self):
        waiting, self.waiting = self.waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def gathering(clock):
    return Gathering(clock.sleep)


async def join(gathering):
    task = asyncio.create_task(gathering.join())
    await asyncio.sleep(0)
    return task


async def come_alone(gathering, n):
    """Calls one after the other; returns how many of them waited."""
    waited = 0
    for _ in range(n):
        task = await join(gathering)
        if not task.done():
            waited += 1
            await gathering._sleep.__self__.tick()
        await task
    return waited


async def find_company(gathering, clock):
    await come_alone(gathering, LOOK_EVERY - 1)
    calls = [await join(gathering), await join(gathering)]
    while not all(call.done() for call in calls):
        await clock.tick()


async def test_who_comes_alone_waits_only_to_look_now_and_then(gathering, clock):
    assert await come_alone(gathering, 5 * LOOK_EVERY) == 5
    assert clock.waits == 5


async def test_calls_go_together_once_no_other_comes(gathering, clock):
    await find_company(gathering, clock)
    calls = [await join(gathering)]
    calls.append(await join(gathering))
    await clock.tick()
    calls.append(await join(gathering))
    await clock.tick()
    assert not any(call.done() for call in calls)
    await clock.tick()
    assert all(call.done() for call in calls)


async def test_a_stream_of_calls_holds_nobody_for_long(gathering, clock):
    await find_company(gathering, clock)
    first = await join(gathering)
    for round_number in range(1, MOST_ROUNDS + 1):
        await join(gathering)
        assert not first.done(), round_number
        await clock.tick()
    assert first.done()


async def test_company_is_soon_forgotten(gathering, clock):
    await find_company(gathering, clock)
    assert await come_alone(gathering, MOST_ALONE) == MOST_ALONE
    assert await come_alone(gathering, LOOK_EVERY) == 1


@pytest.mark.parametrize("who", [0, 1])
async def test_one_that_leaves_takes_nobody_along(gathering, clock, who):
    await find_company(gathering, clock)
    calls = [await join(gathering), await join(gathering), await join(gathering)]
    calls[who].cancel()
    for _ in range(3):
        await clock.tick()
    assert [call.cancelled() for call in calls] == [index == who for index in range(3)]
    assert calls[2].done()
