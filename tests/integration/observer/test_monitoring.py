"""A seeded stream through a real observer with the real detectors: drift, outliers, performance, restarts."""

from collections.abc import Sequence

import numpy as np
import pytest
from perennial_api.monitorreport import MonitorReportStatus, MonitorState, MonitorVerdict
from perennial_observer.settings import Settings
from perennial_observer.store import tables as t
from sqlalchemy import select

from .conftest import KEY, Running, deployment, run_observer

STABLE, NEXT = "wine-00000001", "wine-00000002"
SERVER = {"Authorization": "Bearer server"}
FEEDBACK = f"/v1/namespaces/{KEY.namespace}/deployments/{KEY.name}/feedback"
FEATURES = ["acidity", "sugar", "alcohol"]
WINDOW = 250
SCHEMA = {
    "inputs": [
        *({"name": name, "datatype": "FP64", "allow_missing": True} for name in FEATURES),
        {"name": "region", "datatype": "BYTES"},
        {"name": "at", "datatype": "FP64", "role": "EventTime"},
    ],
    "outputs": [
        {"name": "predict", "datatype": "INT64", "role": "Output"},
        {"name": "probability", "datatype": "FP64", "role": "Output"},
    ],
}
MONITORING = {
    "eventTime": "at",
    "defaults": {"window": {"size": WINDOW, "maxAge": "1h", "minSamples": 100}, "falseAlarmEvery": "30d"},
    "monitors": [
        {"name": "drift", "type": "Drift"},
        {"name": "outliers", "type": "Outlier", "outlier": {"contamination": 0.01, "maxRate": 0.05}},
        {
            "name": "accuracy",
            "type": "Performance",
            "performance": {
                "metric": "accuracy",
                "min": 0.8,
                "labels": {"maturity": "100s", "minCoverage": 0.9, "minLabels": 100},
            },
        },
    ],
}


class Stream:
    """Rows one second apart; `shift` moves sugar by so many standard deviations."""

    def __init__(self, seed: int = 1) -> None:
        self.random = np.random.default_rng(seed)
        self.at = 0

    def rows(self, n: int, shift: float = 0.0, missing: float = 0.0) -> dict[str, list]:
        values = self.random.normal(size=(n, len(FEATURES)))
        values[:, 1] += shift
        columns = {name: values[:, i].tolist() for i, name in enumerate(FEATURES)}
        lost = self.random.random(n) < missing
        columns["acidity"] = [None if gone else x for x, gone in zip(columns["acidity"], lost, strict=True)]
        columns["region"] = self.random.choice(["Alsace", "Rioja"], size=n).tolist()
        columns["at"] = [float(self.at + i) for i in range(n)]
        self.at += n
        return columns


async def send_reference(running: Running, revision: str = STABLE, rows: int = 5_000) -> None:
    columns = Stream(seed=7).rows(rows)
    body = {
        "revision": revision,
        "bundle_digest": "sha256:" + "a" * 64,
        "schema": SCHEMA,
        "task": "Classification",
        "rows": columns,
        "outputs": {"predict": [1] * rows, "probability": [0.9] * rows},
        "event_time": columns["at"],
    }
    assert (await running.client.post("/v1/reference", json=body, headers=SERVER)).status_code == 204


async def send_rows(running: Running, columns: dict[str, list], revision: str = STABLE) -> str:
    n = len(columns["at"])
    name = f"{revision}-{columns['at'][0]}"
    entry = {
        "prediction_id": name,
        "time": 0.0,
        "inputs": columns,
        "outputs": {"predict": [1] * n, "probability": [0.9] * n},
    }
    got = await running.client.post(
        "/v1/log", json={"revision": revision, "entries": [entry]}, headers=SERVER
    )
    assert got.status_code == 202
    return name


async def send_labels(running: Running, name: str, labels: Sequence[int]) -> None:
    items = [{"prediction_id": name, "row": row, "label": label} for row, label in enumerate(labels)]
    assert (await running.client.post(FEEDBACK, json={"feedback": items})).json()["accepted"] == len(labels)


def verdict(status: MonitorReportStatus, name: str) -> MonitorVerdict:
    return next(v for v in status.monitors if v.name == name)


@pytest.fixture
def with_sidecar(settings: Settings, sidecar_socket) -> Settings:
    return settings.model_copy(update={"detector_socket": sidecar_socket})


