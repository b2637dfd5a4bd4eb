"""Several observers at one PostgreSQL share the evaluation: each window is judged once, whatever dies when."""

import asyncio
import multiprocessing
import signal
import time
from multiprocessing.connection import Connection

import pytest
from perennial_api.labels import ServiceAccountRole
from perennial_observer.auth import Caller
from perennial_observer.errors import LeaseLost
from perennial_observer.main import COMPARISONS, build_observer
from perennial_observer.registry import Registry
from perennial_observer.settings import Settings
from perennial_observer.store import tables as t
from perennial_observer.store.leases import SharedLeases
from perennial_observer.store.store import Store
from sqlalchemy import select

from .conftest import KEY, FakeCluster, deployment, run_observer
from .test_comparisons import CANARY, STABLE, entry, rolling, send

SERVERS = {"server": Caller(ServiceAccountRole.SERVER, KEY)}
SERVER = {"Authorization": "Bearer server"}
REVISION = "wine-00000001"
WINDOW = 50
WINDOWS_PER_KILL = 4
KILLS = 20
# Judged without detectors and without labels: it is the bookkeeping that is on trial.
MONITORING = {
    "eventTime": "at",
    "defaults": {"window": {"size": WINDOW, "maxAge": "1h", "minSamples": WINDOW}, "falseAlarmEvery": "30d"},
    "monitors": [
        {
            "name": "accuracy",
            "type": "Performance",
            "performance": {
                "metric": "accuracy",
                "min": 0.8,
                "labels": {"maturity": "0s", "minCoverage": 0.5, "minLabels": 10},
            },
        }
    ],
}
NAMES = {"a", "b", "c", "d"}


def read_leases(store: Store) -> dict[str, str]:
    """Who holds what, those that have run out included."""
    with store.read() as connection:
        return {row.name: row.holder for row in connection.execute(select(t.lease.c.name, t.lease.c.holder))}


@pytest.fixture
def two(on_postgres):
    """Two observers' leases on one database, and what their clocks show."""
    stores = [Store.open(on_postgres), Store.open(on_postgres)]
    yield [SharedLeases(store, 60.0, time.monotonic) for store in stores]
    for store in stores:
        store.close()


def held(leases: SharedLeases) -> set[str]:
    return {name for name in NAMES if leases.holds(name)}


def test_two_observers_share_evenly_and_one_that_leaves_leaves_all_to_the_other(two):
    one, other = two
    one.refresh(NAMES)
    assert held(one) == NAMES
    other.refresh(NAMES)
    assert held(other) == set()  # all is held; the first gives back when it sees the second
    one.refresh(NAMES)
    other.refresh(NAMES)
    assert (len(held(one)), held(one) | held(other), held(one) & held(other)) == (2, NAMES, set())
    one.release()
    other.refresh(NAMES)
    assert held(other) == NAMES
    assert set(read_leases(other._store).values()) == {other.holder}


def test_a_lease_that_ran_out_is_taken_and_its_old_holder_writes_nothing_any_more(two):
    one, other = two
    one.refresh({"a"})
    late = one.fence("a", lambda connection: connection.execute(t.lease.delete()).rowcount)
    # Its end, as if it had slept.
    end = one._store.writer.submit(lambda c: c.execute(t.lease.update().values(until=0.0)).rowcount, 0)
    assert end.result(30) == 2
    other.refresh({"a"})
    assert other.holds("a")
    with pytest.raises(LeaseLost):
        one._store.writer.submit(late, 0).result(30)
    one.refresh({"a"})
    assert not one.holds("a")


async def send_rows(running, first: int, count: int) -> None:
    at = [float(i) for i in range(first, first + count)]
    entry = {
        "prediction_id": f"p{first}",
        "time": 0.0,
        "inputs": {"x": [1.0] * count, "at": at},
        "outputs": {"predict": [1] * count},
    }
    got = await running.client.post(
        "/v1/log", json={"revision": REVISION, "entries": [entry]}, headers=SERVER
    )
    assert got.json()["accepted"] == count


def judged(store: Store) -> list[tuple[float, float]]:
    w = t.window.c
    with store.read() as connection:
        query = select(w.start_event, w.end_event).order_by(w.end_event, w.id)
        return [tuple(row) for row in connection.execute(query)]


