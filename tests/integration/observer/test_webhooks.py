"""Alarms of a real observer arrive at a real HTTP server, once for all attempts, also after a restart."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from perennial_observer.main import Observer
from perennial_observer.registry import CURRENT_S
from perennial_observer.settings import Settings
from perennial_observer.store import tables as t
from perennial_observer.webhooks.targets import WebhookTarget
from sqlalchemy import select

from .conftest import KEY, deployment, run_observer

SERVER = {"Authorization": "Bearer server"}
STABLE = "wine-00000001"
WINDOW = 100
MONITORING = {
    "eventTime": "at",
    "defaults": {
        "window": {"size": WINDOW, "maxAge": "1h", "minSamples": 50},
        "alarm": {"breaches": 1, "of": 1},
        "clear": {"consecutive": 1},
    },
    "monitors": [
        {
            "name": "accuracy",
            "type": "Performance",
            "severity": "Page",
            "performance": {
                "metric": "accuracy",
                "min": 0.8,
                "labels": {"maturity": "0s", "minCoverage": 0.5, "minLabels": 50},
            },
        }
    ],
}


@dataclass
class Receiver:
    """Answers with the next of `answers`, then with 204."""

    answers: list[int] = field(default_factory=list)
    bodies: list[dict] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    hangs: bool = False
    arrived: asyncio.Queue[None] = field(default_factory=asyncio.Queue)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=s3cret"

    async def handle(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        self.arrived.put_nowait(None)
        if self.hangs:
            await asyncio.sleep(60.0)
        self.kinds.append(request.headers["content-type"])
        return web.Response(status=self.answers.pop(0) if self.answers else 204)


@asynccontextmanager
async def receive(*, hangs: bool = False) -> AsyncIterator[Receiver]:
    found = Receiver(hangs=hangs)
    app = web.Application()
    app.router.add_post("/hook", found.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.port = site._server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        await runner.cleanup()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receive() as found:
        yield found


@dataclass
class Clock:
    """Time that a test sets; the log's event times are its seconds, too."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Rows:
    """Sends windows of predictions with labels, right ones or wrong ones."""

    def __init__(self, running) -> None:
        self.running = running
        self.at = 0

    async def send(self, *, right: bool) -> None:
        name = f"p{self.at}"
        columns = {"at": [float(self.at + i) for i in range(WINDOW)], "sugar": [1.0] * WINDOW}
        self.at += WINDOW
        entry = {
            "prediction_id": name,
            "time": 0.0,
            "inputs": columns,
            "outputs": {"predict": [1] * WINDOW},
        }
        body = {"revision": STABLE, "entries": [entry]}
        assert (await self.running.client.post("/v1/log", json=body, headers=SERVER)).status_code == 202
        labels = [{"prediction_id": name, "row": i, "label": int(right)} for i in range(WINDOW)]
        address = f"/v1/namespaces/{KEY.namespace}/deployments/{KEY.name}/feedback"
        answer = await self.running.client.post(address, json={"feedback": labels})
        assert answer.json()["accepted"] == WINDOW
        await self.running.look()


@asynccontextmanager
async def watch(settings: Settings, cluster, clock: Clock):
    async with run_observer(
        settings, cluster, deployment({"monitoring": MONITORING}), clock=clock
    ) as running:
        schema = {
            "inputs": [
                {"name": "sugar", "datatype": "FP64"},
                {"name": "at", "datatype": "FP64", "role": "EventTime"},
            ],
            "outputs": [{"name": "predict", "datatype": "INT64", "role": "Output"}],
        }
        reference = {
            "revision": STABLE,
            "bundle_digest": "sha256:" + "a" * 64,
            "schema": schema,
            "task": "Classification",
            "rows": {"at": [float(i) for i in range(WINDOW)], "sugar": [0.0] * WINDOW},
            "outputs": {"predict": [1] * WINDOW},
            "event_time": [float(i) for i in range(WINDOW)],
        }
        answer = await running.client.post("/v1/reference", json=reference, headers=SERVER)
        assert answer.status_code == 204
        yield running


