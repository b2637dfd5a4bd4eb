"""The rollout tests' server and a real observer: what a label says of its answers reaches the report."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from perennial_observer.store import tables as t
from sqlalchemy import Table, func, select

from .conftest import Running, run_observer
from .test_comparisons import CANARY, OUTLIERS, STABLE, compare, label, rolling

SERVER = Path(__file__).parents[3] / "images" / "testserver" / "server.py"
DEADLINE_S = 60
BODY = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [0.5]}]}


@contextmanager
def run_test_server(running: Running, tmp_path: Path, revision: str, predict: str) -> Iterator[str]:
    (tmp_path / "token").write_text("server")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    environment = {
        "PERENNIAL_PORT": str(port),
        "PERENNIAL_DEPLOYMENT": "wine",
        "PERENNIAL_REVISION": revision,
        "PERENNIAL_OBSERVER_URL": str(running.client.base_url),
        "PERENNIAL_TOKEN_FILE": str(tmp_path / "token"),
        "LOG": "true",
        "PREDICT": predict,
    }
    process = subprocess.Popen([sys.executable, "-S", str(SERVER)], env=environment)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(DEADLINE_S)


async def wait_for(read: Callable[[], Awaitable[Any]], what: str) -> Any:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if got := await read():
            return got
        await asyncio.sleep(0.05)
    raise AssertionError(f"waited {DEADLINE_S} s for {what}")


async def count(running: Running, table: Table, want: int) -> bool:
    with running.observer.store.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one() == want


async def infer(client: httpx.AsyncClient, url: str, prediction_id: str, **headers: str) -> bool:
    try:
        got = await client.post(
            f"{url}/v2/models/wine/infer",
            json=BODY,
            headers={"x-prediction-id": prediction_id, **headers},
        )
    except httpx.TransportError:
        return False
    return got.status_code == 200


async def test_labels_tell_a_wrong_arm_from_a_right_one(settings, cluster, tmp_path):
    async with run_observer(settings, cluster, rolling(OUTLIERS)) as running, httpx.AsyncClient() as client:
        await compare(running)
        with (
            run_test_server(running, tmp_path, STABLE, "1") as stable,
            run_test_server(running, tmp_path, CANARY, "0") as canary,
        ):
            await wait_for(lambda: infer(client, stable, "s"), "the stable server")
            await wait_for(lambda: infer(client, canary, "c", **{"x-user-id": "ann"}), "the canary")
            assert await infer(client, canary, "s", **{"x-perennial-shadow": "true"})
            await label(running, "s", 1)
            await label(running, "c", 1)

            # A comparison begins with the second arm: both have to be there at the first look.
            await wait_for(lambda: count(running, t.prediction, 2), "both predictions")

            async def counted():
                arms = await compare(running)
                done = len(arms) == 2 and arms[CANARY].shadow and all(a.labels.total for a in arms.values())
                return arms if done else None

            arms = await wait_for(counted, "the counts")
            assert (arms[STABLE].labels.bad, arms[CANARY].labels.bad) == (0, 1)
            assert arms[CANARY].client_labels.bad == 1
            assert (arms[CANARY].shadow.agreement.total, arms[CANARY].shadow.agreement.bad) == (1, 1)

            await wait_for(lambda: count(running, t.reference, 2), "both references")
