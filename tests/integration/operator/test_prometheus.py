"""The reader against real sockets that answer well, badly, late, too much, or not at all."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from perennial.cluster.prometheus import MOST_BYTES, Prometheus
from perennial.rollout.observed import Reading
from perennial_api.modeldeployment.analysis import Metric

NAMES = {"revision": "wine-2", "stable": "wine-1", "namespace": "shop", "deployment": "wine"}
ONE = {"status": "success", "data": {"resultType": "scalar", "result": [1.0, "0.5"]}}


class FakePrometheus:
    """Answers by what the query says, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.address = ""
        self.released = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        query = request.query["query"]
        self.asked.append(query)
        match query:
            case "hang":
                await self.released.wait()
            case "flood":
                return web.Response(body=b" " * (4 * MOST_BYTES))
            case "redirect":
                raise web.HTTPFound(f"{self.address}/api/v1/query?query=elsewhere")
        return web.json_response(ONE)


@pytest.fixture
async def server() -> AsyncIterator[FakePrometheus]:
    fake = FakePrometheus()
    app = web.Application()
    app.router.add_get("/api/v1/query", fake.answer)
    running = TestServer(app, host="127.0.0.1")
    await running.start_server()
    fake.address = f"http://127.0.0.1:{running.port}"
    yield fake
    fake.released.set()
    await running.close()


def metric(address: str, query: str, name: str = "revenue") -> Metric:
    bounds = {"address": address, "query": query, "min": 0.1}
    return Metric.model_validate({"name": name, "type": "Prometheus", "prometheus": bounds})


async def read(address: str, query: str, *, allowed: str | None = None, timeout_s: float = 5.0) -> Reading:
    prometheus = Prometheus([allowed or address], timeout_s=timeout_s)
    try:
        return (await prometheus.observe([metric(address, query)], NAMES))["revenue"]
    finally:
        await prometheus.close()


async def test_number_is_read_and_the_query_knows_the_names(server: FakePrometheus) -> None:
    got = await read(server.address, 'sales{revision="{{revision}}",ns="{{namespace}}"}')
    assert got == Reading(0.5)
    assert server.asked == ['sales{revision="wine-2",ns="shop"}']


async def test_address_that_is_not_allowed_is_never_called(server: FakePrometheus) -> None:
    got = await read(server.address, "sales", allowed="http://prometheus:9090")
    assert (got.value, got.reason) == (None, "AddressNotAllowed")
    assert server.asked == []


async def test_redirect_is_not_followed(server: FakePrometheus) -> None:
    got = await read(server.address, "redirect")
    assert (got.value, got.reason) == (None, "BadAnswer")
    assert server.asked == ["redirect"]


async def test_late_answer_is_none(server: FakePrometheus) -> None:
    got = await read(server.address, "hang", timeout_s=0.2)
    assert (got.value, got.reason) == (None, "TimedOut")


async def test_flood_is_cut_off(server: FakePrometheus) -> None:
    got = await read(server.address, "flood")
    assert (got.value, got.reason) == (None, "AnswerTooLarge")


async def test_nobody_at_the_address_is_said(unused_tcp_port: int) -> None:
    got = await read(f"http://127.0.0.1:{unused_tcp_port}", "sales")
    assert (got.value, got.reason) == (None, "Unreachable")


async def test_one_that_hangs_keeps_no_other_from_being_read(server: FakePrometheus) -> None:
    prometheus = Prometheus([server.address], timeout_s=0.5)
    metrics = [metric(server.address, "hang", "slow"), metric(server.address, "sales", "fast")]
    got = await prometheus.observe(metrics, NAMES)
    await prometheus.close()
    assert {name: reading.reason for name, reading in got.items()} == {"slow": "TimedOut", "fast": ""}


async def test_other_types_of_metric_are_not_asked(server: FakePrometheus) -> None:
    prometheus = Prometheus([server.address])
    errors = Metric.model_validate({"name": "errors", "type": "ErrorRate"})
    assert await prometheus.observe([errors], NAMES) == {}
    await prometheus.close()
    assert server.asked == []
