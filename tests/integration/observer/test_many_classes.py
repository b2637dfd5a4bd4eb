"""A model of three classes: its lists of probabilities go through a real observer's log, and are estimated from."""

import numpy as np
from perennial_api.monitorreport import MonitorState

from .conftest import deployment, run_observer
from .test_label_monitors import LABELS, ONCE, SERVER, SIZE, STABLE, WINDOW

NAMES = np.array(["lager", "stout", "ale"])
CENTRES = np.array([[0.0, 1.0], [1.0, -1.0], [-1.2, -0.8]])
SCHEMA = {
    "inputs": [
        {"name": "x", "datatype": "FP64"},
        {"name": "y", "datatype": "FP64"},
        {"name": "at", "datatype": "FP64", "role": "EventTime"},
    ],
    "outputs": [
        {"name": "predict", "datatype": "BYTES", "role": "Output"},
        {"name": "probability", "datatype": "FP64", "role": "Output"},
    ],
}
BOUNDS = {
    "accuracy": {"min": 0.6},
    "balanced_accuracy": {"min": 0.6},
    "f1": {"min": 0.6},
    "roc_auc": {"min": 0.75},
    "log_loss": {"max": 0.9},
}
MONITORING = {
    "eventTime": "at",
    "defaults": {"window": WINDOW, "falseAlarmEvery": "1d"},
    "monitors": [
        {
            "name": metric.replace("_", "-"),
            "type": "EstimatedPerformance",
            "estimatedPerformance": {"method": "CBPE", "metric": metric, **bound, "labels": LABELS},
        }
        for metric, bound in BOUNDS.items()
    ],
}


class Taster:
    """A model that knows how sure it may be; `unsure` moves rows to where the classes meet."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(2)
        self.at = 0

    def draw(self, n, unsure=0.0):
        x = self.random.normal(size=(n, 2)) * (1 - unsure)
        powers = np.exp(3 * x @ CENTRES.T)
        chances = powers / powers.sum(axis=1, keepdims=True)
        truth = (self.random.random((n, 1)) > np.cumsum(chances, axis=1)).sum(axis=1)
        at = [float(self.at + i) for i in range(n)]
        self.at += n
        inputs = {"x": x[:, 0].tolist(), "y": x[:, 1].tolist(), "at": at}
        outputs = {"predict": NAMES[chances.argmax(axis=1)].tolist(), "probability": chances.tolist()}
        return inputs, outputs, NAMES[truth].tolist()


async def send_reference(running) -> None:
    inputs, outputs, truth = Taster().draw(2000)
    body = {
        "revision": STABLE,
        "bundle_digest": "sha256:" + "a" * 64,
        "schema": SCHEMA,
        "task": "Classification",
        "classes": NAMES.tolist(),
        "rows": inputs,
        "outputs": outputs,
        "event_time": inputs["at"],
        "labels": truth,
    }
    got = await running.client.post("/v1/reference", json=body, headers=SERVER)
    assert got.status_code == 204, got.text


async def live(running, taster, windows, **how) -> None:
    for _ in range(windows):
        inputs, outputs, _ = taster.draw(SIZE, **how)
        entry = {"prediction_id": f"p-{taster.at}", "time": 0.0, "inputs": inputs, "outputs": outputs}
        body = {"revision": STABLE, "entries": [entry]}
        assert (
            await running.client.post("/v1/log", json=body, headers={**SERVER, **ONCE})
        ).status_code == 202


async def test_each_metric_of_many_classes_is_estimated_and_alarms(on_each, cluster):
    taster = Taster()
    async with run_observer(on_each, cluster, deployment({"monitoring": MONITORING})) as running:
        await send_reference(running)
        await live(running, taster, 4)
        quiet = {verdict.name: verdict for verdict in (await running.look()).monitors}
        for name, verdict in quiet.items():
            assert (verdict.state, verdict.calibrated) == (MonitorState.OK, True), (name, verdict)
            assert "learnt from 2000 labelled rows of the reference" in verdict.message
        await live(running, taster, 3, unsure=0.9)
        after = {verdict.name: verdict.state for verdict in (await running.look()).monitors}
        assert after == dict.fromkeys(quiet, MonitorState.ALARM)
