"""Where the time of a request goes: CPU microseconds by stage, printed as the table of docs/model-server.md.

`python -m benchmarks.serving_profile` runs the server and, beside it, uvicorn around an application that does nothing, and
counts the CPU time that each takes for a request; then it times the stages one by one in this process. CPU time rather
than the clock's, so that other processes disturb it little; the least of several tries, for the same reason.
"""

import argparse
import asyncio
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd
import perennial_bundle
import uvloop
from perennial_bundle import Bundle, Outputs, Rows
from perennial_server.engine.job import Job
from perennial_server.engine.model_call import Answered, call_model
from perennial_server.engine.predictor import Predictor
from perennial_server.engine.splitting import split
from perennial_server.metrics import Metrics
from perennial_server.origin import Origin, read_origin
from perennial_server.prediction_log.batch import LoggedBatch
from perennial_server.prediction_log.counts import LogCounts
from perennial_server.prediction_log.queue import LogQueue
from perennial_server.protocol.answers import AnswerWriter
from perennial_server.protocol.requests import RequestReader
from perennial_server.rest.app import V2App
from perennial_server.rest.asgi import Receive, Scope, Send
from perennial_server.settings import Settings

from benchmarks.serving.client import Load, build_request, measure
from benchmarks.serving.measuring import CONNECTIONS, requests, serving
from benchmarks.serving.peers import ALL, REPOSITORY
from benchmarks.serving.processes import Command, cores, cpu_s, free_port, running
from benchmarks.serving.subject import Subject, build_subject, v2_body

HEADERS = [
    (b"host", b"127.0.0.1"),
    (b"content-type", b"application/json"),
    (b"content-length", b"170"),
    (b"x-prediction-id", b"0123456789abcdef0123456789abcdef"),
]
PATH = "/v2/models/bench/infer"
ANSWER_BYTES = 220
TRIES = 15
WARM_UP_S = 1


@dataclass(frozen=True)
class Stage:
    """What one request spends on one thing, in CPU microseconds."""

    name: str
    microseconds: float


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that reads its request and answers as many bytes as the server does."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body", False):
        pass
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % ANSWER_BYTES)]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": b"x" * ANSWER_BYTES})


def measure_server(port: int, pid: int, bodies: list[bytes], seconds: float) -> float:
    """Return the CPU microseconds that a running server takes for a request."""
    load = Load(CONNECTIONS, WARM_UP_S, seconds)
    return measure(port, bodies, load, lambda: cpu_s(pid)).cpu_us


def read_batch_rows(port: int) -> float:
    """Return how many rows a server's calls of the model had on average."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    sums = {line.split(" ")[0]: float(line.split(" ")[1]) for line in lines if not line.startswith("#")}
    return sums["perennial_server_batch_rows_sum"] / sums["perennial_server_batch_rows_count"]


@dataclass(frozen=True)
class Whole:
    """CPU microseconds for a request: of nothing but HTTP, of ours without a log and with one; and rows in a batch."""

    http_us: float
    quiet_us: float
    logging_us: float
    batch_rows: float


def measure_servers(subject: Subject, directory: Path, seconds: float) -> Whole:
    """Measure running servers."""
    port = free_port()
    arguments = [sys.executable, "-m", "uvicorn", "benchmarks.serving_profile:echo", "--port", str(port),
                 "--loop", "uvloop", "--no-access-log"]  # fmt: skip
    bare = Command(arguments, {}, REPOSITORY, "/")
    bodies = [build_request(PATH, v2_body(subject.rows[block])) for block in subject.blocks(1)]
    with running(bare, port, cores()[0], directory / "echo.log") as pid:
        http_us = measure_server(port, pid, bodies, seconds)
    figures = {}
    batch_rows = 0.0
    for peer in ALL[:2]:
        with serving(peer, peer.python(), subject, directory) as (port, pid):
            figures[peer.name] = measure_server(port, pid, requests(peer, subject, 1), seconds)
            batch_rows = read_batch_rows(port)
    return Whole(http_us, figures["ours-no-log"], figures["ours"], batch_rows)


def least_us(call: Callable[[], Any], times: int = 50) -> float:
    """Return the CPU microseconds of a call: the least of several tries."""
    tries = []
    for _ in range(TRIES):
        start_s = time.thread_time()
        for _ in range(times):
            call()
        tries.append((time.thread_time() - start_s) / times * 1e6)
    return min(tries)


def measure_application(app: V2App, bodies: list[bytes], batch: int) -> float:
    """Return the CPU microseconds of the ASGI application alone, with as many requests at once as a batch has."""

    async def ask(body: bytes) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            pass

        scope = {"type": "http", "method": "POST", "path": PATH, "headers": HEADERS}
        await app(scope, receive, send)

    async def run() -> float:
        tries = []
        for _ in range(TRIES + 1):  # the first warms up
            start_s = time.process_time()
            for _ in range(20):
                await asyncio.gather(*(ask(body) for body in bodies[:batch]))
            tries.append((time.process_time() - start_s) / (20 * batch) * 1e6)
        return min(tries)

    return uvloop.run(run())


class Remembering:
    """A bundle that calls its model no more: what it answered once has to do."""

    def __init__(self, bundle: Bundle, subject: Subject, rows: int) -> None:
        self.schema, self.manifest = bundle.schema, bundle.manifest
        self._outputs = bundle.predict(self.schema.check(Rows(rows, {}, subject.rows[:rows])).frame)

    def predict(self, frame: pd.DataFrame) -> Outputs:
        return {name: values[: len(frame)] for name, values in self._outputs.items()}


def measure_predicting(bundle: Bundle, settings: Settings, bodies: list[bytes], batch: int) -> float:
    """Return the CPU microseconds of the application around a bundle, without a log."""
    predictor = Predictor(bundle, settings, Metrics(), None)
    try:
        return measure_application(V2App(predictor), bodies, batch)
    finally:
        predictor.close()


def measure_stages(bundle: Bundle, settings: Settings, subject: Subject, batch: int) -> list[Stage]:
    """Time the application's stages one by one, those of a batch divided by its requests."""
    metrics = Metrics()
    schema = bundle.schema
    reader = RequestReader(schema, max_rows=settings.max_rows)
    writer = AnswerWriter(schema, model_name="bench", model_version="bench-1")
    body = v2_body(subject.rows[:1])
    query = reader.read(body)
    loop = asyncio.new_event_loop()
    jobs = [Job(query.rows, Origin(f"{i:032x}"), None, loop.create_future()) for i in range(batch)]
    (answered,) = call_model(bundle, None, jobs).answered
    checked = schema.check(answered.rows)
    queue = LogQueue(settings.log_queue_bytes, LogCounts(metrics, "Observer"))
    headers = {name.decode(): value.decode() for name, value in HEADERS}

    def count() -> None:
        metrics.count_call(batch, 0.001, ())
        for _ in range(batch):
            metrics.count_request(200, 0.001)

    predict_us = least_us(lambda: bundle.predict(checked.frame)) / batch
    call_us = least_us(lambda: call_model(bundle, None, jobs)) / batch
    stages = [
        Stage("headers: who asks, under which id", least_us(lambda: read_origin(headers.get, "bench/bench"))),
        Stage("JSON into arrays", least_us(lambda: reader.read(body))),
        Stage("joining, and checking the batch against the schema", max(0.0, call_us - predict_us)),
        Stage("cutting the batch into answers", least_us(lambda: list(split(answered))) / batch),
        Stage("JSON out of arrays", least_us(lambda: writer.write(next(split(answered))[1].outputs, query))),
        Stage("metrics", least_us(count) / batch),
        Stage("handing the batch to the log", least_us(lambda: queue.put(as_logged(answered))) / batch),
    ]
    loop.close()
    return stages