async def send_due(observer: Observer) -> int:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10.0)) as session:
        await observer.sender.address()
        return sum([await observer.sender.send_due(session, target) for target in observer.sender.targets])


def told(receiver: Receiver) -> list[tuple[str, str]]:
    return [(body["type"].split(".")[-2], body["data"]["breachId"]) for body in receiver.bodies]


def aimed(settings: Settings, receiver: Receiver, **changes) -> Settings:
    target = WebhookTarget.model_validate({"url": receiver.url, **changes})
    return settings.model_copy(update={"webhooks": (target,)})


async def test_an_alarm_and_its_end_arrive_as_cloudevents(settings, cluster, receiver):
    async with watch(aimed(settings, receiver), cluster, Clock()) as running:
        rows = Rows(running)
        await rows.send(right=True)
        assert await send_due(running.observer) == 0
        await rows.send(right=False)
        assert await send_due(running.observer) == 1
        await rows.send(right=True)
        assert await send_due(running.observer) == 1
        assert await send_due(running.observer) == 0
        metrics = (await running.client.get("/metrics")).text
    kinds, episodes = zip(*told(receiver), strict=True)
    assert kinds == ("raised", "cleared")
    assert len(set(episodes)) == 1
    assert set(receiver.kinds) == {"application/cloudevents+json; charset=utf-8"}
    data = receiver.bodies[0]["data"]
    assert (data["severity"], data["state"], data["statistic"]) == ("Page", "Alarm", 0.0)
    assert "moved most: sugar (1.00)" in data["explanation"]
    assert 'perennial_observer_webhooks_total{result="delivered"} 2.0' in metrics
    assert "s3cret" not in metrics


async def test_an_attempt_that_failed_is_made_again_with_the_same_id(settings, cluster, receiver):
    receiver.answers = [503, 429]
    clock = Clock()
    async with watch(aimed(settings, receiver), cluster, clock) as running:
        await Rows(running).send(right=False)
        for want in (1, 2, 3):
            assert await send_due(running.observer) == 1
            assert len(receiver.bodies) == want
            assert await send_due(running.observer) == 0
            clock.now += 60.0
        assert await send_due(running.observer) == 0
    assert len({body["id"] for body in receiver.bodies}) == 1
    assert receiver.bodies[0] == receiver.bodies[2]


async def test_what_a_receiver_refuses_is_not_sent_again(settings, cluster, receiver):
    receiver.answers = [400]
    clock = Clock()
    async with watch(aimed(settings, receiver), cluster, clock) as running:
        await Rows(running).send(right=False)
        assert await send_due(running.observer) == 1
        clock.now += 3_600.0
        assert await send_due(running.observer) == 0
    assert len(receiver.bodies) == 1


async def test_an_alarm_outlives_the_observer_that_found_it(settings, cluster, receiver):
    clock = Clock()
    async with watch(aimed(settings, receiver), cluster, clock) as running:
        await Rows(running).send(right=False)
        breach = (await running.look()).monitors[0].breach_id
    assert receiver.bodies == []
    async with watch(aimed(settings, receiver), cluster, clock) as running:
        assert await send_due(running.observer) == 1
        clock.now += 3_600.0
        assert await send_due(running.observer) == 0
    assert told(receiver) == [("raised", breach)]


async def test_a_receiver_that_never_answers_is_given_up_and_looks_go_on(settings, cluster, unused_port):
    clock = Clock()
    target = WebhookTarget(url=f"http://127.0.0.1:{unused_port}/hook")
    async with watch(settings.model_copy(update={"webhooks": (target,)}), cluster, clock) as running:
        rows = Rows(running)
        await rows.send(right=False)
        attempts = 0
        while sent := await send_due(running.observer):
            attempts += sent
            assert attempts <= 12
            clock.now += 3_600.0
        assert attempts == 12
        await rows.send(right=True)
        assert (await running.look()).monitors[0].state.value == "Ok"
        text = (await running.client.get("/metrics")).text
    assert 'perennial_observer_webhooks_total{result="given_up"} 1.0' in text


