"""Service levels from a real gateway's counters to an alarm that ends, and what is kept of them in real databases."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from perennial_api import ModelDeployment
from perennial_api.monitorreport import MonitorState, MonitorVerdict
from perennial_gateway.admin import ClusterCounters, EnvoyCounters
from perennial_gateway.agent import RouteStatus
from perennial_gateway.model import Backend, RouteKey
from perennial_gateway.server import build_status
from perennial_observer.errors import Unavailable
from perennial_observer.service_level.burning import WINDOWS_S
from perennial_observer.service_level.counting import RouterReading, Tally
from perennial_observer.service_level.records import Sample, expire_buckets, read_windows, record
from perennial_observer.settings import Settings
from perennial_observer.store import tables as t
from perennial_observer.store.log import find_deployment_id
from perennial_observer.store.store import Store
from sqlalchemy import func, select

from tests.integration.gateway.backends import running
from tests.integration.gateway.harness import GatewayPod, free_port, route

from .conftest import KEY, FakeCluster, Running, deployment, run_observer

REVISION = "wine-00000001"
SECONDS = {name: length_s for length_s, name in WINDOWS_S.items()}
NOON = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@dataclass
class Router:
    """A router agent's page, rendered by the agent's own code from counters that tests set."""

    pod: str = "gateway-0"
    epoch: str = "e1"
    counters: dict[str, ClusterCounters] = field(default_factory=dict)
    unserved: dict[str, int] = field(default_factory=dict)
    body: bytes | None = None
    port: int = 0
    asked: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def status(self, _: web.Request) -> web.Response:
        self.asked.release()
        if self.body is not None:
            return web.Response(body=self.body)
        read = EnvoyCounters(self.epoch, self.counters, 0, 0, unserved=self.unserved)
        key = RouteKey(KEY.namespace, KEY.name)
        statuses = {key: RouteStatus(uid=KEY.uid, generation=1, state="Applied", message="")}
        return web.json_response(build_status(self.pod, statuses, read, {}))


@asynccontextmanager
async def answering() -> AsyncIterator[Router]:
    router = Router(port=free_port())
    app = web.Application()
    app.router.add_get("/status", router.status)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", router.port).start()
    try:
        yield router
    finally:
        await runner.cleanup()


def promising(**changes) -> ModelDeployment:
    monitor = {
        "name": "slo",
        "type": "ServiceLevel",
        "serviceLevel": {"availability": 0.99, "latency": {"objective": 0.9}, "minRequests": 50},
        "alarm": {"breaches": 1, "of": 1},
        "clear": {"consecutive": 2},
        **changes,
    }
    return deployment({"server": {"latencyBudget": "1s"}, "monitoring": {"monitors": [monitor]}})


def heard_at(settings: Settings, port: int) -> Settings:
    return settings.model_copy(
        update={"router_host": "127.0.0.1", "router_port": port, "router_interval_s": 10.0}
    )


async def minute(running: Running, clock: Clock) -> MonitorVerdict:
    """Let a minute pass, and ask the routers and judge at its end."""
    clock.now += 60.0
    await running.observer.poller.poll()
    return (await running.look()).monitors[0]


async def test_failures_at_a_real_gateway_are_an_alarm_that_ends(settings, cluster, clock):
    async with running("observer") as logs, running("wine") as wine, GatewayPod(logs.port) as gateway:
        await gateway.apply(route("wine", Backend(REVISION, 100, (wine.endpoint,)), latency_budget_ms=30_000))
        agent = heard_at(settings, gateway.agent_settings.agent_port)
        async with run_observer(agent, cluster, promising(severity="Page"), clock=clock) as observer:
            await gateway.call_many("/shop/wine/v2", 20)
            await gateway.until_counts(f"shop/{REVISION}", requests=20)
            # What came before the first look is nobody's.
            assert (await minute(observer, clock)).reason == "TooFewRequests"
            await gateway.call_many("/shop/wine/v2", 100)
            await gateway.until_counts(f"shop/{REVISION}", requests=120)
            assert (await minute(observer, clock)).state is MonitorState.OK
            wine.status = 500
            await gateway.call_many("/shop/wine/v2", 100)
            await gateway.until_counts(f"shop/{REVISION}", requests=220, errors=100)
            alarm = await minute(observer, clock)
            assert (alarm.state, alarm.reason, alarm.window_samples) == (
                MonitorState.ALARM,
                "BurningFast",
                200,
            )
            assert alarm.statistic == pytest.approx(50.0)
            assert alarm.breach_id.startswith("slo-")
            wine.status = 200
            clock.now += 1800.0
            await gateway.call_many("/shop/wine/v2", 30)
            await gateway.until_counts(f"shop/{REVISION}", requests=250)
            clearing = await minute(observer, clock)
            assert (clearing.state, clearing.reason) == (MonitorState.ALARM, "Clearing")
            assert (await minute(observer, clock)).state is MonitorState.OK


async def test_an_outage_without_any_server_is_an_alarm(settings, cluster, clock):
    async with (
        answering() as router,
        run_observer(heard_at(settings, router.port), cluster, promising(), clock=clock) as observer,
    ):
        await minute(observer, clock)
        router.unserved["shop/wine"] = 80
        got = await minute(observer, clock)
    assert (got.state, got.window_samples, got.statistic) == (MonitorState.ALARM, 80, pytest.approx(100.0))
    assert "100.00% of requests fail" in got.message


async def test_an_outage_that_an_answer_leaves_out_does_not_count_again(settings, cluster, clock):
    async with (
        answering() as router,
        run_observer(heard_at(settings, router.port), cluster, promising(), clock=clock) as observer,
    ):
        router.unserved["shop/wine"] = 80
        await minute(observer, clock)
        outage = router.unserved.pop("shop/wine")
        await minute(observer, clock)
        router.unserved["shop/wine"] = outage
        got = await minute(observer, clock)
    assert got.reason == "TooFewRequests"


async def test_all_revisions_count_and_no_other_model_does(settings, cluster, clock):
    async with (
        answering() as router,
        run_observer(heard_at(settings, router.port), cluster, promising(), clock=clock) as observer,
    ):
        await minute(observer, clock)
        bad = ClusterCounters(100, 100, slow=100)
        router.counters = {
            f"shop/{REVISION}": ClusterCounters(60),
            "shop/wine-00000002": ClusterCounters(40, slow=1),
            f"shop/{REVISION}/shadow": bad,
            f"shop/{REVISION}/pin": bad,
            "shop/wine-red-00000001": bad,
            "bank/wine-00000001": bad,
        }
        got = await minute(observer, clock)
    assert (got.state, got.window_samples) == (MonitorState.OK, 100)


async def test_slow_requests_burn_the_latency_budget(settings, cluster, clock):
    async with (
        answering() as router,
        run_observer(heard_at(settings, router.port), cluster, promising(), clock=clock) as observer,
    ):
        await minute(observer, clock)
        router.counters[f"shop/{REVISION}"] = ClusterCounters(100, slow=95)
        got = await minute(observer, clock)
        metrics = (await observer.client.get("/metrics")).text
    assert (got.state, got.reason) == (MonitorState.ALARM, "BurningFast")
    assert "slower than server.latencyBudget" in got.message
    place = 'deployment="wine",monitor="slo",namespace="shop",promise="latency"'
    assert f'perennial_error_budget_burn_rate{{{place},window="1h"}} 9.5' in metrics
    left = next(
        line
        for line in metrics.splitlines()
        if line.startswith(f"perennial_error_budget_left_ratio{{{place}}}")
    )
    assert float(left.rpartition(" ")[2]) == pytest.approx(-8.5)


async def test_another_latency_budget_starts_the_count_of_slow_requests_anew(settings, cluster, clock):
    async with (
        answering() as router,
        run_observer(heard_at(settings, router.port), cluster, promising(), clock=clock) as observer,
    ):
        await minute(observer, clock)
        router.counters[f"shop/{REVISION}"] = ClusterCounters(100, slow=95)
        assert (await minute(observer, clock)).state is MonitorState.ALARM
        spec = promising().spec
        server = spec.server.model_validate({**spec.server.to_api(), "latencyBudget": "2s"})
        changed = promising().model_copy(update={"spec": spec.model_copy(update={"server": server})})
        observer.observer.registry.replace([changed])
        router.counters[f"shop/{REVISION}"] = ClusterCounters(160, slow=96)
        got = await minute(observer, clock)
        levels = observer.observer.evaluator.service_levels
        availability, latency = levels.latest[KEY.uid, "slo"]
    assert got.state is MonitorState.OK
    assert availability.windows[SECONDS["1h"]].requests == 160
    assert latency.windows[SECONDS["1h"]] == Tally(requests=60, slow=1)


async def test_routers_that_fall_silent_are_told_and_an_alarm_stands(settings, cluster, clock):
    async with (
        answering() as router,
        run_observer(heard_at(settings, router.port), cluster, promising(), clock=clock) as observer,
    ):
        await minute(observer, clock)
        router.counters[f"shop/{REVISION}"] = ClusterCounters(100, 100)
        alarm = await minute(observer, clock)
        router.body = b'{"epoch": 5}'
        clock.now += 240.0
        with pytest.raises(Unavailable, match="no router of the gateway answers"):
            await observer.observer.poller.poll()
        got = (await observer.look()).monitors[0]
        assert "perennial_error_budget_left_ratio{" not in (await observer.client.get("/metrics")).text
    assert (got.state, got.breach_id) == (MonitorState.ALARM, alarm.breach_id)
    assert "no router of the gateway has answered since 2027-01-15 08:02:00 UTC" in got.message


async def test_an_answer_without_bound_is_no_answer(settings, cluster, clock):
    async with (
        answering() as router,
        run_observer(heard_at(settings, router.port), cluster, promising(), clock=clock) as observer,
    ):
        router.body = json.dumps({"pod": "a", "epoch": "e", "x": "y" * (17 << 20)}).encode()
        with pytest.raises(Unavailable):
            await observer.observer.poller.poll()


async def test_a_name_that_leads_nowhere_says_which_setting_to_correct(settings, cluster, clock):
    lost = settings.model_copy(update={"router_host": "no-gateway.invalid"})
    async with run_observer(lost, cluster, promising(), clock=clock) as observer:
        with pytest.raises(Unavailable, match="PERENNIAL_ROUTER_HOST"):
            await observer.observer.poller.poll()
        got = (await observer.look()).monitors[0]
    assert (got.state, got.reason) == (MonitorState.INSUFFICIENT, "NoRouters")


async def test_nobody_is_asked_for_deployments_that_promise_nothing(settings, cluster, clock):
    lost = settings.model_copy(update={"router_host": "no-gateway.invalid"})
    async with run_observer(lost, cluster, deployment({}), clock=clock) as observer:
        assert await observer.observer.poller.poll() == 0


async def test_a_minute_is_judged_once_also_by_two_observers_and_after_a_restart(settings, clock):
    deployed = promising(alarm={"breaches": 2, "of": 2})
    async with answering() as router:
        agent = heard_at(settings, router.port)
        async with (
            run_observer(agent, FakeCluster(), deployed, clock=clock) as one,
            run_observer(agent, FakeCluster(), deployed, clock=clock) as other,
        ):
            await minute(one, clock)
            router.counters[f"shop/{REVISION}"] = ClusterCounters(100, 100)
            assert (await minute(one, clock)).state is MonitorState.WARNING
            # Had it judged this minute again, two breaches would make an alarm.
            assert (await other.look()).monitors[0].state is MonitorState.WARNING
        async with run_observer(agent, FakeCluster(), deployed, clock=clock) as again:
            assert (await again.look()).monitors[0].state is MonitorState.WARNING
            assert (await minute(again, clock)).state is MonitorState.ALARM
            with again.observer.store.read() as connection:
                rows = connection.execute(select(t.window.c.evaluated_at)).all()
            # Of four judgements three changed something, and are recorded.
            assert len(rows) == 3


def sample(at: float, *, pod: str = "a", budget_ms: int = 0, **requests: int) -> Sample:
    counters = {source: Tally(requests=n) for source, n in requests.items()}
    return Sample(KEY, at, budget_ms, (RouterReading(pod, "e1", counters),))


def take(store: Store, *samples: Sample) -> list[bool]:
    writes = [store.writer.submit(lambda c, s=s: record(c, s, min_pause_s=5.0), 0) for s in samples]
    return [write.result(60) for write in writes]


def requests_in(store: Store, now: float) -> dict[str, int]:
    with store.read() as connection:
        deployment_id = find_deployment_id(connection, KEY.uid)
        assert deployment_id is not None
        windows = read_windows(connection, deployment_id, now=now)
    return {WINDOWS_S[length_s]: tally.requests for length_s, tally in windows.items()}


def test_windows_hold_what_came_within_them(on_each):
    store = Store.open(on_each)
    try:
        counted = [(0.0, 0), (60.0, 10), (120.0, 15)]
        take(store, *(sample(NOON + after, wine=n) for after, n in counted))
        assert requests_in(store, NOON + 120) == {
            "5m": 15,
            "30m": 15,
            "1h": 15,
            "6h": 15,
            "3d": 15,
            "30d": 15,
        }
        assert requests_in(store, NOON + 1000)["5m"] == 0
        assert requests_in(store, NOON + 1000)["30m"] == 15
        assert requests_in(store, NOON + 86_400) == {"5m": 0, "30m": 0, "1h": 0, "6h": 0, "3d": 15, "30d": 15}
    finally:
        store.close()


def test_what_two_observers_hear_at_once_is_counted_once(on_each):
    one, other = Store.open(on_each), Store.open(on_each)
    try:
        assert take(one, sample(NOON, wine=100)) == [True]
        assert take(one, sample(NOON + 15, wine=130)) == [True]
        # The other's answer is older by a moment, its clock is ahead, or it is the same one again.
        assert take(other, sample(NOON + 16, wine=129)) == [False]
        assert take(other, sample(NOON + 14, wine=128), sample(NOON + 15, wine=130)) == [False, False]
        assert take(other, sample(NOON + 30, wine=131)) == [True]
        assert requests_in(one, NOON + 30)["5m"] == 31
    finally:
        one.close()
        other.close()


def test_a_clock_that_was_set_back_stops_nothing(on_each):
    store = Store.open(on_each)
    try:
        take(store, sample(NOON + 86_400, wine=0), sample(NOON + 86_415, wine=50))
        assert take(store, sample(NOON, wine=60), sample(NOON + 15, wine=67)) == [True, True]
        assert requests_in(store, NOON + 15)["3d"] == 7
    finally:
        store.close()


def test_what_no_window_reaches_is_dropped_and_rows_stay_bounded(on_each):
    store = Store.open(on_each)
    try:
        for day in range(0, 40, 5):
            at = NOON + 86_400 * day
            take(store, sample(at, wine=1000 * day), sample(at + 15, wine=1000 * day + 500))
            store.writer.submit(lambda c, at=at: expire_buckets(c, now=at), 0).result(60)
        with store.read() as connection:
            b = t.service_level_bucket.c
            found = connection.execute(select(b.width_s, func.count()).group_by(b.width_s)).all()
        rows = dict(found)
        assert 0 < rows[60] <= 362
        assert 0 < rows[3600] <= 722
    finally:
        store.close()


async def test_the_loop_goes_on_after_an_answer_that_was_none(settings, cluster, clock):
    async with answering() as router:
        quick = heard_at(settings, router.port).model_copy(update={"router_interval_s": 0.01})
        router.body = b"no JSON"
        async with run_observer(quick, cluster, promising(), clock=clock) as observer:
            loop = asyncio.create_task(observer.observer.poller.run())
            await asyncio.wait_for(router.asked.acquire(), 20)
            router.body = None
            # By the third question more, what answered the second is written.
            for _ in range(3):
                await asyncio.wait_for(router.asked.acquire(), 20)
            loop.cancel()
            with observer.observer.store.read() as connection:
                assert find_deployment_id(connection, KEY.uid) is not None
