"""A test double of a model server, for the tests of rollouts only. It serves no model.

It speaks enough of the Open Inference Protocol to be rolled out, routed to, and to misbehave on command, and starts
in a fraction of a second on the standard library alone. Its environment, with the defaults:

- PERENNIAL_PORT (3000), PERENNIAL_DEPLOYMENT and PERENNIAL_REVISION, as of a real server
- PREDICT (0): the number that it answers for every row
- ERROR_RATE: share of inference requests answered with status 500, 0 to 1
- INVALID_RATE: share answered with status 400
- LATENCY_MS: how long an inference takes
- SLOW_RATE and SLOW_MS (1000): share that takes that much longer
- ERROR_USERS: share of the users, told apart by x-user-id, whose requests all get status 500
- LOG=true: log predictions to the observer as a real server does; REFERENCE_MEAN (0) is the mean of the reference
  sample of its one feature, x; TASK (Classification) is what it says of its model, or Regression
- READY_DELAY_S: how long after the start it becomes ready
- FAIL_REASON: write this reason to the termination log and exit with status 1
- TERMINATION_LOG (/dev/termination-log): where to

A name with `_` and the first eight digits of the bundle's digest, such as ERROR_RATE_bbbbbbbb, goes before the plain
one: so the variants of an experiment, which share a runtime, behave each in its own way.

Shares are spread evenly over the requests, not by chance. A request with `x-test-echo` is answered with the headers that
came with it, as JSON in `x-test-echo`.
"""

import asyncio
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from knobs import Even, Knobs, is_error_user
from observer_log import ObserverLog

MAX_BODY_BYTES = 16 * 2**20
SAMPLE_ROWS = 1
REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}
Headers = dict[str, str]
Answer = tuple[int, dict[str, Any]]


class TestServer:
    """Answers requests as its environment says."""

    def __init__(self, knobs: Knobs, log: ObserverLog | None = None) -> None:
        self.knobs = knobs
        self.log = log
        self.model = knobs.deployment
        self.ready_at = time.monotonic() + knobs.ready_delay_s
        self.error = Even(knobs.error_rate)
        self.invalid = Even(knobs.invalid_rate)
        self.slow = Even(knobs.slow_rate)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        with suppress(asyncio.IncompleteReadError, ConnectionError, ValueError):
            while head := await read_head(reader):
                method, path, headers = head
                body = await read_body(reader, headers)
                prediction_id = headers.get("x-prediction-id") or uuid.uuid4().hex
                answer = await self.answer(
                    method, path.split("?")[0], headers | {"x-prediction-id": prediction_id}, body
                )
                keep = headers.get("connection", "").lower() != "close"
                own = {"x-model-revision": self.knobs.revision, "x-prediction-id": prediction_id}
                if "x-test-echo" in headers:
                    own["x-test-echo"] = json.dumps(headers)
                writer.write(render(answer, own, keep=keep))
                await writer.drain()
                if not keep:
                    break
        writer.close()

    async def answer(self, method: str, path: str, headers: Headers, body: bytes) -> Answer:
        """Decide on one answer: status and JSON."""
        parts = path.strip("/").split("/")
        if path == "/v2/health/live":
            return 200, {"live": True}
        if path == "/v2/health/ready":
            ready = time.monotonic() >= self.ready_at
            return (200, {"ready": True}) if ready else (503, {"error": "not ready yet"})
        if parts[:3] == ["v2", "models", self.model] and parts[-1] == "infer":
            return await self.infer(headers, body) if method == "POST" else (405, {"error": "use POST"})
        return self.describe(path, parts)

    def describe(self, path: str, parts: list[str]) -> Answer:
        """Answer what a client may ask about the model."""
        if path == "/sample":
            tensor = {"name": "x", "datatype": "FP64", "shape": [SAMPLE_ROWS]}
            return 200, {"inputs": [tensor | {"data": [self.knobs.reference_mean] * SAMPLE_ROWS}]}
        if parts[:3] != ["v2", "models", self.model]:
            return 404, {"error": f"{path}: there is nothing here"}
        if parts[-1] == "ready":
            return 200, {"name": self.model, "ready": True}
        about = {"versions": [self.knobs.revision], "platform": "test", "inputs": [], "outputs": []}
        return 200, {"name": self.model, **about}

    async def infer(self, headers: Headers, body: bytes) -> Answer:
        """Answer the same number for every row, or misbehave as often as it should."""
        try:
            request = json.loads(body)
            rows = int(request["inputs"][0]["shape"][0])
            answer = {"id": request["id"]} if "id" in request else {}
            predictions = [self.knobs.predict] * rows
        except (ValueError, KeyError, IndexError, TypeError) as error:
            return 400, {"error": f"inputs: {error!r}"}
        if latency_s := self.knobs.latency_s + self.knobs.slow_s * self.slow.due():
            await asyncio.sleep(latency_s)
        if is_error_user(headers.get("x-user-id", ""), self.knobs.error_users):
            return 500, {"error": "failed as told by ERROR_USERS"}
        if self.error.due():
            return 500, {"error": "failed as told by ERROR_RATE"}
        if self.invalid.due():
            return 400, {"error": "refused as told by INVALID_RATE"}
        is_trial = headers.get("x-perennial-probe") == "true" or "x-perennial-pin" in headers
        if self.log is not None and not is_trial:
            self.log.put(build_entry(headers, request, predictions))
        is_whole = self.knobs.predict.is_integer()
        output = {
            "name": "predict",
            "shape": [rows],
            "datatype": "INT64" if is_whole else "FP64",
            "data": [int(value) if is_whole else value for value in predictions],
        }
        return 200, {
            "model_name": self.model,
            "model_version": self.knobs.revision,
            **answer,
            "outputs": [output],
        }


