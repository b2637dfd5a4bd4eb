"""The log on a real PostgreSQL: several observers at once, and a server that goes away."""

import asyncio
import uuid
from collections import Counter
from functools import partial

import httpx
from perennial_observer.settings import Settings
from perennial_observer.store import tables as t
from perennial_observer.store.retention import delete_oldest
from perennial_observer.store.store import Store
from sqlalchemy import select

from .conftest import KEY, deployment, run_observer
from .postgres import run_postgres

REVISION = "wine-00000001"
SERVER = {"Authorization": "Bearer server"}
FEEDBACK = f"/v1/namespaces/{KEY.namespace}/deployments/{KEY.name}/feedback"
RETRIED = {429, 503}


def log(*ids: str, rows: int = 1, shadow: bool = False) -> dict:
    group = {
        "ids": list(ids),
        "times": [5.0] * len(ids),
        "sizes": [rows] * len(ids),
        "inputs": {"acidity": [3.5] * (rows * len(ids))},
        "outputs": {"predict": [1] * (rows * len(ids))},
        "shadow": shadow,
    }
    return {"revision": REVISION, "groups": [group]}


def stored(settings: Settings) -> list[tuple[str, int, int]]:
    """Id of the prediction, row and the database's id of all that is in the log."""
    store = Store.open(settings)
    try:
        p = t.prediction.c
        with store.read() as connection:
            query = select(p.prediction_id, p.row, p.id).order_by(p.id)
            return [tuple(row) for row in connection.execute(query)]
    finally:
        store.close()


async def test_two_observers_that_get_the_same_entries_store_each_row_once(on_postgres, cluster):
    bodies = [log(*(f"p{i}-{j}" for j in range(20)), rows=2) for i in range(15)]
    async with (
        run_observer(on_postgres, cluster, deployment({})) as one,
        run_observer(on_postgres, cluster, deployment({})) as other,
    ):

        async def send(client: httpx.AsyncClient, body: dict) -> dict:
            got = await client.post("/v1/log", json=body, headers=SERVER)
            assert got.status_code == 202
            return got.json()

        counts = await asyncio.gather(
            *(send(running.client, body) for body in bodies for running in (one, other))
        )
        labels = [{"prediction_id": f"p0-{j}", "row": 0, "label": 1} for j in range(20)]
        told = await asyncio.gather(
            *(running.client.post(FEEDBACK, json={"feedback": labels}) for running in (one, other))
        )
        totals = await one.client.get("/v1/watermark", headers={"X-Perennial-Token": "trainer"})
    assert sum(count["accepted"] for count in counts) == 15 * 20 * 2
    assert sum(count["duplicates"] for count in counts) == 15 * 20 * 2
    assert sorted(answer.json()["accepted"] for answer in told) == [0, 20]
    assert (totals.json()["predictions"], totals.json()["labels"]) == (600, 20)
    keys = [(name, row) for name, row, _ in stored(on_postgres)]
    assert len(keys) == len(set(keys)) == 600
    # Rows of one request lie together, which comparisons count by.
    requests = [name for name, _ in keys]
    assert all(requests[i] == requests[i + 1] for i in range(0, 600, 2))


async def test_a_row_twice_in_one_batch_and_a_mirrored_one_are_told_apart(on_postgres, cluster):
    async with run_observer(on_postgres, cluster, deployment({})) as running:
        twice = await running.client.post("/v1/log", json=log("p1", "p1", "p2"), headers=SERVER)
        assert twice.json() == {**twice.json(), "accepted": 2, "duplicates": 1, "shadow": 0}
        mirrored = log("p1", "p3", shadow=True)
        first = await running.client.post("/v1/log", json=mirrored, headers=SERVER)
        again = await running.client.post("/v1/log", json=mirrored, headers=SERVER)
        assert (first.json()["shadow"], again.json()["shadow"], again.json()["duplicates"]) == (2, 0, 2)


async def test_a_text_that_the_database_cannot_hold_is_refused_and_the_rest_of_the_batch_is_stored(
    on_postgres, cluster
):
    async with run_observer(on_postgres, cluster, deployment({})) as running:
        answers = await asyncio.gather(
            *(
                running.client.post("/v1/log", json=log(name), headers=SERVER)
                for name in ("before", "nul\0inside", "after")
            )
        )
        assert [answer.status_code for answer in answers] == [202, 400, 202]
        assert answers[1].json()["error"]["reason"] == "InvalidText"
    assert {name for name, _, _ in stored(on_postgres)} == {"before", "after"}


