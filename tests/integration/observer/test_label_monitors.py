"""Labels on their way into the store, and the monitors that stand on them, through a real observer."""

import numpy as np
import pytest
from perennial_api.monitorreport import MonitorState
from perennial_observer.store.references import read_reference

from .conftest import KEY, deployment, run_observer

STABLE = "wine-00000001"
# A look may take longer than a server keeps an idle connection.
ONCE = {"Connection": "close"}
SERVER = {"Authorization": "Bearer server", **ONCE}


def tiny_reference(**changes) -> dict:
    return {
        "revision": STABLE,
        "bundle_digest": "sha256:" + "a" * 64,
        "schema": {
            "inputs": [{"name": "x", "datatype": "FP64"}],
            "outputs": [{"name": "predict", "datatype": "INT64", "role": "Output"}],
        },
        "task": "Classification",
        "rows": {"x": [1.0, 2.0, 3.0, 4.0]},
        "outputs": {"predict": [0, 1, 0, 1]},
        **changes,
    }


@pytest.mark.parametrize("labels", [[0, 1, None, 1], ["no", "yes", None, "no"], [True, 2.5, None, 1], None])
async def test_a_reference_keeps_its_labels_as_they_were_sent(settings, cluster, labels):
    async with run_observer(settings, cluster, deployment({})) as running:
        body = tiny_reference() if labels is None else tiny_reference(labels=labels)
        assert (await running.client.post("/v1/reference", json=body, headers=SERVER)).status_code == 204
        with running.observer.store.read() as connection:
            stored = read_reference(connection, KEY.uid, STABLE)
        assert repr(stored.labels) == repr(labels)


@pytest.mark.parametrize(
    ("labels", "word"), [([0, 1], "one length"), ([[0], [1], [0], [1]], "labels"), ("0101", "labels")]
)
async def test_labels_that_do_not_fit_the_rows_are_refused(settings, cluster, labels, word):
    async with run_observer(settings, cluster, deployment({})) as running:
        got = await running.client.post("/v1/reference", json=tiny_reference(labels=labels), headers=SERVER)
        assert got.status_code == 400
        assert word in got.json()["error"]["message"]


SIZE = 300
WINDOW = {"size": SIZE, "maxAge": "1h", "minSamples": 100}
LABELS = {"maturity": "50s", "minCoverage": 0.5, "minLabels": 100}
FEEDBACK = f"/v1/namespaces/{KEY.namespace}/deployments/{KEY.name}/feedback"
SCHEMA = {
    "inputs": [
        {"name": "x", "datatype": "FP64"},
        {"name": "country", "datatype": "BYTES"},
        {"name": "at", "datatype": "FP64", "role": "EventTime"},
    ],
    "outputs": [
        {"name": "predict", "datatype": "INT64", "role": "Output"},
        {"name": "probability", "datatype": "FP64", "role": "Output"},
    ],
}
MONITORING = {
    "eventTime": "at",
    "slices": [
        {"name": "fr", "where": 'country == "FR"'},
        {"name": "de", "where": 'country == "DE"'},
        {"name": "typo", "where": "nation == 1"},
    ],
    "defaults": {"window": WINDOW, "falseAlarmEvery": "1d"},
    "monitors": [
        {
            "name": "estimate",
            "type": "EstimatedPerformance",
            "estimatedPerformance": {"method": "CBPE", "metric": "accuracy", "min": 0.7, "labels": LABELS},
        },
        {"name": "errors", "type": "Concept", "concept": {"labels": LABELS}},
        {"name": "equal", "type": "Fairness", "fairness": {"slices": ["fr", "de"], "maxDifference": 0.2}},
        {"name": "odd", "type": "Fairness", "fairness": {"slices": ["fr", "typo"]}},
    ],
}


