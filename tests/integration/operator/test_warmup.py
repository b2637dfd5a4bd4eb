"""The warm-up's requests on a real server: what is sent, how much, and what counts as an error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from perennial.cluster.warmup import MOST_SAMPLE_BYTES, NoSampleError, measure, measure_apart
from perennial.errors import UnavailableError
from perennial.rollout.warmup import WarmUpPlan, assess_warm_up

from tests.integration.server.test_testserver import run_test_server

# Generous: a busy machine must not change the counts.
PLAN = WarmUpPlan(requests=40, in_flight=4, unmeasured=8, duration_s=60.0, timeout_s=60.0)
SAMPLE = b'{"inputs": []}'


class Server:
    """A model server that remembers what it was asked."""

    def __init__(self, infer: Callable[[], Awaitable[web.StreamResponse]] | None = None) -> None:
        self.sample_status, self.sample_body = 200, SAMPLE
        self.infer = infer or self._answer
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.under_way = 0
        self.most_under_way = 0

    async def _answer(self) -> web.StreamResponse:
        return web.json_response({"outputs": []})

    async def _on_sample(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=self.sample_status, body=self.sample_body)

    async def _on_infer(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.read())
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await self.infer()
        finally:
            self.under_way -= 1

    @asynccontextmanager
    async def run(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_get("/sample", self._on_sample)
        app.router.add_post("/v2/models/wine/infer", self._on_infer)
        async with TestServer(app) as server:
            yield f"{server.host}:{server.port}"


async def test_sample_is_sent_marked_and_only_the_planned_number_is_measured() -> None:
    server = Server()
    async with server.run() as address:
        got = await measure([address], "wine", PLAN)
    assert (len(got.latencies_ms), got.errors) == (40, 0)
    assert all(latency_ms > 0 for latency_ms in got.latencies_ms)
    assert server.bodies == [SAMPLE] * 48
    assert {h["x-perennial-probe"] for h in server.headers} == {"true"}
    assert not any("x-prediction-id" in h for h in server.headers)


async def test_no_more_are_under_way_than_planned() -> None:
    async def slow() -> web.StreamResponse:
        await asyncio.sleep(0.01)
        return web.json_response({})

    server = Server(slow)
    async with server.run() as address:
        got = await measure([address], "wine", PLAN)
    assert server.most_under_way == 4
    assert min(got.latencies_ms) >= 10


async def test_every_pod_gets_its_share() -> None:
    one, two = Server(), Server()
    async with one.run() as first, two.run() as second:
        await measure([first, second], "wine", PLAN)
    assert (len(one.bodies), len(two.bodies)) == (24, 24)


async def test_slow_model_is_asked_no_longer_than_planned() -> None:
    released = asyncio.Event()

    async def stuck() -> web.StreamResponse:
        await released.wait()
        return web.json_response({})

    server = Server(stuck)
    async with server.run() as address:
        got = await measure([address], "wine", WarmUpPlan(duration_s=0.05, timeout_s=1.0))
        released.set()
    assert (got.latencies_ms, got.errors) == ((), 4)
    assert got.first_error


async def test_errors_are_counted_apart_from_latencies() -> None:
    async def fail() -> web.StreamResponse:
        return web.Response(status=503)

    server = Server(fail)
    async with server.run() as address:
        got = await measure([address], "wine", PLAN)
    assert (got.latencies_ms, got.errors, got.first_error) == ((), 40, "HTTP 503")


async def test_redirect_is_an_error_and_not_followed() -> None:
    async def away() -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    server = Server(away)
    async with server.run() as address:
        got = await measure([address], "wine", PLAN)
    assert (got.errors, got.first_error) == (40, "HTTP 307")


async def test_server_without_sample_is_told_from_one_that_is_away() -> None:
    server = Server()
    server.sample_status = 404
    async with server.run() as address:
        with pytest.raises(NoSampleError, match="no sample request"):
            await measure([address], "wine", PLAN)
    with pytest.raises(UnavailableError):
        await measure([address], "wine", PLAN)
    with pytest.raises(UnavailableError, match="no pod"):
        await measure([], "wine", PLAN)
    assert server.bodies == []


async def test_pod_that_is_away_has_another_beside_it() -> None:
    server, gone = Server(), Server()
    async with gone.run() as dead:
        pass
    async with server.run() as address:
        got = await measure([dead, address], "wine", PLAN)
    assert len(got.latencies_ms) == 20
    assert got.errors == 20


async def test_sample_that_is_too_large_is_not_read_to_the_end() -> None:
    server = Server()
    server.sample_body = b"x" * (MOST_SAMPLE_BYTES + 1)
    async with server.run() as address:
        with pytest.raises(NoSampleError, match="larger than"):
            await measure([address], "wine", PLAN)


async def test_measurement_runs_apart_from_the_callers_loop() -> None:
    server = Server()
    async with server.run() as address:
        got = await measure_apart([address], "wine", PLAN)
    assert len(got.latencies_ms) == 40


@pytest.mark.parametrize(("slow_ms", "budget_ms", "within"), [("0", 60_000.0, True), ("100", 50.0, False)])
def test_server_that_speaks_for_itself_is_measured_to_the_end(tmp_path, slow_ms, budget_ms, within) -> None:
    with run_test_server(tmp_path, SLOW_RATE="1", SLOW_MS=slow_ms) as server:
        address = server.url.removeprefix("http://")
        plan = WarmUpPlan(requests=40, duration_s=60.0, timeout_s=60.0)
        measured = asyncio.run(measure([address], "wine", plan))
    got = assess_warm_up("wine-b", measured, budget_ms, datetime(2026, 1, 1, tzinfo=UTC))
    assert (got.requests, got.errors, got.within_budget) == (40, 0, within)
