"""A test double of a model server, for the tests of rollouts only. It serves no model.

It speaks enough of the Open Inference Protocol to be rolled out, routed to, and to misbehave on command, and starts
in a fraction of a second on the standard library alone. Its environment:

- PERENNIAL_PORT (3000), PERENNIAL_DEPLOYMENT and PERENNIAL_REVISION, as of a real server
- ERROR_RATE: share of inference requests answered with status 500, 0 to 1; spread evenly, not by chance
- LATENCY_MS: how long an inference takes
- READY_DELAY_S: how long after the start it becomes ready
- FAIL_REASON: write this reason to the termination log and exit with status 1
- TERMINATION_LOG (/dev/termination-log): where to
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

MAX_BODY_BYTES = 16 * 2**20
Answer = tuple[int, dict[str, Any]]


class TestServer:
    """Answers requests as its environment says."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.model = environment.get("PERENNIAL_DEPLOYMENT", "model")
        self.revision = environment.get("PERENNIAL_REVISION", f"{self.model}-00000000")
        self.error_rate = float(environment.get("ERROR_RATE", "0"))
        self.latency_s = float(environment.get("LATENCY_MS", "0")) / 1000
        self.ready_at = time.monotonic() + float(environment.get("READY_DELAY_S", "0"))
        self.requests = 0
        self.errors = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        with suppress(asyncio.IncompleteReadError, ConnectionError, ValueError):
            while head := await read_head(reader):
                method, path, headers = head
                body = await read_body(reader, headers)
                status, answer = await self.answer(method, path.split("?")[0], body)
                keep = headers.get("connection", "").lower() != "close"
                writer.write(render(status, answer, self.revision, headers.get("x-prediction-id"), keep))
                await writer.drain()
                if not keep:
                    break
        writer.close()

    async def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Decide on one answer: status and JSON."""
        parts = path.strip("/").split("/")
        if path == "/v2/health/live":
            return 200, {"live": True}
        if path == "/v2/health/ready":
            ready = time.monotonic() >= self.ready_at
            return (200, {"ready": True}) if ready else (503, {"error": "not ready yet"})
        if parts[:3] == ["v2", "models", self.model]:
            if parts[-1] == "infer":
                return await self.infer(body) if method == "POST" else (405, {"error": "use POST"})
            if parts[-1] == "ready":
                return 200, {"name": self.model, "ready": True}
            return 200, {
                "name": self.model,
                "versions": [self.revision],
                "platform": "test",
                "inputs": [],
                "outputs": [],
            }
        return 404, {"error": f"{path}: there is nothing here"}

    async def infer(self, body: bytes) -> Answer:
        """Answer as many zeros as the request has rows, or fail as often as it should."""
        try:
            request = json.loads(body)
            rows = request["inputs"][0]["shape"][0]
            answer = {"id": request["id"]} if "id" in request else {}
            zeros = [0] * int(rows)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            return 400, {"error": f"inputs: {error!r}"}
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        self.requests += 1
        # Evenly spread: after n requests the failed share is within 1/n of the rate, so no test depends on luck.
        if self.errors < int(self.requests * self.error_rate + 1e-9):
            self.errors += 1
            return 500, {"error": "failed as told by ERROR_RATE"}
        output = {"name": "predict", "shape": [len(zeros)], "datatype": "INT64", "data": zeros}
        return 200, {"model_name": self.model, "model_version": self.revision, **answer, "outputs": [output]}


async def read_head(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]] | None:
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


async def read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
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


def render(
    status: int, answer: dict[str, Any], revision: str, prediction_id: str | None, keep: bool
) -> bytes:
    """Write an answer."""
    body = json.dumps(answer).encode()
    reasons = {
        200: "OK",
        400: "Bad Request",
        404: "Not Found",
        405: "Method Not Allowed",
        503: "Service Unavailable",
    }
    head = [
        f"HTTP/1.1 {status} {reasons.get(status, 'Internal Server Error')}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"x-model-revision: {revision}",
        f"x-prediction-id: {prediction_id or uuid.uuid4().hex}",
        f"connection: {'keep-alive' if keep else 'close'}",
    ]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


async def run(environment: Mapping[str, str]) -> None:
    """Serve until SIGTERM, then let what is in flight end."""
    server = TestServer(environment)
    stop = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, stop.set)
    listener = await asyncio.start_server(
        server.serve, "0.0.0.0", int(environment.get("PERENNIAL_PORT", "3000"))
    )
    await stop.wait()
    # Routers hear of the end a little later.
    await asyncio.sleep(1 + server.latency_s)
    listener.close()


def main(environment: Mapping[str, str]) -> int:
    """Start, or fail as told."""
    if reason := environment.get("FAIL_REASON"):
        report = json.dumps({"reason": reason, "message": "failed as told by FAIL_REASON"})
        Path(environment.get("TERMINATION_LOG", "/dev/termination-log")).write_text(report, encoding="utf-8")
        print(report, file=sys.stderr)
        return 1
    asyncio.run(run(environment))
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
