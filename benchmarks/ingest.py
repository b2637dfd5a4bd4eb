"""How many rows a second the observer takes in, beside bare COPY (PostgreSQL) or executemany (SQLite) into its table.

Run ``python -m benchmarks.ingest [--seconds N] [--url postgresql+psycopg://…]`` on a quiet machine. The observer's real
HTTP application is asked in this process, over ASGI: what is measured is all that it does for a body (unfold, decode,
check, look for duplicates, insert, commit to the disk), without the network and without another process's share of the
core. Bodies are what a model server sends: 500 requests of one row of 20 float64 features, as tensors beside JSON, in
zstd. Four are under way at once, so that commits are shared as they are with several servers. The bare insert takes the
finished rows of such bodies into the same table, one commit for each body, and does nothing else. The two take turns, so
that both have the same quiet and noise; the ratio is the median of the turns'.
"""

import argparse
import asyncio
import itertools
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import zstandard
from perennial_api.labels import ServiceAccountRole
from perennial_api.monitorreport import MonitorReportStatus
from perennial_observer.api.app import build_app
from perennial_observer.api.tensors import TENSORS_TYPE, read_tensors
from perennial_observer.auth import Caller
from perennial_observer.ingest.entries import LogBody, Rules, split_entries
from perennial_observer.main import Observer, build_observer
from perennial_observer.registry import Registry
from perennial_observer.settings import Settings
from perennial_observer.store import tables as t
from perennial_observer.store.log import register_deployment
from perennial_observer.store.rows import DeploymentKey, PredictionRow
from safetensors.numpy import save

KEY = DeploymentKey("00000000-0000-0000-0000-000000000000", "bench", "ingest")
ROWS, FEATURES, AT_ONCE, ROUNDS = 500, 20, 4, 5
HEADERS = {"Authorization": "Bearer t", "Content-Encoding": "zstd", "Content-Type": TENSORS_TYPE}


class Anybody:
    """Stands for the API server: every token is the model server's, reports go nowhere."""

    async def read(self, token: str) -> Caller:  # noqa: ARG002  a Protocol's name
        """Tell who it is."""
        return Caller(ServiceAccountRole.SERVER, KEY)

    async def write(self, key: DeploymentKey, status: MonitorReportStatus) -> None:
        """Drop it."""


def make_bodies(random_: random.Random) -> Iterator[bytes]:
    """Make bodies of ever new predictions, of values from a few thousand: their making must not be what is measured."""
    values = np.random.default_rng(random_.getrandbits(32)).standard_normal((FEATURES, ROWS))
    tensors = {f"0/inputs/feature_{i}": values[i] for i in range(FEATURES)}
    tensors["0/outputs/predict"] = (values[0] > 0).astype(np.int64)
    tensors["0/outputs/probability"] = np.abs(np.tanh(values[1]))
    while True:
        group = {
            "ids": [str(uuid.UUID(int=random_.getrandbits(128), version=4)) for _ in range(ROWS)],
            "times": [time.time()] * ROWS,
            "sizes": [1] * ROWS,
            "inputs": {f"feature_{i}": None for i in range(FEATURES)},
            "outputs": {"predict": None, "probability": None},
        }
        document = np.frombuffer(orjson.dumps({"revision": "ingest-1a2b3c4d", "groups": [group]}), np.uint8)
        yield zstandard.compress(save({"body": document, **tensors}), 1)


def read_rows(body: bytes) -> list[PredictionRow]:
    """Return the rows that the observer makes of a body."""
    document = read_tensors(zstandard.decompress(body))
    return split_entries(LogBody.model_validate(document), Rules(None, None, time.time(), 86_400.0)).fitting


async def time_observer(client: httpx.AsyncClient, bodies: list[bytes]) -> float:
    """Send all bodies, some at once; return rows a second."""
    left = iter(bodies)

    async def send() -> None:
        for body in left:
            got = await client.post("/v1/log", content=body, headers=HEADERS)
            if got.status_code != 202 or got.json()["accepted"] != ROWS:
                raise RuntimeError(f"answered {got.status_code}: {got.text[:300]}")

    started = time.perf_counter()
    await asyncio.gather(*(send() for _ in range(AT_ONCE)))
    return len(bodies) * ROWS / (time.perf_counter() - started)


def time_bare(observer: Observer, batches: list[list[PredictionRow]]) -> float:
    """Insert all batches by the fastest that the database has, one commit each; return rows a second."""
    engine = observer.store.engine
    with engine.begin() as connection:
        deployment_id = register_deployment(connection, KEY)
    ready = [
        [{"deployment_id": deployment_id, "arrival": time.time(), **row._asdict()} for row in rows]
        for rows in batches
    ]
    names = [name for name in ready[0][0] if name != "id"]
    rows_of = [[tuple(row[name] for name in names) for row in rows] for rows in ready]
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        insert_all = _copy if engine.dialect.name == "postgresql" else _execute_many
        started = time.perf_counter()
        for rows in rows_of:
            insert_all(cursor, names, rows)
            raw.commit()
        return len(batches) * ROWS / (time.perf_counter() - started)
    finally:
        raw.close()


def _execute_many(cursor: Any, names: list[str], rows: list[tuple[Any, ...]]) -> None:
    places = ", ".join("?" for _ in names)
    cursor.executemany(f"INSERT INTO {t.prediction.name} ({', '.join(names)}) VALUES ({places})", rows)


def _copy(cursor: Any, names: list[str], rows: list[tuple[Any, ...]]) -> None:
    with cursor.copy(f"COPY {t.prediction.name} ({', '.join(names)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


async def run(url: str, seconds: float) -> None:
    """Measure in turns and print both and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), database_url=url, min_free_bytes=0)
        registry = Registry()
        registry.replace([])
        anybody = Anybody()
        observer = build_observer(settings, identity=anybody, reports=anybody, registry=registry)
        if observer.context is None:
            raise RuntimeError("the observer was built without a context")
        bodies = make_bodies(random.Random(20130101))
        app = httpx.ASGITransport(build_app(observer.context))
        try:
            async with httpx.AsyncClient(transport=app, base_url="http://observer", timeout=60.0) as client:
                first = await time_observer(client, list(itertools.islice(bodies, 10)))
                count = max(10, int(first * seconds / ROUNDS / ROWS))
                ours, bare = [], []
                for _ in range(ROUNDS):
                    ours.append(await time_observer(client, list(itertools.islice(bodies, count))))
                    batches = [read_rows(body) for body in itertools.islice(bodies, count)]
                    bare.append(await asyncio.to_thread(time_bare, observer, batches))
        finally:
            observer.close()
    dialect = observer.store.engine.dialect.name
    print(f"{dialect}: {ROUNDS} rounds of {count * ROWS:,} rows")
    for name, figures in (("observer", ours), ("COPY" if dialect == "postgresql" else "executemany", bare)):
        print(
            f"  {name:12} {statistics.median(figures):9,.0f} rows/s ({min(figures):,.0f} to {max(figures):,.0f})"
        )
    ratios = [mine / limit for mine, limit in zip(ours, bare, strict=True)]
    print(f"  ratio        {statistics.median(ratios):9.2f}        ({min(ratios):.2f} to {max(ratios):.2f})")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="that the observer's rounds take in all")
    parser.add_argument("--url", default="", help="of an empty database; SQLite if left out")
    arguments = parser.parse_args()
    asyncio.run(run(arguments.url, arguments.seconds))


if __name__ == "__main__":
    main()
