"""Data quality, silence and slices, from rows that are sent to verdicts."""

from typing import Any

import pytest
from perennial_api.monitorreport import MonitorState
from perennial_observer.errors import DetectorUnavailable
from perennial_observer.monitors.looks.assessors import RETRY_S, MissingReference
from perennial_observer.monitors.references.beside import Preparing
from perennial_observer.monitors.windows.slices import UnknownFeature

from .conftest import Running, deployment, run_observer
from .test_monitoring import (
    SERVER,
    STABLE,
    WINDOW,
    Stream,
    judged_windows,
    send_labels,
    send_reference,
    send_rows,
    verdict,
)

WINDOWS = {"window": {"size": WINDOW, "maxAge": "1h", "minSamples": 100}}
ACCURACY = {
    "name": "accuracy",
    "type": "Performance",
    "performance": {"metric": "accuracy", "min": 0.8, "labels": {"maturity": "1s", "minLabels": 50}},
}


def spec(*monitors: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"monitoring": {"eventTime": "at", "defaults": WINDOWS, "monitors": list(monitors), **more}}


def quality(**settings: Any) -> dict[str, Any]:
    return {"name": "quality", "type": "DataQuality", "dataQuality": settings}


async def send_unfit(running: Running, n: int) -> None:
    entry = {
        "prediction_id": f"unfit-{n}",
        "time": 0.0,
        "inputs": {"vintage": [2020] * n},
        "outputs": {"predict": [1] * n},
    }
    got = await running.client.post("/v1/log", json={"revision": STABLE, "entries": [entry]}, headers=SERVER)
    assert got.status_code == 202


async def test_bad_values_raise_an_alarm_that_names_them_and_good_ones_clear_it(settings, cluster):
    stream = Stream()
    async with run_observer(settings, cluster, deployment(spec(quality()))) as running:
        await send_reference(running)
        states = []
        for bad in (0, 60, 60, 0, 0, 0):
            columns = stream.rows(WINDOW)
            columns["region"][:bad] = ["Mars"] * bad
            columns["sugar"][: bad // 2] = [None] * (bad // 2)
            await send_rows(running, columns)
            status = await running.look()
            states.append(verdict(status, "quality").state.value)
            if states == ["Ok", "Warning", "Alarm"]:
                alarm = verdict(status, "quality")
        assert states == ["Ok", "Warning", "Alarm", "Alarm", "Alarm", "Ok"]
        assert [f.name for f in alarm.features[:2]] == ["region", "sugar"]
        assert alarm.reason == "UnseenCategories"
        assert "region: 60 of 250 values are categories never seen (24.0%, 1.0% allowed)" in alarm.message
        assert alarm.statistic > alarm.threshold == 1.0


async def test_rows_that_do_not_fit_count_in_the_window_during_which_they_came(settings, cluster):
    stream = Stream()
    async with run_observer(settings, cluster, deployment(spec(quality()))) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(WINDOW))
        assert verdict(await running.look(), "quality").state is MonitorState.OK
        await send_unfit(running, 50)
        await send_rows(running, stream.rows(WINDOW))
        got = verdict(await running.look(), "quality")
        assert (got.state, got.reason) == (MonitorState.WARNING, "RowsRejected")
        assert "50 of 300 rows don't fit the schema, most often UnknownColumn" in got.message
        await send_rows(running, stream.rows(WINDOW))
        assert verdict(await running.look(), "quality").state is MonitorState.OK


