"""Deployments that are left alone in a look: nothing is found later or otherwise than if they were looked at."""

import pytest
from perennial_api.monitorreport import MonitorReportStatus, MonitorState
from perennial_observer.monitors.windows.records import read_memories, write_memory
from perennial_observer.settings import Settings
from perennial_observer.store import tables as t
from sqlalchemy import delete

from .conftest import KEY, Running, deployment, run_observer
from .test_monitoring import (
    SCHEMA,
    WINDOW,
    Stream,
    judged_windows,
    send_labels,
    send_reference,
    send_rows,
    verdict,
)

NATIVE = {"engine": "Native"}
WINDOWS = {"window": {"size": WINDOW, "maxAge": "10m", "minSamples": 50}, "falseAlarmEvery": "30d"}
DRIFT = {"name": "drift", "type": "Drift", "drift": NATIVE}
ACCURACY = {
    "name": "accuracy",
    "type": "Performance",
    "performance": {
        "metric": "accuracy",
        "min": 0.8,
        "labels": {"maturity": "100s", "minCoverage": 0.9, "minLabels": 100},
    },
}
SLOW = {
    "name": "accuracy",
    "type": "Performance",
    "performance": {"metric": "accuracy", "min": 0.8, "labels": {"maturity": "2h"}},
}
QUALITY = {"name": "quality", "type": "DataQuality", "dataQuality": {"maxSilence": "2h"}}
SLICED = {"name": "sliced", "type": "Drift", "drift": NATIVE, "slice": "rioja"}


def spec(*monitors, event_time: str | None = "at") -> dict:
    monitoring = {"defaults": WINDOWS, "monitors": list(monitors)}
    monitoring["slices"] = [{"name": "rioja", "where": "region == 'Rioja'"}]
    return {"monitoring": monitoring | ({"eventTime": event_time} if event_time else {})}


class Clock:
    def __init__(self) -> None:
        self.now = 100_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def count_looks(running: Running, monkeypatch) -> list[str]:
    looked = []
    look_at = running.observer.evaluator._look_at

    def count(of):
        looked.append(of.metadata.name)
        return look_at(of)

    monkeypatch.setattr(running.observer.evaluator, "_look_at", count)
    return looked


async def look_twice(running: Running) -> MonitorReportStatus:
    """Take a look, and one more with nobody left alone, which must find nothing else."""
    got = await running.look()
    names = [monitor.name for monitor in got.monitors]
    windows = [judged_windows(running, name) for name in names]
    running.observer.evaluator.resting._left.clear()
    assert await running.look() == got
    assert [judged_windows(running, name) for name in names] == windows
    return got


async def test_an_idle_deployment_is_left_alone_and_its_report_stays_up_to_date(
    settings, cluster, clock, monkeypatch
):
    one = deployment(spec(DRIFT, ACCURACY, QUALITY, SLICED))
    async with run_observer(settings, cluster, one, clock=clock) as running:
        await send_reference(running)
        stream = Stream()
        name = await send_rows(running, stream.rows(WINDOW + 10))
        before = await running.look()
        looked = count_looks(running, monkeypatch)
        assert await running.look() == before
        await send_labels(running, name, [1] * 20)
        got = await running.look()
        assert (got.log.labels, got.monitors) == (20, before.monitors)
        assert looked == []
        await send_rows(running, stream.rows(1))
        assert (await running.look()).log.predictions == WINDOW + 11
        assert looked == ["wine"]


async def test_by_event_time_every_look_finds_what_a_look_at_everything_would(settings, cluster, clock):
    stream = Stream()
    one = deployment(spec(DRIFT, ACCURACY, QUALITY, SLICED))
    async with run_observer(settings, cluster, one, clock=clock) as running:
        assert verdict(await look_twice(running), "drift").reason == "NoPredictions"
        name = await send_rows(running, stream.rows(WINDOW))
        assert verdict(await look_twice(running), "drift").reason == "NoReference"
        await send_reference(running)
        assert verdict(await look_twice(running), "drift").state is MonitorState.OK
        await send_labels(running, name, [1] * WINDOW)
        assert verdict(await look_twice(running), "accuracy").reason == "WaitingForWindow"
        await send_rows(running, stream.rows(101))
        assert verdict(await look_twice(running), "accuracy").state is MonitorState.OK
        stream.at += 600
        await send_rows(running, stream.rows(1))
        await look_twice(running)
        assert len(judged_windows(running, "drift")) == 2
        clock.now += 7_201.0
        assert verdict(await look_twice(running), "quality").reason == "Silent"
        await send_rows(running, stream.rows(1))
        assert verdict(await look_twice(running), "quality").reason != "Silent"


