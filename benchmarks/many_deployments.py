"""What one observer needs for many ModelDeployments: memory of each, and processor time of a look.

Run ``python -m benchmarks.many_deployments [--deployments N] [--window N] [--max-references-bytes N] [--once]``. Each
has monitors of type Drift (KS, native), DataQuality and Performance, and a reference of 5,000 rows of 20 features; the
database is SQLite. An observer in a process of its own looks at them as it does in a cluster, without the API server: once
with nothing logged, then with a full labelled window everywhere (each reference is read, each threshold calibrated), then
with nothing new, then, unless it is told ``--once``, with a second full window everywhere. Memory is the process's resident
set beside what it was before it knew of them, with its numeric libraries loaded and used.
"""

import argparse
import asyncio
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
from perennial_api import ModelDeployment
from perennial_api.monitorreport import MonitorState
from perennial_observer.main import Observer, build_observer
from perennial_observer.registry import Registry
from perennial_observer.settings import Settings
from perennial_observer.store import tables as t
from perennial_observer.store.engine import open_database
from perennial_observer.store.log import register_deployment, write_feedback, write_log
from perennial_observer.store.rows import DeploymentKey, LabelRow, PredictionRow
from sqlalchemy import insert

from benchmarks.ingest import Anybody

FEATURES, REFERENCE_ROWS, IDLE_LOOKS = 20, 5_000, 5
REVISION = "many-1a2b3c4d"
NAMES = [f"feature_{i}" for i in range(FEATURES)]
START_S = 1_000_000.0
MIB = 1 << 20


def key_of(number: int) -> DeploymentKey:
    """Name the n-th ModelDeployment."""
    return DeploymentKey(f"00000000-0000-0000-0000-{number:012}", "bench", f"many-{number}")


def make_deployment(number: int, window: int) -> ModelDeployment:
    """Make it with its three monitors, as the API server would send it."""
    key = key_of(number)
    labels = {"maturity": "1s", "minCoverage": 0.5, "minLabels": 50}
    performance = {"metric": "accuracy", "min": 0.2, "labels": labels}
    monitors = [
        {"name": "drift", "type": "Drift", "drift": {"engine": "Native"}},
        {"name": "quality", "type": "DataQuality"},
        {"name": "accuracy", "type": "Performance", "performance": performance},
    ]
    defaults = {
        "window": {"size": window, "maxAge": "365d", "minSamples": window},
        "falseAlarmEvery": "30d",
    }
    return ModelDeployment.model_validate(
        {
            "apiVersion": "perennial.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": key.uid},
            "spec": {
                "model": {"uri": "perennial://sha256:" + "0" * 64},
                "monitoring": {"eventTime": "at", "defaults": defaults, "monitors": monitors},
            },
            "status": {"rollout": {"phase": "Healthy", "stable": REVISION}},
        }
    )


def make_reference(random_: random.Random) -> bytes:
    """Make a reference as a model server sends it; all ModelDeployments get the same numbers."""
    inputs = [{"name": name, "datatype": "FP64"} for name in NAMES]
    outputs = [{"name": "predict", "datatype": "INT64", "role": "Output"}]
    document = {
        "bundle_digest": "sha256:" + "0" * 64,
        "task": "Classification",
        "schema": {"inputs": inputs, "outputs": outputs},
        "rows": {name: [round(random_.gauss(0.0, 1.0), 6) for _ in range(REFERENCE_ROWS)] for name in NAMES},
        "outputs": {"predict": [random_.randrange(2) for _ in range(REFERENCE_ROWS)]},
        "event_time": [60.0 * i for i in range(REFERENCE_ROWS)],
        "labels": None,
    }
    return zlib.compress(orjson.dumps(document), 6)


def send_references(folder: Path, count: int) -> None:
    """Store everybody's reference."""
    content = make_reference(random.Random(20130101))
    engine = open_database("", folder)
    for number in range(count):
        with engine.begin() as connection:
            place = {"deployment_id": register_deployment(connection, key_of(number)), "revision": REVISION}
            values = {**place, "digest": f"{number:064}", "arrival": 0.0, "content": content}
            connection.execute(insert(t.reference).values(values))
    engine.dispose()