async def test_drift_is_seen_named_and_cleared(with_sidecar, cluster):
    stream = Stream()
    async with run_observer(with_sidecar, cluster, deployment({"monitoring": MONITORING})) as running:
        await send_reference(running)
        for _ in range(8):
            await send_rows(running, stream.rows(WINDOW))
            quiet = await running.look()
            assert verdict(quiet, "drift").state is not MonitorState.ALARM
        got = verdict(quiet, "drift")
        assert (got.state, got.breach_id, got.window_samples) == (MonitorState.OK, None, WINDOW)
        assert got.threshold >= 0.1

        states = []
        for _ in range(3):
            await send_rows(running, stream.rows(WINDOW, shift=1.0))
            status = await running.look()
            states.append(verdict(status, "drift").state)
        alarm = verdict(status, "drift")
        assert states == [MonitorState.WARNING, MonitorState.ALARM, MonitorState.ALARM]
        assert alarm.features[0].name == "sugar"
        assert alarm.breach_id.startswith("drift-")
        assert alarm.statistic > alarm.threshold

        states = []
        for _ in range(3):
            await send_rows(running, stream.rows(WINDOW))
            status = await running.look()
            states.append(verdict(status, "drift").state)
        assert states == [MonitorState.ALARM, MonitorState.ALARM, MonitorState.OK]
        assert verdict(status, "drift").breach_id is None

        metrics = (await running.client.get("/metrics")).text
        assert (
            'perennial_monitor_statistic{deployment="wine",feature="_max",monitor="drift",namespace="shop",severity="Ticket",type="Drift"}'
            in metrics
        )
        episodes = {v.breach_id for s in cluster.written for v in s.monitors if v.breach_id}
        assert episodes == {alarm.breach_id}


async def test_missing_values_are_drift_of_their_own(with_sidecar, cluster):
    stream = Stream()
    async with run_observer(with_sidecar, cluster, deployment({"monitoring": MONITORING})) as running:
        await send_reference(running)
        for _ in range(3):
            await send_rows(running, stream.rows(WINDOW, missing=0.5))
        status = await running.look()
        got = verdict(status, "drift")
        assert (got.state, got.features[0].name) == (MonitorState.ALARM, "acidity")
        assert got.statistic == pytest.approx(0.5, abs=0.1)


async def test_odd_rows_raise_the_outlier_alarm(with_sidecar, cluster):
    stream = Stream()
    async with run_observer(with_sidecar, cluster, deployment({"monitoring": MONITORING})) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(WINDOW))
        assert verdict(await running.look(), "outliers").state is MonitorState.OK
        for _ in range(2):
            await send_rows(running, stream.rows(WINDOW, shift=6.0))
        got = verdict(await running.look(), "outliers")
        assert got.state is MonitorState.ALARM
        assert got.statistic > 5 * got.threshold


async def test_performance_waits_for_mature_labels_and_alarms_below_its_bound(settings, cluster):
    stream = Stream()
    async with run_observer(settings, cluster, deployment({"monitoring": MONITORING})) as running:
        for right in (0.9, 0.6, 0.6):
            name = await send_rows(running, stream.rows(WINDOW))
            hits = round(right * WINDOW)
            assert verdict(await running.look(), "accuracy").state is not MonitorState.ALARM
            await send_labels(running, name, [1] * hits + [0] * (WINDOW - hits))
        # The third window is still within maturity, so one bad window is all that counts.
        assert verdict(await running.look(), "accuracy").state is MonitorState.WARNING
        await send_rows(running, stream.rows(WINDOW))
        got = verdict(await running.look(), "accuracy")
        assert (got.state, got.statistic, got.threshold) == (MonitorState.ALARM, 0.6, 0.8)
        assert got.breach_id.startswith("accuracy-")
        assert got.window_samples == WINDOW


async def test_without_labels_performance_is_insufficient_never_ok(settings, cluster):
    stream = Stream()
    async with run_observer(settings, cluster, deployment({"monitoring": MONITORING})) as running:
        await send_rows(running, stream.rows(2 * WINDOW))
        got = verdict(await running.look(), "accuracy")
        assert (got.state, got.reason) == (MonitorState.INSUFFICIENT, "TooFewLabels")


async def test_a_sidecar_that_is_away_is_reported_and_its_windows_are_judged_later(
    settings, with_sidecar, cluster
):
    stream = Stream()
    async with run_observer(settings, cluster, deployment({"monitoring": MONITORING})) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(2 * WINDOW))
        status = await running.look()
        got = verdict(status, "drift")
        assert (got.state, got.reason) == (MonitorState.ERROR, "DetectorUnavailable")
        assert verdict(status, "accuracy").reason == "TooFewLabels"
    async with run_observer(with_sidecar, cluster, deployment({"monitoring": MONITORING})) as running:
        assert verdict(await running.look(), "drift").state is MonitorState.OK
        assert len(judged_windows(running, "drift")) == 2


