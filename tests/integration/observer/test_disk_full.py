"""A full disk: what is answered 202 is in the log, the rest is told to come back, and does when there is room."""

import pytest
from perennial_observer.store import tables as t
from sqlalchemy import event, select

from .conftest import deployment, run_observer
from .test_http import FEEDBACK, SERVER, entry, log

HOUR = 3600.0
ROWS = 200


@pytest.fixture
def clock():
    return [1_000_000.0]


def asking():
    return deployment({"monitoring": {"retention": {"maxAge": "1h"}}})


def wide_entry(name):
    made = entry(name)
    made["inputs"]["region"] = ["Rioja" * 400]
    return made


async def fill(running, name, most=200):
    """Send batches until one is refused; return the answer and the ids of those that were accepted."""
    accepted = set[str]()
    for i in range(most):
        ids = [f"{name}-{i}-{j}" for j in range(ROWS)]
        got = await running.client.post("/v1/log", json=log(*map(wide_entry, ids)), headers=SERVER)
        if got.status_code != 202:
            return got, accepted
        assert got.json()["accepted"] == ROWS
        accepted |= set(ids)
    raise AssertionError("it never became full")


def stored(running):
    with running.observer.store.read() as connection:
        return set(connection.execute(select(t.prediction.c.prediction_id)).scalars())


async def expire(running, clock):
    """Let an hour pass, on both clocks."""
    clock[0] += HOUR + 1
    running.observer.expiry.monotonic = lambda: clock[0]
    await running.observer.expiry.run()
    running.observer.store.measure()


async def test_a_database_that_cannot_grow_refuses_and_goes_on_when_rows_have_expired(
    settings, cluster, clock
):
    async with run_observer(settings, cluster, asking(), clock=lambda: clock[0]) as running:
        engine = running.observer.store.engine

        def limit(connection, _):
            connection.execute("PRAGMA max_page_count=1000")

        event.listen(engine, "connect", limit)
        engine.dispose()
        refused, accepted = await fill(running, "a")
        assert (refused.status_code, refused.json()["error"]["reason"]) == (429, "DatabaseFull")
        assert refused.headers["retry-after"] == "2"
        assert len(accepted) >= ROWS
        assert stored(running) == accepted
        await expire(running, clock)
        assert stored(running) == set()
        refused, accepted = await fill(running, "b")
        assert refused.status_code == 429
        assert len(accepted) >= ROWS
        assert stored(running) == accepted
        event.remove(engine, "connect", limit)
        engine.dispose()
        got = await running.client.post("/v1/log", json=log(entry("c")), headers=SERVER)
        assert got.json()["accepted"] == 1


async def test_at_its_limit_the_log_takes_nothing_until_rows_have_expired_though_the_file_stays(
    settings, cluster, clock
):
    narrow = settings.model_copy(update={"max_database_bytes": 12 << 20})
    async with run_observer(narrow, cluster, asking(), clock=lambda: clock[0]) as running:
        refused, accepted = await fill(running, "a")
        assert (refused.status_code, refused.json()["error"]["reason"]) == (429, "DatabaseFull")
        label = {"feedback": [{"prediction_id": next(iter(accepted)), "row": 0, "label": 1}]}
        got = await running.client.post(FEEDBACK, json=label)
        assert (got.status_code, got.json()["error"]["reason"]) == (429, "DatabaseFull")
        assert stored(running) == accepted
        before = running.observer.store.size_bytes()
        await expire(running, clock)
        assert running.observer.store.size_bytes() >= before
        got = await running.client.post("/v1/log", json=log(entry("b")), headers=SERVER)
        assert got.json()["accepted"] == 1


async def test_a_volume_without_the_space_that_is_to_stay_free_takes_nothing(settings, cluster):
    greedy = settings.model_copy(update={"min_free_bytes": 1 << 60})
    async with run_observer(greedy, cluster, deployment({})) as running:
        label = {"feedback": [{"prediction_id": "p", "row": 0, "label": 1}]}
        for call, body in (("/v1/log", log(entry("p"))), (FEEDBACK, label)):
            got = await running.client.post(call, json=body, headers=SERVER)
            assert (got.status_code, got.json()["error"]["reason"]) == (429, "VolumeFull")
        assert stored(running) == set()
        text = (await running.client.get("/metrics")).text
        assert 'perennial_observer_refused_requests_total{reason="VolumeFull"} 2.0' in text