def build_entry(headers: Headers, request: dict[str, Any], predictions: list[float]) -> dict[str, Any]:
    """Build the log entry of one request, as a real server does."""
    entry = {
        "prediction_id": headers["x-prediction-id"],
        "time": time.time(),
        "inputs": {tensor["name"]: tensor["data"] for tensor in request["inputs"]},
        "outputs": {"predict": predictions},
    }
    if client := headers.get("x-perennial-client-key") or headers.get("x-user-id"):
        entry["client"] = client[:64]
    if headers.get("x-perennial-shadow") == "true":
        entry["shadow"] = True
    return entry


async def read_head(reader: asyncio.StreamReader) -> tuple[str, str, Headers] | None:
    """Read method, path and headers; None at the end of the connection."""
    try:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, path, _ = lines[0].split(" ", 2)
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return method, path, headers


async def read_body(reader: asyncio.StreamReader, headers: Headers) -> bytes:
    """Read a body of known length, or in chunks."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
            if len(body) > MAX_BODY_BYTES:
                raise ValueError("body too large")
        await reader.readuntil(b"\r\n")
        return body
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= MAX_BODY_BYTES:
        raise ValueError("body too large")
    return await reader.readexactly(length)


def render(answer: Answer, headers: Headers, *, keep: bool) -> bytes:
    """Write an answer."""
    status, content = answer
    body = json.dumps(content).encode()
    head = [
        f"HTTP/1.1 {status} {REASONS.get(status, 'Internal Server Error')}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
        f"connection: {'keep-alive' if keep else 'close'}",
    ]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


async def run(knobs: Knobs) -> None:
    """Serve until SIGTERM, then let what is in flight end."""
    log = ObserverLog(knobs) if knobs.log and knobs.observer_url else None
    server = TestServer(knobs, log)
    stop = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, stop.set)
    listener = await asyncio.start_server(server.serve, "0.0.0.0", knobs.port)
    await stop.wait()
    # Routers hear of the end a little later.
    await asyncio.sleep(1 + knobs.latency_s)
    listener.close()
    if log is not None:
        await asyncio.to_thread(log.close)


def main(environment: Mapping[str, str]) -> int:
    """Start, or fail as told."""
    knobs = Knobs.read(environment)
    if knobs.fail_reason:
        report = json.dumps({"reason": knobs.fail_reason, "message": "failed as told by FAIL_REASON"})
        Path(knobs.termination_log).write_text(report, encoding="utf-8")
        print(report, file=sys.stderr)
        return 1
    asyncio.run(run(knobs))
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
