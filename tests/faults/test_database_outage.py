"""The observer's database goes away under load: predictions go on, and every logged request is stored or counted.

A real model server, observer and PostgreSQL, each on loopback; no cluster. A campaign plays five minutes with the server's
own settings, a sample ten seconds with a queue so small that it overflows.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeVar

import httpx
import numpy as np
import pandas as pd
import perennial_bundle
from perennial_api.labels import ServiceAccountRole
from perennial_observer.auth import Caller
from perennial_observer.settings import Settings
from perennial_observer.store import tables as t
from perennial_observer.store.store import Store
from sklearn.linear_model import LogisticRegression
from sqlalchemy import select

from tests.integration.observer.conftest import KEY, FakeCluster, Running, deployment, run_observer
from tests.integration.observer.postgres import Postgres, run_postgres
from tests.integration.server.conftest import INFER, Process, read_metric, run_server
from tests.integration.server.log_metrics import read_log_metrics

REVISION = "flights-1a2b3c4d"
CLIENTS = 8
PAUSE_S = 0.08  # some hundred requests a second in all
ROWS = 2
COLUMNS = ["a", "b", "c", "d"]
BODY = {
    "inputs": [
        {"name": name, "shape": [ROWS], "datatype": "FP64", "data": [0.123456789, -1.5]} for name in COLUMNS
    ]
}
SAMPLE_S, CAMPAIGN_S = 10.0, 300.0
# No message is given up, also none of which nobody knows whether it was stored when the database went: all that is
# dropped is what the queue had no room for.
SMALL_QUEUE = {"LOG_QUEUE_BYTES": "100000", "LOG_ATTEMPTS": "100", "BACKOFF_CAP_S": "1"}
AS_INSTALLED = {"LOG_INTERVAL_S": None, "BACKOFF_BASE_S": None, "BACKOFF_CAP_S": None}
DEADLINE_S = 240

Entered = TypeVar("Entered")


@dataclass
class Load:
    """Clients that ask steadily, and what they were answered."""

    url: str
    going_on: bool = True
    statuses: Counter[int] = field(default_factory=Counter)
    ids: set[str] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)

    async def run(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as client:
            await asyncio.gather(*(self._ask(client) for _ in range(CLIENTS)))

    async def _ask(self, client: httpx.AsyncClient) -> None:
        while self.going_on:
            start_s = time.perf_counter()
            got = await client.post(INFER, json=BODY)
            self.seconds.append(time.perf_counter() - start_s)
            self.statuses[got.status_code] += 1
            self.ids.add(got.headers.get("x-prediction-id", ""))
            await asyncio.sleep(PAUSE_S)


async def wait_until(look: Callable[[], Awaitable[bool]], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not await look():
        assert time.monotonic() < end, f"waited {DEADLINE_S} s for {what}"
        await asyncio.sleep(0.1)


def save_bundle(path: Path) -> str:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 4)), columns=COLUMNS)
    labels = (frame.a > 0).astype(int)
    return (
        f"file://{perennial_bundle.save(LogisticRegression().fit(frame, labels), frame, path, y=labels).path}"
    )


async def read_log(server: Process) -> dict:
    got = await asyncio.to_thread(read_log_metrics, server, "Observer")
    got["lost"] = sum(got["dropped"].values())
    return got


def read_stored(settings: Settings) -> Counter[str]:
    """How many rows of each prediction are in the log."""
    store = Store.open(settings)
    try:
        with store.read() as connection:
            p = t.prediction.c
            keys = [tuple(row) for row in connection.execute(select(p.prediction_id, p.row))]
    finally:
        store.close()
    assert len(keys) == len(set(keys)), "a row is stored twice"
    return Counter(name for name, _ in keys)


@asynccontextmanager
async def beside(manager: AbstractContextManager[Entered]) -> AsyncIterator[Entered]:
    """Enter and leave in a thread, while the observer serves in this one."""
    entered = await asyncio.to_thread(manager.__enter__)
    try:
        yield entered
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


@dataclass(frozen=True)
class Parts:
    """What runs in a test."""

    database: Postgres
    settings: Settings
    running: Running
    server: Process


@asynccontextmanager
async def run_all(folder: Path, **limits: str | None) -> AsyncIterator[Parts]:
    (folder / "token").write_text("server")
    bundle = await asyncio.to_thread(save_bundle, folder / "bundle")
    cluster = FakeCluster({"server": Caller(ServiceAccountRole.SERVER, KEY)})
    async with beside(run_postgres()) as database:
        settings = Settings(
            data_dir=folder / "data",
            database_url=database.url("postgres"),
            detector_socket=folder / "absent.sock",
            min_free_bytes=0,
        )
        async with run_observer(settings, cluster, deployment({}, stable=REVISION)) as running:
            server = run_server(
                folder,
                bundle,
                REVISION=REVISION,
                OBSERVER_URL=str(running.client.base_url),
                TOKEN_FILE=str(folder / "token"),
                **limits,
            )
            async with beside(server) as process:
                yield Parts(database, settings, running, process)


async def test_a_database_that_is_down_costs_no_prediction_and_what_is_not_stored_is_counted(
    tmp_path, is_campaign, report
):
    outage_s = CAMPAIGN_S if is_campaign else SAMPLE_S
    async with run_all(tmp_path, **(AS_INSTALLED if is_campaign else SMALL_QUEUE)) as parts:
        server, load = parts.server, Load(parts.server.url)
        asking = asyncio.create_task(load.run())

        async def has_sent(more_than: int) -> bool:
            return (await read_log(server))["sent"] > more_than

        async def is_settled() -> bool:
            got = await read_log(server)
            return got["taken"] == got["sent"] + got["left_out"] + got["lost"]

        await wait_until(partial(has_sent, 0), "the first entries")
        before = len(load.seconds)
        await asyncio.to_thread(parts.database.stop)
        await asyncio.sleep(outage_s)
        assert (await parts.running.client.get("/healthz")).status_code == 503
        during = load.seconds[before:]
        sent = (await read_log(server))["sent"]
        await asyncio.to_thread(parts.database.start)
        await wait_until(partial(has_sent, sent), "entries after the outage")
        load.going_on = False
        await asking
        await wait_until(is_settled, "the fate of every entry")

        got = await read_log(server)
        predicted = await asyncio.to_thread(read_metric, server, "perennial_server_predictions_total")
        stored = await asyncio.to_thread(read_stored, parts.settings)
    asked = sum(load.statuses.values())
    report(
        f"database down for {outage_s:.0f} s: {asked} requests, {load.statuses[200]} answered, meanwhile"
        f" {len(during)} in {1000 * median(during):.1f} ms by the median and {1000 * max(during):.0f} ms at most;"
        f" {len(stored)} stored, {got['dropped']} dropped"
    )
    assert load.statuses == {200: asked}
    assert predicted == ROWS * asked
    assert (got["taken"], got["left_out"]) == (asked, 0)
    assert got["lost"] > 0
    assert set(stored) <= load.ids
    assert set(stored.values()) == {ROWS}
    assert len(stored) == got["sent"] == asked - got["lost"]