def send_windows(folder: Path, numbers: range, window: int, turn: int) -> None:
    """Log a window of labelled rows for some, and one row that tells that its labels' time has come."""
    random_ = random.Random(turn)
    texts = [
        orjson.dumps({name: round(random_.gauss(0.0, 1.0), 6) for name in NAMES}).decode()
        for _ in range(window)
    ]
    rows = [
        PredictionRow(f"{turn}-{i}", 0, REVISION, START_S + turn * window + i, text, '{"predict": 1}')
        for i, text in enumerate(texts)
    ]
    labels = [LabelRow(row.prediction_id, 0, "1") for row in rows]
    late = PredictionRow(f"{turn}-late", 0, REVISION, START_S + (turn + 1) * window + 1.5, texts[0], "{}")
    engine = open_database("", folder)
    for number in numbers:
        with engine.begin() as connection:
            key = key_of(number)
            write_log(connection, key, [*rows, late], (), now=time.time(), max_rejected=0)
            write_feedback(
                connection,
                register_deployment(connection, key),
                labels,
                now=time.time(),
                max_pending=0,
                may_come=lambda _: True,
            )
    engine.dispose()


def resident_bytes() -> int:
    """What this process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def look(observer: Observer) -> tuple[float, float]:
    """Take one look; return seconds of processor time, of all threads, and on the clock."""
    cpu, clock = time.process_time(), time.perf_counter()
    asyncio.run(observer.tick())
    return time.process_time() - cpu, time.perf_counter() - clock


@contextmanager
def opened(folder: Path, registry: Registry, max_references_bytes: int) -> Iterator[Observer]:
    """Build an observer without the API server."""
    settings = Settings(
        data_dir=folder,
        min_free_bytes=0,
        event_lateness_s=0.0,
        max_references_bytes=max_references_bytes,
        detector_socket=folder / "absent.sock",
    )
    observer = build_observer(settings, identity=Anybody(), reports=Anybody(), registry=registry)
    try:
        yield observer
    finally:
        observer.close()


def count_states(observer: Observer, state: MonitorState) -> int:
    """How many monitors are in a state."""
    return sum(v.state is state for r in observer.evaluator.reports.values() for v in r.status.monitors)


def observe(folder: Path, arguments: argparse.Namespace) -> None:
    """Look at everything in turns and print what it took; runs in a process of its own."""
    count, window = arguments.deployments, arguments.window
    registry = Registry()
    registry.replace([make_deployment(count, window)])
    with opened(folder, registry, arguments.max_references_bytes) as observer:
        # One more than is measured, so that the numeric libraries are loaded and have used their memory.
        look(observer)
        before = resident_bytes()
        registry.replace([make_deployment(number, window) for number in range(count)])
        look(observer)
        known = resident_bytes()
        _run_in_between(folder, arguments, 1)
        first = look(observer)
        judged = count_states(observer, MonitorState.OK)
        idle = [look(observer) for _ in range(IDLE_LOOKS)][1:]
        after = resident_bytes()
        again = []
        if not arguments.once:
            _run_in_between(folder, arguments, 2)
            again = [("second look with a full window each", *look(observer))]
        end = resident_bytes()
    print(f"{count} ModelDeployments of 3 monitors, windows of {window} rows; {judged} verdicts Ok")
    print(f"  memory before any is known           {before / MIB:8.1f} MiB")
    print(f"  of each while nothing is logged      {(known - before) / count / MIB:8.3f} MiB")
    print(f"  of each once all are judged, idle    {(after - before) / count / MIB:8.3f} MiB")
    if again:
        print(f"  of each after a second window        {(end - before) / count / MIB:8.3f} MiB")
    for what, cpu, clock in (
        ("first look with a full window each", *first),
        ("idle look", *(sum(part) / len(idle) for part in zip(*idle, strict=True))),
        *again,
    ):
        print(f"  {what:36} {cpu:8.3f} s of processor, {clock:8.3f} s")


def _run_in_between(folder: Path, arguments: argparse.Namespace, turn: int) -> None:
    """Write the log from a process of its own, as another's memory."""
    subprocess.run([*_command(arguments), "--folder", str(folder), "--write", str(turn)], check=True)


def _command(arguments: argparse.Namespace) -> list[str]:
    return [
        *(sys.executable, "-m", "benchmarks.many_deployments"),
        *("--deployments", str(arguments.deployments), "--window", str(arguments.window)),
        *("--max-references-bytes", str(arguments.max_references_bytes)),
        *(["--once"] if arguments.once else []),
    ]


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--deployments", type=int, default=500)
    parser.add_argument("--window", type=int, default=250)
    parser.add_argument("--max-references-bytes", type=int, default=256 << 20)
    parser.add_argument("--once", action="store_true", help="leave out the second window")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write is not None:
        send_windows(arguments.folder, range(arguments.deployments), arguments.window, arguments.write)
    elif arguments.folder is not None:
        observe(arguments.folder, arguments)
    else:
        with tempfile.TemporaryDirectory() as folder:
            send_references(Path(folder), arguments.deployments + 1)
            warm_up = range(arguments.deployments, arguments.deployments + 1)
            send_windows(Path(folder), warm_up, arguments.window, 0)
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run([*_command(arguments), "--folder", folder], check=True, env=environment)


if __name__ == "__main__":
    main()
