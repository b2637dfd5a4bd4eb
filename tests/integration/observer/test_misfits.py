"""Rows that don't fit: each counts once, and counts also where no other row comes."""

from typing import Any

from perennial_api.monitorreport import MonitorReportStatus, MonitorState

from .conftest import Running, deployment, run_observer
from .test_monitoring import SERVER, STABLE, WINDOW, Stream, send_reference, send_rows, verdict

SPEC: dict[str, Any] = {
    "monitoring": {
        "eventTime": "at",
        "defaults": {"window": {"size": WINDOW, "maxAge": "1h", "minSamples": 100}},
        "monitors": [{"name": "quality", "type": "DataQuality"}, {"name": "drift", "type": "Drift"}],
    }
}


class Clock:
    """Seconds since the epoch, moved by hand."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


async def send_unfit(running: Running, name: str, n: int) -> None:
    entry = {
        "prediction_id": name,
        "time": 0.0,
        "inputs": {"vintage": [2020] * n},
        "outputs": {"predict": [1] * n},
    }
    got = await running.client.post("/v1/log", json={"revision": STABLE, "entries": [entry]}, headers=SERVER)
    assert got.json()["rejected"] == n


def state_of(status: MonitorReportStatus) -> tuple[str, str]:
    got = verdict(status, "quality")
    return got.state.value, got.reason


async def test_an_alarm_is_raised_although_no_row_fits_any_more_and_ends_when_rows_fit(on_each, cluster):
    stream, clock = Stream(), Clock()
    async with run_observer(on_each, cluster, deployment(SPEC), clock=clock) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(WINDOW))
        assert state_of(await running.look()) == ("Ok", "WithinLimits")
        states = []
        for i in range(3):
            clock.now += 60.0
            await send_unfit(running, f"unfit-{i}", WINDOW)
            await running.look()
            states.append(state_of(await running.look()))
        assert states == [("Warning", "RowsRejected"), ("Alarm", "RowsRejected"), ("Alarm", "RowsRejected")]
        got = verdict(await running.look(), "quality")
        assert got.message.startswith(
            "250 of 250 rows don't fit the schema, most often UnknownColumn (100.0%"
        )
        assert got.window_samples == WINDOW
    # Nothing is counted again after a restart, and rows that fit are judged as ever.
    async with run_observer(on_each, cluster, deployment(SPEC), clock=clock) as running:
        assert verdict(await running.look(), "quality") == got
        for _ in range(3):
            clock.now += 60.0
            await send_rows(running, stream.rows(WINDOW))
            status = await running.look()
        assert state_of(status) == ("Ok", "WithinLimits")


async def test_few_rows_that_do_not_fit_wait_as_long_as_a_window_may(settings, cluster):
    stream, clock = Stream(), Clock()
    async with run_observer(settings, cluster, deployment(SPEC), clock=clock) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(WINDOW))
        await running.look()
        clock.now += 60.0
        await send_unfit(running, "unfit", WINDOW - 50)
        assert state_of(await running.look()) == ("Ok", "WithinLimits")
        clock.now += 3_601.0
        assert state_of(await running.look()) == ("Warning", "RowsRejected")


async def test_rows_none_of_which_has_ever_fitted_are_judged_and_told(settings, cluster):
    async with run_observer(settings, cluster, deployment(SPEC)) as running:
        await send_reference(running)
        await send_unfit(running, "unfit", WINDOW)
        status = await running.look()
        assert state_of(status) == ("Warning", "RowsRejected")
        drift = verdict(status, "drift")
        assert (drift.state, drift.reason) == (MonitorState.INSUFFICIENT, "NoRowFits")
        assert "none of the 250 rows that came fits" in drift.message


async def test_a_row_that_does_not_fit_counts_once_where_rows_come_out_of_order(settings, cluster):
    stream, clock = Stream(), Clock()
    patient = settings.model_copy(update={"event_lateness_s": float(WINDOW)})
    async with run_observer(patient, cluster, deployment(SPEC), clock=clock) as running:
        await send_reference(running)
        first = stream.rows(WINDOW)
        second, third = stream.rows(WINDOW), stream.rows(WINDOW)
        await send_rows(running, second)
        clock.now += 10.0
        await send_unfit(running, "unfit", 50)
        clock.now += 10.0
        await send_rows(running, first)
        await send_rows(running, third)
        clock.now += 10.0
        await send_rows(running, stream.rows(WINDOW))
        states = []
        running.observer.evaluator.settings = patient.model_copy(update={"windows_per_tick": 1})
        for _ in range(3):
            states.append(state_of(await running.look()))
        # The first window came last, and with it all that didn't fit.
        assert states == [("Warning", "RowsRejected"), ("Ok", "WithinLimits"), ("Ok", "WithinLimits")]


async def test_an_edit_of_the_monitor_counts_nothing_again(settings, cluster):
    stream, clock = Stream(), Clock()
    async with run_observer(settings, cluster, deployment(SPEC), clock=clock) as running:
        await send_reference(running)
        await send_unfit(running, "unfit", 50)
        clock.now += 1.0
        await send_rows(running, stream.rows(WINDOW))
        assert state_of(await running.look()) == ("Warning", "RowsRejected")
        edited = {
            **SPEC["monitoring"],
            "monitors": [{**SPEC["monitoring"]["monitors"][0], "falseAlarmEvery": "7d"}],
        }
        running.observer.registry.put(deployment({"monitoring": edited}))
        clock.now += 1.0
        await send_rows(running, stream.rows(WINDOW))
        assert state_of(await running.look()) == ("Ok", "WithinLimits")
