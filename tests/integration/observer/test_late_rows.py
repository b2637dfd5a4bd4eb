"""Rows without a time of their own, sent when their windows have closed: they are taken in where the stream has got to."""

from .conftest import Running, deployment, run_observer
from .test_monitoring import SERVER, STABLE, judged_windows

SIZE = 50
SPEC = {
    "monitoring": {
        "defaults": {"window": {"size": SIZE, "maxAge": "1h", "minSamples": 10}},
        "monitors": [{"name": "quality", "type": "DataQuality"}],
    }
}
SCHEMA = {
    "inputs": [{"name": "sugar", "datatype": "FP64"}],
    "outputs": [{"name": "predict", "datatype": "INT64", "role": "Output"}],
}


class Clock:
    """Seconds since the epoch, moved by hand."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


async def send(running: Running, name: str, time: float, n: int = SIZE) -> None:
    entry = {
        "prediction_id": name,
        "time": time,
        "inputs": {"sugar": [0.5] * n},
        "outputs": {"predict": [1] * n},
    }
    got = await running.client.post("/v1/log", json={"revision": STABLE, "entries": [entry]}, headers=SERVER)
    assert (got.status_code, got.json()["accepted"]) == (202, n)


async def test_rows_that_waited_out_an_outage_are_judged_once(on_each, cluster):
    clock = Clock()
    async with run_observer(on_each, cluster, deployment(SPEC), clock=clock) as running:
        reference = {
            "revision": STABLE,
            "bundle_digest": "sha256:" + "a" * 64,
            "schema": SCHEMA,
            "task": "Classification",
            "rows": {"sugar": [0.1 * i for i in range(100)]},
            "outputs": {"predict": [1] * 100},
        }
        assert (await running.client.post("/v1/reference", json=reference, headers=SERVER)).status_code == 204
        began = clock.now
        await send(running, "before", began)
        clock.now += 600.0
        await running.look()
        # Another server's rows came meanwhile, and their window has closed.
        await send(running, "meanwhile", clock.now - 60.0)
        clock.now += 60.0
        await running.look()
        assert len(judged_windows(running, "quality")) == 2
        await send(running, "waited", began + 1.0)
        clock.now += 60.0
        status = await running.look()
        assert len(judged_windows(running, "quality")) == 3
        assert (status.log.predictions, status.log.late) == (3 * SIZE, 0)
