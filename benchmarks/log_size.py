"""Room that the prediction log takes: bytes for a million predictions of 20 features, their labels and scores.

Run ``python -m benchmarks.log_size [--rows N] [--url postgresql+psycopg://…]``. Rows are those that a model server of
20 float64 features would send; they are written as the observer writes them, and what the files (or, with a URL of an
empty database, the tables) take is divided by their number. Beside it stands what the observer reckons, by which
`spec.monitoring.retention.maxSize` is kept.
"""

import argparse
import random
import tempfile
import time
import uuid
from pathlib import Path

import orjson
from perennial_observer.monitors.looks.row_scores import ROWS_PER_JOB
from perennial_observer.store import tables as t
from perennial_observer.store.engine import database_bytes, open_database
from perennial_observer.store.log import register_deployment, write_feedback, write_log
from perennial_observer.store.rows import DeploymentKey, LabelRow, PredictionRow
from perennial_observer.store.scores import write_scores
from sqlalchemy import Connection, Engine, select, text

KEY = DeploymentKey("00000000-0000-0000-0000-000000000000", "bench", "log-size")
BATCH = 5_000
FEATURES = 20


def make_rows(count: int, random_: random.Random, decimals: int | None) -> list[PredictionRow]:
    """Make rows of 20 floats with all their digits, or of so many decimals."""

    def number() -> float:
        value = random_.gauss(0.0, 1.0)
        return value if decimals is None else round(value, decimals)

    made = []
    for _ in range(count):
        inputs = orjson.dumps({f"feature_{i}": number() for i in range(FEATURES)}).decode()
        outputs = orjson.dumps({"predict": 1, "probability": random_.random()}).decode()
        name = str(uuid.UUID(int=random_.getrandbits(128), version=4))
        made.append(PredictionRow(name, 0, "log-size-1a2b3c4d", time.time(), inputs, outputs))
    return made


def write(engine: Engine, rows: list[PredictionRow]) -> None:
    """Write rows in batches, as servers send them."""
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        with engine.begin() as connection:
            write_log(connection, KEY, part, (), now=time.time(), max_rejected=0)


def label(connection: Connection, rows: list[PredictionRow]) -> None:
    """Write a label for each row."""
    write_feedback(
        connection,
        register_deployment(connection, KEY),
        [LabelRow(row.prediction_id, row.row, "1") for row in rows],
        now=time.time(),
        max_pending=0,
        may_come=lambda _: True,
    )


def measure(engine: Engine) -> int:
    """Bytes of the database once everything is at rest."""
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    else:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("CHECKPOINT"))
    return database_bytes(engine)


def reckoned(engine: Engine) -> int:
    """Bytes that the observer takes them for."""
    with engine.connect() as connection:
        query = select(t.deployment.c.log_bytes).where(t.deployment.c.uid == KEY.uid)
        return int(connection.execute(query).scalar_one())


def run(url: str, rows: int, decimals: int | None) -> None:
    """Measure one kind of rows and print what they take."""
    with tempfile.TemporaryDirectory() as folder:
        engine = open_database(url, Path(folder))
        random_ = random.Random(20130101)
        try:
            empty, before = measure(engine), 0
            made = make_rows(rows, random_, decimals)
            write(engine, made)
            full = measure(engine)
            after = reckoned(engine)
            for start in range(0, rows, BATCH):
                with engine.begin() as connection:
                    label(connection, made[start : start + BATCH])
            labelled, with_labels = measure(engine), reckoned(engine)
            with engine.begin() as connection:
                ids = list(connection.scalars(select(t.prediction.c.id)))
            for start in range(0, rows, ROWS_PER_JOB):
                scores = [(id_, random_.gauss(0.0, 1.0)) for id_ in ids[start : start + ROWS_PER_JOB]]
                with engine.begin() as connection:
                    write_scores(connection, "outliers", scores)
            scored, with_scores = measure(engine), reckoned(engine)
        finally:
            engine.dispose()
    kind = "all digits" if decimals is None else f"{decimals} decimals"
    texts = sum(len(row.inputs) + len(row.outputs) for row in made) / rows
    print(f"{engine.dialect.name}, {FEATURES} features of {kind}, {rows:,} rows:")
    for what, real, guess in (
        ("a prediction", full - empty, after - before),
        ("a label", labelled - full, with_labels - after),
        ("a score", scored - labelled, with_scores - with_labels),
    ):
        print(
            f"  {what}: {real / rows:.0f} bytes, so {real / rows / 1e3:.2f} GB a million;"
            f" reckoned {guess / rows:.0f} ({guess / real - 1:+.0%})"
        )
    print(f"  of a prediction, {texts:.0f} are its text")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--url", default="", help="of an empty database; SQLite if left out")
    parser.add_argument("--decimals", type=int, help="of each feature; all digits if left out")
    arguments = parser.parse_args()
    run(arguments.url, arguments.rows, arguments.decimals)


if __name__ == "__main__":
    main()