async def test_no_reference_is_insufficient(with_sidecar, cluster):
    async with run_observer(with_sidecar, cluster, deployment({"monitoring": MONITORING})) as running:
        waiting = verdict(await running.look(), "drift")
        assert (waiting.state, waiting.reason) == (MonitorState.INSUFFICIENT, "NoPredictions")
        await send_rows(running, Stream().rows(WINDOW))
        got = verdict(await running.look(), "drift")
        assert (got.state, got.reason) == (MonitorState.INSUFFICIENT, "NoReference")


def judged_windows(running: Running, monitor: str) -> list[tuple]:
    w = t.window.c
    with running.observer.store.read() as connection:
        query = select(w.revision, w.start_event, w.end_event).where(w.monitor == monitor).order_by(w.id)
        return [tuple(row) for row in connection.execute(query)]


async def test_each_window_is_judged_once_across_a_restart_and_the_alarm_goes_on(with_sidecar, cluster):
    stream = Stream()
    spec = {"monitoring": MONITORING}
    async with run_observer(with_sidecar, cluster, deployment(spec)) as running:
        await send_reference(running)
        drifting = stream.rows(2 * WINDOW, shift=1.0)
        await send_rows(running, drifting)
        await send_rows(running, drifting)
        before = verdict(await running.look(), "drift")
        assert before.state is MonitorState.ALARM
    async with run_observer(with_sidecar, cluster, deployment(spec)) as running:
        await send_rows(running, drifting)
        after = verdict(await running.look(), "drift")
        assert after.breach_id == before.breach_id
        await send_rows(running, stream.rows(WINDOW, shift=1.0))
        again = verdict(await running.look(), "drift")
        assert (again.state, again.breach_id) == (MonitorState.ALARM, before.breach_id)
        want = [(STABLE, 0.0, 249.0), (STABLE, 250.0, 499.0), (STABLE, 500.0, 749.0)]
        assert judged_windows(running, "drift") == want


async def test_a_kill_between_judging_and_committing_judges_the_same_window_again(
    with_sidecar, cluster, monkeypatch
):
    stream = Stream()
    spec = {"monitoring": MONITORING}
    async with run_observer(with_sidecar, cluster, deployment(spec)) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(2 * WINDOW, shift=1.0))
        with monkeypatch.context() as patch:
            patch.setattr(running.observer.evaluator, "_store_window", lambda *_: 1 / 0)
            await running.observer.tick()
        assert judged_windows(running, "drift") == []
    async with run_observer(with_sidecar, cluster, deployment(spec)) as running:
        got = verdict(await running.look(), "drift")
        assert got.state is MonitorState.ALARM
        assert judged_windows(running, "drift") == [(STABLE, 0.0, 249.0), (STABLE, 250.0, 499.0)]


async def test_a_promoted_revision_starts_clean_on_its_own_rows(with_sidecar, cluster):
    stream = Stream()
    spec = {"monitoring": MONITORING}
    async with run_observer(with_sidecar, cluster, deployment(spec)) as running:
        await send_reference(running)
        await send_reference(running, NEXT)
        await send_rows(running, stream.rows(2 * WINDOW, shift=1.0))
        assert verdict(await running.look(), "drift").state is MonitorState.ALARM
        running.observer.registry.put(deployment(spec, stable=NEXT))
        await send_rows(running, stream.rows(WINDOW), revision=NEXT)
        await send_rows(running, stream.rows(WINDOW, shift=1.0))
        status = await running.look()
        got = verdict(status, "drift")
        assert (status.revision, got.state, got.breach_id) == (NEXT, MonitorState.OK, None)
        assert judged_windows(running, "drift")[-1][0] == NEXT


async def test_rows_later_than_their_window_are_in_no_window_and_counted(with_sidecar, cluster):
    stream = Stream()
    async with run_observer(with_sidecar, cluster, deployment({"monitoring": MONITORING})) as running:
        await send_reference(running)
        first = stream.rows(WINDOW)
        late = {name: values[100:150] for name, values in Stream(seed=9).rows(WINDOW).items()}
        await send_rows(running, first)
        await running.look()
        await send_rows(running, late)
        await send_rows(running, stream.rows(WINDOW))
        log = (await running.look()).log
        assert judged_windows(running, "drift") == [(STABLE, 0.0, 249.0), (STABLE, 250.0, 499.0)]
        assert (log.predictions, log.rejected, log.late) == (2 * WINDOW + 50, 0, 50)
        text = (await running.client.get("/metrics")).text
        assert 'perennial_log_rows_total{deployment="wine",namespace="shop",result="late"} 50.0' in text
