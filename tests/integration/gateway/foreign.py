"""A model server that isn't Perennial's, and an observer that takes its predictions from the gateway."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import web
from perennial_gateway.model import Endpoint

INFER = "/shop/wine/v2/models/m/infer"


def question(*values: float) -> bytes:
    tensor = {"name": "alcohol", "shape": [len(values)], "datatype": "FP64", "data": values}
    return json.dumps({"inputs": [tensor]}).encode()


def double(values: list[float]) -> bytes:
    tensor = {
        "name": "predict",
        "shape": [len(values)],
        "datatype": "FP64",
        "data": [2 * value for value in values],
    }
    return json.dumps({"model_name": "m", "outputs": [tensor]}).encode()


@dataclass
class Served:
    port: int

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self.port)


@asynccontextmanager
async def serving(answer: Any) -> AsyncIterator[Served]:
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield Served(site._server.sockets[0].getsockname()[1])
    finally:
        await runner.cleanup()


async def answer_doubled(request: web.Request) -> web.StreamResponse:
    """Answer twice each number, in two pieces; 422 to what it can't read."""
    try:
        (tensor,) = json.loads(await request.read())["inputs"]
    except (ValueError, KeyError):
        return web.json_response({"error": "not understood"}, status=422)
    body = double(tensor["data"])
    if "gzip" in request.headers.get("accept-encoding", ""):
        return web.Response(body=gzip.compress(body), headers={"content-encoding": "gzip"})
    # A server that forges the gateway's headers must not get into another revision's log.
    response = web.StreamResponse(headers={"x-model-revision": "forged", "x-prediction-id": "forged"})
    response.content_type = "application/json"
    await response.prepare(request)
    await response.write(body[:10])
    await response.write(body[10:])
    return response


async def answer_doubled_raw(request: web.Request) -> web.Response:
    """Answer raw numbers with twice each, raw, as Triton does to its own client."""
    body = await request.read()
    if request.headers.get("content-encoding") == "gzip":
        body = body if body[:1] == b"{" else gzip.decompress(body)
    size = int(request.headers["inference-header-content-length"])
    (tensor,) = json.loads(body[:size])["inputs"]
    doubled = (2 * np.frombuffer(body[size:], np.float32)).tobytes()
    answer = {
        "name": "predict",
        "shape": tensor["shape"],
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(doubled)},
    }
    text = json.dumps({"model_name": "m", "outputs": [answer]}).encode()
    headers = {"inference-header-content-length": str(len(text))}
    return web.Response(body=text + doubled, headers=headers, content_type="application/octet-stream")


@dataclass
class LoggedRows:
    """What an observer was sent, and how it answers."""

    status: int = 202
    posts: list[dict[str, Any]] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    unknown: set[str] = field(default_factory=set)
    """Names of deployments that it hasn't heard of."""

    not_found: int = 0

    def __post_init__(self) -> None:
        self.released.set()

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        await self.released.wait()
        if request.path.split("/")[-2] in self.unknown:
            self.not_found += 1
            return web.json_response({"error": {"reason": "DeploymentNotFound"}}, status=404)
        if self.status == 202:
            authorization = request.headers.get("authorization", "")
            self.posts.append({"path": request.path, "token": authorization, **json.loads(body)})
        return web.json_response({}, status=self.status)

    @property
    def groups(self) -> list[dict[str, Any]]:
        return [group for post in self.posts for group in post["groups"]]

    @property
    def ids(self) -> list[str]:
        return [name for group in self.groups for name in group["ids"]]

    @property
    def rows(self) -> dict[str, tuple[Any, Any]]:
        """By prediction id, of requests of one row: input and output."""
        return {
            name: (alcohol, predict)
            for group in self.groups
            for name, alcohol, predict in zip(
                group["ids"], group["inputs"]["alcohol"], group["outputs"]["predict"], strict=True
            )
        }