async def test_only_the_holder_of_a_lease_evaluates_and_reports(on_postgres):
    first, second = FakeCluster(), FakeCluster()
    first.tokens = second.tokens = {}
    spec = {"monitoring": MONITORING}
    async with (
        run_observer(on_postgres, first, deployment(spec)) as one,
        run_observer(on_postgres, second, deployment(spec)) as other,
    ):
        await one.observer.tick()
        await other.observer.tick()
        await other.observer.compare()
        assert KEY.uid in one.observer.evaluator.reports
        assert other.observer.evaluator.reports == {}
        assert (len(first.written), second.written) == (1, [])


async def test_what_one_observer_counts_of_a_comparison_another_one_reports(on_postgres):
    first, second = FakeCluster(SERVERS), FakeCluster(SERVERS)
    async with (
        run_observer(on_postgres, first, rolling()) as one,
        run_observer(on_postgres, second, rolling()) as other,
    ):
        await one.observer.share()
        await other.observer.share()
        # Of three leases each takes its share: the one the comparison, the other the deployment.
        one.observer._last_shared = other.observer._last_shared = float("-inf")
        await one.observer.share()
        await other.observer.share()
        assert one.observer.leases.holds(COMPARISONS)
        assert other.observer.leases.holds(KEY.uid)
        await one.observer.compare()
        await send(one, STABLE, entry("a", [1]), entry("b", [0]))
        await send(other, CANARY, entry("c", [1]))
        await one.observer.compare()
        await other.observer.tick()
        await other.observer.compare()
        got = {arm.revision: arm.predictions for arm in second.written[-1].arms}
    assert got == {STABLE: 2, CANARY: 1}
    assert first.written == []


def evaluate(settings: Settings, deployments: list, told: Connection) -> None:
    """What a replica's process runs: looks until it is killed."""
    registry = Registry()
    registry.replace(deployments)
    cluster = FakeCluster()
    observer = build_observer(settings, identity=cluster, reports=cluster, registry=registry)
    told.send(observer.leases.holder)

    async def run() -> None:
        while True:
            await observer.tick()
            await asyncio.sleep(0.01)

    asyncio.run(run())


class Replicas:
    """Processes that evaluate, two at a time."""

    def __init__(self, settings: Settings, *deployments) -> None:
        # Started from a process that has imported everything, so that twenty starts take seconds.
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["perennial_observer.main"])
        self.arguments = (settings, list(deployments))
        self.by_holder: dict[str, multiprocessing.process.BaseProcess] = {}

    def start(self) -> None:
        ours, theirs = self.context.Pipe(duplex=False)
        process = self.context.Process(target=evaluate, args=(*self.arguments, theirs), daemon=True)
        process.start()
        theirs.close()
        assert ours.poll(60), "the replica did not start"
        self.by_holder[ours.recv()] = process

    def kill(self, holder: str) -> None:
        process = self.by_holder.pop(holder)
        process.kill()
        process.join(30)
        assert process.exitcode == -signal.SIGKILL


async def test_killed_twenty_times_each_window_is_judged_once_and_none_is_skipped(on_postgres, cluster):
    settings = on_postgres.model_copy(update={"lease_s": 0.8, "windows_per_tick": 3})
    watched = deployment({"monitoring": MONITORING})
    replicas = Replicas(settings, watched)
    async with run_observer(on_postgres, cluster, watched) as running:
        try:
            for kill in range(KILLS):
                await asyncio.to_thread(replicas.start)
                if kill == 0:
                    await asyncio.to_thread(replicas.start)
                await send_rows(running, kill * WINDOWS_PER_KILL * WINDOW, WINDOWS_PER_KILL * WINDOW)
                # In the middle of its work, at another place each time.
                at_work = kill * WINDOWS_PER_KILL + 1 + kill % (WINDOWS_PER_KILL - 1)
                await wait_for(lambda: len(judged(running.observer.store)) >= at_work)  # noqa: B023  awaited here
                holder = await wait_for(lambda: read_leases(running.observer.store).get(KEY.uid))
                await asyncio.to_thread(replicas.kill, holder)
            await wait_for(lambda: len(judged(running.observer.store)) >= KILLS * WINDOWS_PER_KILL)
        finally:
            for holder in list(replicas.by_holder):
                replicas.kill(holder)
        total = KILLS * WINDOWS_PER_KILL * WINDOW
        want = [(float(i), float(i + WINDOW - 1)) for i in range(0, total, WINDOW)]
        assert judged(running.observer.store) == want


async def wait_for(look):
    """Return what `look` sees as soon as it sees anything."""
    async with asyncio.timeout(60):
        while not (seen := await asyncio.to_thread(look)):  # noqa: ASYNC110  other processes do it
            await asyncio.sleep(0.005)
    return seen
