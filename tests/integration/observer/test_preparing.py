"""What takes long to make, such as forests or a far-away file, is made beside the looks and holds up nobody."""

import asyncio
import hashlib
import threading
import time

import pytest
from perennial_api.monitorreport import MonitorReportStatus, MonitorState
from perennial_observer.monitors.drift import monitor as drift_monitor
from perennial_observer.monitors.looks import assessors as looks_assessors
from perennial_observer.settings import Settings

from .conftest import Running, deployment, run_observer
from .test_monitoring import WINDOW, Stream, judged_windows, send_reference, send_rows, verdict
from .test_references import write_parquet

PATIENCE_S = 120.0
DEPENDENCE = {"name": "odd", "type": "Drift", "drift": {"detector": "MMD"}}
QUALITY = {"name": "quality", "type": "DataQuality"}
WINDOWS = {"window": {"size": WINDOW, "maxAge": "1h", "minSamples": 100}, "falseAlarmEvery": "30d"}


@pytest.fixture
def hasty(settings: Settings) -> Settings:
    """Looks that wait for nothing."""
    return settings.model_copy(update={"prepare_wait_s": 0.0})


@pytest.fixture
def gate():
    """Closed, until a test opens it; whoever waits at it is told of at the end."""
    opened = threading.Event()
    yield opened
    opened.set()


def hold(monkeypatch, place, name: str, gate: threading.Event) -> list[int]:
    """Make a function wait at the gate, and count its calls."""
    calls, function = [], getattr(place, name)

    def held(*of):
        calls.append(1)
        assert gate.wait(PATIENCE_S)
        return function(*of)

    monkeypatch.setattr(place, name, held)
    return calls


async def look_until_judged(running: Running, name: str) -> MonitorReportStatus:
    deadline = time.monotonic() + PATIENCE_S
    while not judged_windows(running, name):
        assert time.monotonic() < deadline
        status = await running.look()
        await asyncio.sleep(0)
    return status


def spec(*monitors, **monitoring) -> dict:
    return {"monitoring": {"eventTime": "at", "defaults": WINDOWS, "monitors": list(monitors), **monitoring}}


async def test_a_calibration_that_takes_long_holds_up_no_other_monitor(hasty, cluster, monkeypatch, gate):
    calls = hold(monkeypatch, drift_monitor, "measure_reference", gate)
    async with run_observer(hasty, cluster, deployment(spec(DEPENDENCE, QUALITY))) as running:
        await send_reference(running, rows=1_000)
        await send_rows(running, Stream().rows(WINDOW))
        for _ in range(3):
            status = await running.look()
            got = verdict(status, "odd")
            assert (got.state, got.reason) == (MonitorState.INSUFFICIENT, "Preparing")
            assert verdict(status, "quality").state is MonitorState.OK
        assert judged_windows(running, "odd") == []
        gate.set()
        status = await look_until_judged(running, "odd")
        assert verdict(status, "odd").state is MonitorState.OK
        assert len(judged_windows(running, "odd")) == 1
        assert calls == [1]


async def test_a_file_that_comes_slowly_is_awaited_and_the_last_verdict_stands_meanwhile(
    hasty, cluster, monkeypatch, gate, tmp_path
):
    columns = Stream(seed=7).rows(500)
    del columns["at"]
    path = write_parquet(tmp_path / "r.parquet", **columns)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    reference = {
        "source": "Uri",
        "uri": {"uri": f"file://{path}", "sha256": digest},
    }
    allowed = hasty.model_copy(update={"reference_uris": (f"file://{tmp_path}",)})
    calls = hold(monkeypatch, looks_assessors, "find_reference", gate)
    stream = Stream()
    one = deployment(spec(QUALITY, reference=reference))
    async with run_observer(allowed, cluster, one) as running:
        await send_reference(running, rows=500)
        await send_rows(running, stream.rows(WINDOW))
        assert verdict(await running.look(), "quality").reason == "Preparing"
        gate.set()
        assert verdict(await look_until_judged(running, "quality"), "quality").state is MonitorState.OK
        running.observer.evaluator.assessors._prepared.keep_only(lambda _: False)
        await send_rows(running, stream.rows(WINDOW))
        assert verdict(await running.look(), "quality").state is MonitorState.OK
        assert (len(judged_windows(running, "quality")), calls) == (2, [1])