async def test_what_is_less_severe_than_asked_for_is_not_sent(settings, cluster, receiver):
    quiet = {**MONITORING["monitors"][0], "severity": "Ticket"}
    changed = deployment({"monitoring": {**MONITORING, "monitors": [quiet]}})
    async with watch(aimed(settings, receiver, minSeverity="Page"), cluster, Clock()) as running:
        running.observer.registry.replace([changed])
        await Rows(running).send(right=False)
        before = (await running.look()).monitors[0]
        assert before.state.value == "Alarm"
        assert await send_due(running.observer) == 0
        # With a severity that is sent the same alarm begins for the receiver.
        running.observer.registry.replace([deployment({"monitoring": MONITORING})])
        after = (await running.look()).monitors[0]
        assert (after.state, after.breach_id, after.severity.value) == (
            before.state,
            before.breach_id,
            "Page",
        )
        assert await send_due(running.observer) == 1
    assert told(receiver) == [("raised", before.breach_id)]


async def test_silence_is_told_and_shown_also_by_a_replica_that_does_not_look(settings, cluster, receiver):
    quality = {"name": "quality", "type": "DataQuality", "dataQuality": {"maxSilence": "10m", "maxOdd": 1.0}}
    changed = deployment({"monitoring": {**MONITORING, "monitors": [quality]}})
    clock = Clock()
    async with watch(aimed(settings, receiver), cluster, clock) as running:
        running.observer.registry.replace([changed])
        rows = Rows(running)
        await rows.send(right=True)
        assert await send_due(running.observer) == 0
        clock.now += 601.0
        (want,) = (await running.look()).monitors
        assert want.reason == "Silent"
        assert await send_due(running.observer) == 1
        running.observer.evaluator.reports = {}
        answer = await running.client.get(
            f"/v1/deployments/{KEY.namespace}/{KEY.name}/monitors", headers=SERVER
        )
        assert answer.json()["monitors"] == [want.to_api()]
        await rows.send(right=True)
        assert await send_due(running.observer) == 1
    assert told(receiver) == [("raised", want.breach_id), ("cleared", want.breach_id)]


async def test_the_end_of_a_deleted_deployments_alarm_is_told_and_nothing_of_it_remembered(
    on_each, cluster, receiver, monkeypatch
):
    async with watch(aimed(on_each, receiver), cluster, Clock()) as running:
        observer = running.observer
        await Rows(running).send(right=False)
        breach = (await running.look()).monitors[0].breach_id
        known = observer.registry.all()
        # While it exists and can't be read, it isn't taken for deleted.
        observer.registry.replace([], unread=[KEY.uid])
        await observer.share()
        await observer.expiry.run()
        assert remembered(observer) == 1
        # Nor while the API server is silent, from which it would have heard of it.
        observer.registry.replace([])
        with monkeypatch.context() as silent:
            silent.setattr(observer.registry, "monotonic", lambda: time.monotonic() + CURRENT_S)
            await observer.expiry.run()
        assert remembered(observer) == 1
        observer.registry.replace(known)
        observer.registry.remove(KEY.uid)
        await observer.share()
        await observer.expiry.run()
        assert remembered(observer) == 0
        assert await send_due(observer) == 1
    assert told(receiver) == [("cleared", breach)]
    data = receiver.bodies[-1]["data"]
    assert (data["reason"], data["severity"], data["state"]) == ("DeploymentDeleted", None, None)


def remembered(observer: Observer) -> int:
    with observer.store.read() as connection:
        return len(connection.execute(select(t.monitor_state.c.id)).all())


async def test_a_receiver_that_hangs_holds_up_no_other(settings, cluster, receiver):
    async with receive(hangs=True) as hanging:
        targets = tuple(WebhookTarget(url=found.url) for found in (hanging, receiver))
        changed = settings.model_copy(update={"webhooks": targets})
        async with watch(changed, cluster, Clock()) as running:
            rows = Rows(running)
            sending = asyncio.ensure_future(running.observer.sender.run())
            for right in (False, True):
                await rows.send(right=right)
                await asyncio.wait_for(receiver.arrived.get(), 5.0)
            assert len(hanging.bodies) == 1
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


@pytest.fixture
async def unused_port() -> int:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