class World:
    """A model whose answers are right with the probability that it says, unless labels are flipped."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(2)
        self.at = 0

    def draw(self, n, *, unsure=0.0, flip=0.0, unfair=False):
        x = self.random.normal(size=n) * (1 - unsure)
        country = self.random.choice(["FR", "DE"], size=n)
        x = np.where((country == "FR") & unfair, np.abs(x), x)
        probability = 1 / (1 + np.exp(-3 * x))
        truth = (self.random.random(n) < probability) ^ (self.random.random(n) < flip)
        inputs = {
            "x": x.tolist(),
            "country": country.tolist(),
            "at": [float(self.at + i) for i in range(n)],
        }
        self.at += n
        outputs = {"predict": (x > 0).astype(int).tolist(), "probability": probability.tolist()}
        return inputs, outputs, truth.astype(int).tolist()


async def send_reference(running, labels=True) -> None:
    inputs, outputs, truth = World().draw(2000)
    body = {
        "revision": STABLE,
        "bundle_digest": "sha256:" + "a" * 64,
        "schema": SCHEMA,
        "task": "Classification",
        "rows": inputs,
        "outputs": outputs,
        "event_time": inputs["at"],
        "labels": truth if labels else None,
    }
    assert (await running.client.post("/v1/reference", json=body, headers=SERVER)).status_code == 204


async def live(running, world, windows=1, *, with_labels=True, **how) -> None:
    for _ in range(windows):
        inputs, outputs, truth = world.draw(SIZE, **how)
        name = f"p-{world.at}"
        entry = {"prediction_id": name, "time": 0.0, "inputs": inputs, "outputs": outputs}
        body = {"revision": STABLE, "entries": [entry]}
        assert (await running.client.post("/v1/log", json=body, headers=SERVER)).status_code == 202
        if with_labels:
            items = [{"prediction_id": name, "row": i, "label": y} for i, y in enumerate(truth)]
            got = await running.client.post(FEEDBACK, json={"feedback": items}, headers=ONCE)
            assert got.json()["accepted"] == SIZE


async def verdicts(running):
    return {verdict.name: verdict for verdict in (await running.look()).monitors}


async def test_each_monitor_alarms_at_its_own_trouble_and_survives_a_restart(settings, cluster):
    world = World()
    spec = {"monitoring": MONITORING}
    async with run_observer(settings, cluster, deployment(spec)) as running:
        await send_reference(running)
        await live(running, world, 5)
        quiet = await verdicts(running)
        for name in ("estimate", "errors", "equal"):
            assert (quiet[name].state, quiet[name].breach_id) == (MonitorState.OK, None), quiet[name]
        assert quiet["estimate"].calibrated
        assert (quiet["odd"].state, quiet["odd"].reason) == (MonitorState.ERROR, "UnknownFeature")
        await live(running, world, 3, flip=0.5)
        flipped = await verdicts(running)
        assert flipped["errors"].state is MonitorState.ALARM
        assert "rose from" in flipped["errors"].message
        assert flipped["estimate"].state is MonitorState.OK, "no estimate sees that labels have changed"
    async with run_observer(settings, cluster, deployment(spec)) as running:
        await live(running, world, 2, flip=0.5)
        assert (await verdicts(running))["errors"].breach_id == flipped["errors"].breach_id
        await live(running, world, 5)
        assert (await verdicts(running))["errors"].state is MonitorState.OK
        await live(running, world, 3, unsure=0.9)
        assert (await verdicts(running))["estimate"].state is MonitorState.ALARM
        await live(running, world, 3, unfair=True)
        unfair = (await verdicts(running))["equal"]
        assert unfair.state is MonitorState.ALARM
        assert [feature.name for feature in unfair.features] == ["fr", "de"]


async def test_an_estimate_is_calibrated_by_the_log_once_labels_are_there(settings, cluster):
    world = World()
    async with run_observer(settings, cluster, deployment({"monitoring": MONITORING})) as running:
        await send_reference(running, labels=False)
        await live(running, world, 2, with_labels=False)
        assert (await verdicts(running))["estimate"].calibrated is False
        await live(running, world, 4)
        got = (await verdicts(running))["estimate"]
        assert got.calibrated
        assert "labelled rows of the log" in got.message
