"""What keeps monitors from judging at all is told receivers of webhooks: a wrong name, detectors that are away."""

from typing import Any

import orjson
import pytest
from perennial_api.monitorreport import MonitorState
from perennial_observer.settings import Settings
from perennial_observer.store import tables as t
from perennial_observer.webhooks.targets import WebhookTarget
from sqlalchemy import select

from .conftest import Running, deployment, run_observer
from .test_monitoring import WINDOW, Stream, judged_windows, send_reference, send_rows, verdict

DRIFT = {"name": "drift", "type": "Drift"}
WRONG = {**DRIFT, "drift": {"detector": "PSI", "features": ["age"]}}
RIGHT = {**DRIFT, "drift": {"detector": "PSI", "features": ["sugar"]}}


def spec(monitor: dict[str, Any]) -> dict[str, Any]:
    defaults = {"window": {"size": WINDOW, "maxAge": "1h", "minSamples": 100}}
    return {"monitoring": {"eventTime": "at", "defaults": defaults, "monitors": [monitor]}}


class Clock:
    """Seconds since the epoch, moved by hand."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def telling(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhooks": (WebhookTarget(url="http://127.0.0.1:9/hook"),)})


async def told(running: Running) -> list[tuple[str, str]]:
    """Return what waits for the receiver: types and reasons."""
    await running.observer.sender.address()
    with running.observer.store.read() as connection:
        bodies = connection.execute(select(t.webhook_event.c.body).order_by(t.webhook_event.c.id)).scalars()
        found = [orjson.loads(body) for body in bodies]
    return [(body["type"].split(".")[-2], body["data"]["reason"]) for body in found]


async def test_a_monitor_on_a_feature_that_there_isn_t_is_told_once(telling, cluster):
    stream, clock = Stream(), Clock()
    async with run_observer(telling, cluster, deployment(spec(WRONG)), clock=clock) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(WINDOW))
        assert verdict(await running.look(), "drift").reason == "UnknownFeature"
        clock.now += 90.0
        await running.look()
        assert await told(running) == [("failed", "UnknownFeature")]
    async with run_observer(telling, cluster, deployment(spec(WRONG)), clock=clock) as running:
        await running.look()
        running.observer.registry.put(deployment(spec(RIGHT)))
        assert verdict(await running.look(), "drift").state is MonitorState.OK
        assert len(judged_windows(running, "drift")) == 1
        assert await told(running) == [("failed", "UnknownFeature")]


async def test_detectors_that_stay_away_are_told_and_no_window_is_judged_twice(telling, cluster):
    stream, clock = Stream(), Clock()
    async with run_observer(telling, cluster, deployment(spec(RIGHT)), clock=clock) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(WINDOW))
        await running.look()
        away = {**DRIFT, "drift": {"detector": "KS", "engine": "AlibiDetect"}}
        running.observer.registry.put(deployment(spec(away)))
        await send_rows(running, stream.rows(WINDOW))
        for seconds in (0.0, 60.0, 61.0, 600.0):
            clock.now += seconds
            assert verdict(await running.look(), "drift").state is MonitorState.ERROR
            if seconds == 60.0:
                assert await told(running) == []
        ((change, _),) = await told(running)
        assert change == "failed"
        running.observer.registry.put(deployment(spec(RIGHT)))
        assert verdict(await running.look(), "drift").state is not MonitorState.ERROR
        assert len(judged_windows(running, "drift")) == 2