async def test_by_arrival_a_window_is_closed_by_the_clock_alone(settings, cluster, clock, monkeypatch):
    timeless = [{**column, "role": "Feature"} for column in SCHEMA["inputs"]]
    schema = {**SCHEMA, "inputs": timeless}
    monkeypatch.setattr("tests.integration.observer.test_monitoring.SCHEMA", schema)
    one = deployment(spec(DRIFT, QUALITY, event_time=None))
    settings = settings.model_copy(update={"arrival_lateness_s": 30.0})
    async with run_observer(settings, cluster, one, clock=clock) as running:
        await send_reference(running)
        await send_rows(running, Stream().rows(100))
        found = []
        for step_s in (0.0, 500.0, 110.0, 25.0, 100.0):
            clock.now += step_s
            await look_twice(running)
            found.append(len(judged_windows(running, "drift")))
        assert found == [0, 0, 0, 1, 1]


async def test_a_row_from_the_future_is_awaited_by_the_clock(settings, cluster, clock):
    stream = Stream()
    stream.at = int(clock.now)
    async with run_observer(settings, cluster, deployment(spec(DRIFT)), clock=clock) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(WINDOW))
        found = []
        for step_s in (0.0, WINDOW - 2.0, 1.0):
            clock.now += step_s
            await look_twice(running)
            found.append(len(judged_windows(running, "drift")))
        assert found == [0, 0, 1]


async def test_another_spec_another_revision_and_another_observers_verdict_end_the_rest(
    settings, cluster, clock, monkeypatch
):
    async with run_observer(settings, cluster, deployment(spec(QUALITY)), clock=clock) as running:
        await send_reference(running)
        await send_rows(running, Stream().rows(WINDOW))
        await running.look()
        await running.look()
        looked = count_looks(running, monkeypatch)
        running.observer.registry.put(deployment(spec(QUALITY, DRIFT)))
        assert verdict(await running.look(), "drift").state is MonitorState.OK
        running.observer.registry.put(deployment(spec(QUALITY), stable="wine-2"))
        assert (await running.look()).revision == "wine-2"
        await running.look()
        assert len(looked) == 2
        store = running.observer.store
        with store.read() as connection:
            memory = read_memories(connection, 1)["quality"]
        other = memory.model_copy(update={"message": "judged elsewhere"})
        store.writer.submit(lambda c: write_memory(c, 1, "quality", other), 0).result(30)
        assert verdict(await running.look(), "quality").message == "judged elsewhere"
        assert len(looked) == 3


async def test_detectors_that_are_away_are_asked_at_every_look(
    settings: Settings, cluster, clock, monkeypatch
):
    one = deployment(spec({"name": "drift", "type": "Drift"}))
    async with run_observer(settings, cluster, one, clock=clock) as running:
        await send_reference(running)
        await send_rows(running, Stream().rows(WINDOW))
        looked = count_looks(running, monkeypatch)
        for _ in range(2):
            assert verdict(await running.look(), "drift").reason == "DetectorUnavailable"
        assert looked == [KEY.name] * 2


async def test_rows_that_retention_deletes_end_what_is_said_of_it_without_a_new_one(settings, cluster, clock):
    of_accuracy = {**spec(SLOW)["monitoring"], "retention": {"maxAge": "1h"}}
    async with run_observer(
        settings, cluster, deployment({"monitoring": of_accuracy}), clock=clock
    ) as running:
        await send_reference(running)
        await send_rows(running, Stream().rows(10))
        assert verdict(await look_twice(running), "accuracy").reason == "RetentionTooShort"
        running.observer.store.writer.submit(lambda c: c.execute(delete(t.prediction)), 0).result(30)
        clock.now += 60.0
        assert verdict(await look_twice(running), "accuracy").reason == "WaitingForWindow"