async def test_the_size_is_the_servers_and_what_is_left_of_the_log_is_held_against_the_limit(
    on_postgres, cluster
):
    small = on_postgres.model_copy(update={"max_database_bytes": 1_000_000})
    async with run_observer(small, cluster, deployment({})) as running:

        async def send(name: str, rows: int) -> tuple[int, str]:
            running.observer.store.measure()
            got = await running.client.post("/v1/log", json=log(name, rows=rows), headers=SERVER)
            return got.status_code, got.json().get("error", {}).get("reason", "")

        # What the server needs without any row is over the limit.
        assert await send("p1", 3_000) == (202, "")
        assert await send("p2", 1) == (429, "DatabaseFull")
        metrics = (await running.client.get("/metrics")).text
        line = next(x for x in metrics.splitlines() if x.startswith("perennial_observer_database_bytes"))
        assert float(line.split()[1]) > 1_000_000
        delete = partial(delete_oldest, deployment_id=1, before=0.0, excess_bytes=100_000)
        assert running.observer.store.writer.submit(delete, 0).result(60).rows > 0
        assert await send("p2", 1) == (202, "")


async def test_a_server_out_of_connections_says_so_and_gets_over_it(on_postgres, cluster, postgres):
    role = f"few_{uuid.uuid4().hex}"
    postgres.execute(f"CREATE ROLE {role} LOGIN SUPERUSER")
    there = on_postgres.model_copy(
        update={"database_url": on_postgres.database_url.replace("perennial@", f"{role}@")}
    )
    async with run_observer(there, cluster, deployment({})) as running:
        first = await running.client.post("/v1/log", json=log("p1"), headers=SERVER)
        postgres.execute(f"ALTER ROLE {role} NOSUPERUSER CONNECTION LIMIT 0")
        postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'")
        refused = await running.client.post("/v1/log", json=log("p2"), headers=SERVER)
        postgres.execute(f"ALTER ROLE {role} SUPERUSER CONNECTION LIMIT -1")
        again = await running.client.post("/v1/log", json=log("p2"), headers=SERVER)
    assert (refused.status_code, refused.json()["error"]["reason"]) == (429, "DatabaseBusy")
    assert [first.json()["accepted"], again.json()["accepted"]] == [1, 1]


async def test_while_the_server_is_away_what_was_accepted_is_stored_and_all_else_is_to_be_sent_again(
    settings, cluster
):
    with run_postgres() as server:
        there = settings.model_copy(update={"database_url": server.url("postgres")})
        there.data_dir.mkdir()
        statuses: Counter[int] = Counter()
        acknowledged: set[str] = set()
        async with run_observer(there, cluster, deployment({})) as running:
            sending = True

            async def send(sender: int) -> None:
                number = 0
                while sending:
                    name = f"{sender}-{number}"
                    got = await running.client.post("/v1/log", json=log(name, rows=3), headers=SERVER)
                    statuses[got.status_code] += 1
                    if got.status_code == 202:
                        assert got.json()["accepted"] + got.json()["duplicates"] == 3
                        acknowledged.add(name)
                        number += 1

            async def until(status: int, more: int) -> None:
                want = statuses[status] + more
                async with asyncio.timeout(60):
                    while statuses[status] < want:  # noqa: ASYNC110  the senders count
                        await asyncio.sleep(0.02)

            senders = [asyncio.create_task(send(i)) for i in range(8)]
            await until(202, 20)
            await asyncio.to_thread(server.stop)
            await until(503, 20)
            assert (await running.client.get("/healthz")).status_code == 503
            assert (await running.client.get("/livez")).status_code == 200
            await asyncio.to_thread(server.start)
            await until(202, 20)
            sending = False
            await asyncio.gather(*senders)
            assert (await running.client.get("/healthz")).status_code == 200
        assert set(statuses) <= {202, *RETRIED}
        rows = Counter(name for name, _, _ in stored(there))
        # What was refused at the end may be stored or not; what was accepted is, once.
        assert {name: rows[name] for name in acknowledged} == dict.fromkeys(acknowledged, 3)
        assert set(rows.values()) == {3}
