"""What one window, monitor or row does wrong harms none of the others."""

from typing import Any

import pytest
from perennial_api.modeldeployment.monitoring import MonitorType
from perennial_api.monitorreport import MonitorState
from perennial_observer.monitors.looks import assessors

from .conftest import KEY, deployment, run_observer
from .test_monitoring import STABLE, WINDOW, Stream, judged_windows, send_reference, send_rows, verdict

WINDOWS = {"window": {"size": WINDOW, "maxAge": "1h", "minSamples": 100}}


def spec(*monitors: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"monitoring": {"eventTime": "at", "defaults": WINDOWS, "monitors": list(monitors), **more}}


QUALITY = {"name": "quality", "type": "DataQuality"}
DRIFT = {"name": "drift", "type": "Drift", "drift": {"detector": "KS"}}
THREE = (QUALITY, DRIFT, {**QUALITY, "name": "quality-too"})


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise IndexError("no such row")

    monkeypatch.setattr(assessors, "_JUDGES", {**assessors._JUDGES, MonitorType.DRIFT: fail})


async def test_a_monitor_that_fails_unexpectedly_says_so_and_the_others_go_on(
    settings, cluster, broken, caplog
):
    stream = Stream()
    async with run_observer(settings, cluster, deployment(spec(*THREE))) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(2 * WINDOW))
        status = await running.look()
        got = verdict(status, "drift")
        assert (got.state, got.reason) == (MonitorState.ERROR, "MonitorFailed")
        assert got.message == "the monitor can't judge this window: IndexError: no such row"
        for name in ("quality", "quality-too"):
            assert verdict(status, name).state is MonitorState.OK
        for name in ("quality", "drift", "quality-too"):
            assert len(judged_windows(running, name)) == 2
    assert "Traceback" in caplog.text


async def test_a_look_that_fails_keeps_the_report_and_what_was_prepared(settings, cluster, monkeypatch):
    stream = Stream()
    async with run_observer(settings, cluster, deployment(spec(QUALITY))) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(WINDOW))
        want = await running.look()
        evaluator = running.observer.evaluator
        prepared = list(evaluator.assessors._prepared)
        assert prepared
        monkeypatch.setattr(evaluator, "_look_at", lambda _: 1 / 0)
        assert await running.look() == want
        assert list(evaluator.assessors._prepared) == prepared
        running.observer.registry.replace(())
        await running.observer.tick()
        assert KEY.uid not in evaluator.reports
        assert list(evaluator.assessors._prepared) == []


async def test_a_row_from_tomorrow_closes_no_window_early(settings, cluster):
    now = 1_000.0
    stream = Stream()
    async with run_observer(settings, cluster, deployment(spec(QUALITY)), clock=lambda: now) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(10))
        ahead = Stream()
        ahead.at = int(now) + 80_000
        await send_rows(running, ahead.rows(1))
        assert verdict(await running.look(), "quality").reason == "WaitingForWindow"
        await send_rows(running, stream.rows(WINDOW))
        await running.look()
        assert judged_windows(running, "quality") == [(STABLE, 0.0, 249.0)]


def tell_apart(**more: Any) -> list[dict[str, Any]]:
    """Monitors that compare distributions with the reference, each in its own way."""
    kinds = {
        "ks": {"type": "Drift", "drift": {"detector": "KS"}},
        "pairs": {"type": "Drift", "drift": {"detector": "Dependence"}},
        "answers": {"type": "PredictionDrift", "predictionDrift": {"detector": "PSI"}},
        "outliers": {"type": "Outlier", "outlier": {"detector": "KNN"}},
    }
    return [{"name": name, **kind, **more} for name, kind in kinds.items()]


@pytest.mark.parametrize(
    ("rows", "where", "want"),
    [
        (5_000, "sugar > 50", ("SliceNotInReference", "0 of the reference's rows are in the slice")),
        (49, None, ("ReferenceTooSmall", "the reference has 49 rows, 50 are needed")),
    ],
)
async def test_a_reference_of_a_few_rows_is_waited_for_and_not_compared_with(
    settings, cluster, rows, where, want
):
    monitors, slices = tell_apart(), []
    if where:
        monitors, slices = tell_apart(slice="sweet"), [{"name": "sweet", "where": where}]
    async with run_observer(settings, cluster, deployment(spec(*monitors, slices=slices))) as running:
        await send_reference(running, rows=rows)
        await send_rows(running, Stream().rows(WINDOW, shift=100.0))
        status = await running.look()
        for monitor in monitors:
            got = verdict(status, monitor["name"])
            assert (got.state, got.reason) == (MonitorState.INSUFFICIENT, want[0])
            assert want[1] in got.message
            assert judged_windows(running, monitor["name"]) == []