class Clock:
    """Seconds since the epoch, moved by hand."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_silence_is_one_alarm_that_outlives_a_restart_and_ends_with_the_next_row(settings, cluster):
    stream, clock = Stream(), Clock()
    watched = deployment(spec(quality(maxSilence="10m"), {**quality(), "name": "patient"}))
    async with run_observer(settings, cluster, watched, clock=clock) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(WINDOW))
        assert verdict(await running.look(), "quality").state is MonitorState.OK
        clock.now += 601.0
        first = verdict(await running.look(), "quality")
        assert (first.state, first.reason) == (MonitorState.ALARM, "Silent")
        assert first.last_transition_time.timestamp() == clock.now
        clock.now += 3_600.0
        assert verdict(await running.look(), "quality") == first
    async with run_observer(settings, cluster, watched, clock=clock) as running:
        status = await running.look()
        assert verdict(status, "quality") == first
        assert verdict(status, "patient").state is MonitorState.OK
        await send_rows(running, stream.rows(1))
        after = verdict(await running.look(), "quality")
        assert (after.state, after.reason, after.breach_id) == (MonitorState.OK, "WithinLimits", None)
        assert after.last_transition_time.timestamp() == clock.now
        assert len(judged_windows(running, "quality")) == 1
    raised = {v.breach_id for s in cluster.written for v in s.monitors if v.state is MonitorState.ALARM}
    assert raised == {first.breach_id}


@pytest.mark.parametrize(
    "lack",
    [
        Preparing(),
        MissingReference("there is none"),
        DetectorUnavailable("no answer"),
        UnknownFeature("there is none"),
    ],
    ids=lambda lack: type(lack).__name__,
)
async def test_silence_that_ends_in_a_look_that_judges_one_window_and_not_the_next_loses_none(
    settings, cluster, monkeypatch, lack
):
    stream, clock = Stream(), Clock()
    watched = deployment(spec(quality(maxSilence="10m")))
    async with run_observer(settings, cluster, watched, clock=clock) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(WINDOW))
        await running.look()
        clock.now += 601.0
        assert verdict(await running.look(), "quality").reason == "Silent"
        for _ in range(2):
            await send_rows(running, stream.rows(WINDOW))
        assessors = running.observer.evaluator.assessors
        assess, calls = assessors.assess, []

        def assess_one(question):
            calls.append(question)
            if len(calls) > 1:
                raise lack
            return assess(question)

        with monkeypatch.context() as hindered:
            hindered.setattr(assessors, "assess", assess_one)
            await running.look()
        assert (len(calls), len(judged_windows(running, "quality"))) == (2, 2)
        clock.now += RETRY_S
        assert verdict(await running.look(), "quality").reason == "WithinLimits"
        assert len(judged_windows(running, "quality")) == 3


async def test_a_slice_is_judged_alone(settings, cluster):
    stream = Stream()
    sliced = {**ACCURACY, "name": "rioja", "slice": "rioja"}
    where = [{"name": "rioja", "where": 'region == "Rioja"'}]
    async with run_observer(settings, cluster, deployment(spec(ACCURACY, sliced, slices=where))) as running:
        await send_reference(running)
        for _ in range(2):
            columns = stream.rows(WINDOW)
            name = await send_rows(running, columns)
            # Right for Alsace, wrong for every third bottle of Rioja: 5 of 6 in all.
            wrong = [region == "Rioja" and i % 3 == 0 for i, region in enumerate(columns["region"])]
            await send_labels(running, name, [0 if w else 1 for w in wrong])
        await send_rows(running, stream.rows(WINDOW))
        status = await running.look()
        assert verdict(status, "accuracy").state is MonitorState.OK
        got = verdict(status, "rioja")
        assert got.statistic == pytest.approx(2 / 3, abs=0.1)
        assert got.state is MonitorState.ALARM
        assert 80 < got.window_samples < 170


async def test_a_slice_that_is_too_small_is_insufficient_and_not_ok(settings, cluster):
    stream = Stream()
    small = {**quality(), "slice": "rare"}
    where = [{"name": "rare", "where": "sugar > 2"}]
    async with run_observer(settings, cluster, deployment(spec(small, slices=where))) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(WINDOW))
        got = verdict(await running.look(), "quality")
        assert (got.state, got.reason) == (MonitorState.INSUFFICIENT, "TooFewSamples")
        assert got.window_samples < 30


async def test_a_slice_on_an_unknown_column_says_so_loses_no_window_and_harms_nobody(settings, cluster):
    stream = Stream()
    monitors = ({**quality(), "slice": "old"}, {**quality(), "name": "all"})
    wrong = deployment(spec(*monitors, slices=[{"name": "old", "where": "age > 3"}]))
    async with run_observer(settings, cluster, wrong) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(10))
        early = verdict(await running.look(), "quality")
        assert (early.state, early.reason) == (MonitorState.ERROR, "UnknownFeature")
        assert "names age, which the model's schema doesn't have" in early.message
        await send_rows(running, stream.rows(WINDOW))
        status = await running.look()
        assert verdict(status, "all").state is MonitorState.OK
        right = deployment(spec(*monitors, slices=[{"name": "old", "where": "sugar > -3"}]))
        running.observer.registry.put(right)
        assert verdict(await running.look(), "quality").state is MonitorState.OK
        assert len(judged_windows(running, "quality")) == 1


# Custom