def as_logged(answered: Answered) -> LoggedBatch:
    """Build what the engine hands to the log."""
    return LoggedBatch(
        time_s=answered.time_s,
        origins=tuple(job.origin for job in answered.jobs),
        sizes=tuple(job.rows.n for job in answered.jobs),
        rows=answered.rows,
        outputs=answered.outputs,
    )


def render(stages: list[Stage], total: Stage) -> str:
    """Write the table."""
    rows = [
        (stage.name, f"{stage.microseconds:.1f}", stage.microseconds / total.microseconds) for stage in stages
    ]
    lines = ["| stage | µs of CPU | share |", "|---|---:|---:|"]
    lines += [f"| {name} | {figure} | {share:.0%} |" for name, figure, share in rows]
    lines.append(f"| **{total.name}** | **{total.microseconds:.1f}** | |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=3, help="how long each server is asked (default 3)")
    parser.add_argument(
        "--batch", type=int, default=0, help="requests in a batch (default: as the server had)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="perennial-profile-") as name:
        directory = Path(name)
        subject = build_subject("linear", directory, 1)
        whole = measure_servers(subject, directory, arguments.seconds)
        batch = arguments.batch or max(1, round(whole.batch_rows))
        settings = Settings(
            namespace="bench", deployment="bench", revision="bench-1", bundle_uri=f"file://{subject.bundle}"
        )
        bundle = perennial_bundle.load(subject.bundle)
        stages = measure_stages(bundle, settings, subject, batch)
        bodies = [v2_body(subject.rows[block]) for block in subject.blocks(1)]
        app_us, rest_us = (
            measure_predicting(served, settings, bodies, batch)
            for served in (bundle, cast("Bundle", Remembering(bundle, subject, len(bodies))))
        )
    inside_us = sum(stage.microseconds for stage in stages[:-1])  # the applications above have no log
    stages = [
        Stage("HTTP: uvicorn, sockets, the event loop", whole.http_us),
        *stages,
        Stage("the model", app_us - rest_us),
        Stage("admission, batching, tasks and futures", max(0.0, rest_us - inside_us)),
        Stage(
            "the log, in the background: encoding, compressing, sending",
            max(0.0, whole.logging_us - whole.quiet_us),
        ),
    ]
    print(render(stages, Stage("the whole server", whole.logging_us)))
    print(
        f"\n{batch} requests in a batch; requests a second on one core: {1e6 / whole.logging_us:,.0f}, "
        f"of HTTP alone {1e6 / whole.http_us:,.0f}"
    )


if __name__ == "__main__":
    main()
