"""Labels on their way into the store, and the monitors that stand on them, through a real observer."""

import pytest
from perennial_observer.store.references import read_reference

from .conftest import KEY, deployment, run_observer

STABLE = "wine-00000001"
SERVER = {"Authorization": "Bearer server"}


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
