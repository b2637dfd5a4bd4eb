"""Leader election by observed time."""

import copy
from typing import Any

from perennial.cluster.lease import Lease, LeaseSettings
from perennial.errors import AlreadyExistsError, ConflictError, NotFoundError, UnavailableError


class LeaseServer:
    """Holds one Lease with versions."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] | None = None
        self.version = 0
        self.is_down = False

    async def get(self, *_: str) -> dict[str, Any]:
        self.check()
        if self.stored is None:
            raise NotFoundError("no lease")
        return copy.deepcopy(self.stored)

    async def create(self, body: dict[str, Any]) -> dict[str, Any]:
        self.check()
        if self.stored is not None:
            raise AlreadyExistsError("there")
        return self.store(body)

    async def replace(self, body: dict[str, Any]) -> dict[str, Any]:
        self.check()
        if body["metadata"]["resourceVersion"] != str(self.version):
            raise ConflictError("changed")
        return self.store(body)

    def check(self) -> None:
        if self.is_down:
            raise UnavailableError("down")

    def store(self, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.stored = copy.deepcopy(body)
        self.stored["metadata"]["resourceVersion"] = str(self.version)
        return self.stored


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def replicas(*names: str) -> tuple[LeaseServer, dict[str, Lease], dict[str, Clock]]:
    server = LeaseServer()
    clocks = {name: Clock() for name in names}
    client: Any = server
    leases = {n: Lease(client, LeaseSettings("system", "operator", n), clocks[n]) for n in names}
    return server, leases, clocks


async def test_first_replica_leads_and_the_second_stands_by() -> None:
    _, leases, _ = replicas("a", "b")
    await leases["a"]._attempt()
    await leases["b"]._attempt()
    assert leases["a"].is_held
    assert not leases["b"].is_held


async def test_leader_that_renews_goes_on_leading() -> None:
    _, leases, clocks = replicas("a", "b")
    for _ in range(20):
        for clock in clocks.values():
            clock.now += 5
        await leases["a"]._attempt()
        await leases["b"]._attempt()
        assert leases["a"].is_held
        assert not leases["b"].is_held


async def test_leader_that_cannot_renew_stops_before_another_may_start() -> None:
    server, leases, clocks = replicas("a", "b")
    await leases["a"]._attempt()
    await leases["b"]._attempt()
    server.is_down = True
    for _ in range(30):
        for clock in clocks.values():
            clock.now += 1
        await leases["a"]._attempt()
        if clocks["a"].now - 1000 >= 10:
            assert not leases["a"].is_held
        await leases["b"]._attempt()
        assert not leases["b"].is_held
    server.is_down = False
    await leases["b"]._attempt()
    assert leases["b"].is_held


async def test_other_replica_takes_over_only_after_it_saw_no_renewal_for_the_duration() -> None:
    _, leases, clocks = replicas("a", "b")
    await leases["a"]._attempt()
    await leases["b"]._attempt()
    clocks["b"].now += 14
    await leases["b"]._attempt()
    assert not leases["b"].is_held
    clocks["b"].now += 2
    await leases["b"]._attempt()
    assert leases["b"].is_held


async def test_no_wall_clock_is_compared() -> None:
    server, leases, clocks = replicas("a", "b")
    await leases["a"]._attempt()
    assert server.stored is not None
    server.stored["spec"]["renewTime"] = "1999-01-01T00:00:00.000000Z"
    await leases["b"]._attempt()
    clocks["b"].now += 10
    await leases["b"]._attempt()
    assert not leases["b"].is_held


async def test_paused_leader_finds_on_waking_that_it_leads_no_more() -> None:
    _, leases, clocks = replicas("a", "b")
    await leases["a"]._attempt()
    await leases["b"]._attempt()
    clocks["b"].now += 16
    await leases["b"]._attempt()
    clocks["a"].now += 16  # the monotonic clock goes on while a process is stopped
    assert not leases["a"].is_held
    await leases["a"]._attempt()
    assert not leases["a"].is_held
    assert leases["b"].is_held


async def test_released_lease_is_taken_at_once() -> None:
    _, leases, _ = replicas("a", "b")
    await leases["a"]._attempt()
    await leases["b"]._attempt()
    await leases["a"].release()
    assert not leases["a"].is_held
    await leases["b"]._attempt()
    assert leases["b"].is_held
