"""When refused connections are read again; the loop's clock is real, so only orders and bounds are asserted."""

import asyncio

import pytest
from perennial_server.rest.pacing import Pacer


class Connection:
    def __init__(self, log=None):
        self.is_paused = False
        self.log = [] if log is None else log

    def pause_reading(self):
        self.is_paused = True

    def resume_reading(self):
        self.is_paused = False
        self.log.append(self)


async def drain(pacer):
    async with asyncio.timeout(20):
        while len(pacer):  # noqa: ASYNC110  a timer of the pacer's makes it true
            await asyncio.sleep(0.01)


async def test_a_few_refusals_hold_nobody():
    pacer = Pacer(1000, 5.0, lambda: True)
    connections = [Connection() for _ in range(10)]
    for connection in connections:
        pacer.hold(connection)
    assert not any(connection.is_paused for connection in connections)


async def test_many_are_read_again_one_by_one_in_their_order():
    pacer = Pacer(200, 60.0, lambda: True)
    log = []
    connections = [Connection(log) for _ in range(200)]
    start_s = asyncio.get_running_loop().time()
    for connection in connections:
        pacer.hold(connection)
    held = [connection for connection in connections if connection.is_paused]
    assert len(held) >= 140
    await drain(pacer)
    assert log == held
    assert asyncio.get_running_loop().time() - start_s >= 195 / 200


async def test_nobody_waits_longer_than_the_longest_turn():
    pacer = Pacer(1, 0.5, lambda: True)
    connections = [Connection() for _ in range(1000)]
    for connection in connections:
        pacer.hold(connection)
    assert len(pacer) > 900
    await drain(pacer)  # at one a second it would take a quarter of an hour
    assert not any(connection.is_paused for connection in connections)


@pytest.mark.parametrize("per_second", [0.001, 1.0])
async def test_all_are_read_as_soon_as_nobody_is_refused(per_second):
    is_busy = True
    pacer = Pacer(per_second, 1000.0, lambda: is_busy)
    connections = [Connection() for _ in range(100)]
    for connection in connections:
        pacer.hold(connection)
    assert len(pacer) == 99  # the first comes before any turn
    is_busy = False
    await drain(pacer)
    assert not any(connection.is_paused for connection in connections)
    pacer.hold(connections[0])
    assert len(pacer) == 0
