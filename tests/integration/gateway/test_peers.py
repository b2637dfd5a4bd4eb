"""A router that is cut off from the API server, and what the other gateway pods say to that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from perennial_gateway import peers
from perennial_gateway.peers import Knowledge, Peers

from tests.integration.gateway.harness import free_port

OWN = Knowledge(watching=False, digest="old")


class Peer:
    """Another gateway pod's agent."""

    def __init__(self) -> None:
        self.answer: Knowledge | None = None
        self.asked = 0

    async def handle(self, _request: web.Request) -> web.Response:
        self.asked += 1
        if self.answer is None:
            return web.Response(status=503)
        return web.json_response(self.answer.model_dump())


@pytest.fixture
async def peer(monkeypatch) -> AsyncIterator[tuple[Peer, int]]:
    monkeypatch.setattr(peers, "POLL_S", 0.01)
    peer, port = Peer(), free_port()
    app = web.Application()
    app.router.add_get("/knowledge", peer.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield peer, port
    await runner.cleanup()


@asynccontextmanager
async def asking(port: int, silence_s: list[float]) -> AsyncIterator[Peers]:
    got = Peers("127.0.0.1", port, lambda: OWN, lambda: silence_s[0], 15.0)
    task = asyncio.create_task(got.run())
    yield got
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def asked_again(peer: Peer) -> None:
    before = peer.asked
    async with asyncio.timeout(10):
        while peer.asked < before + 2:  # noqa: ASYNC110 - another task's plain state
            await asyncio.sleep(0.01)


async def until_newer(got: Peers, want: bool) -> None:
    async with asyncio.timeout(10):
        while got.newer is not want:  # noqa: ASYNC110 - another task's plain state
            await asyncio.sleep(0.01)


async def test_cut_off_router_is_outdated_once_a_peer_knows_other_routes(peer) -> None:
    other, port = peer
    silence_s = [60.0]
    async with asking(port, silence_s) as got:
        other.answer = Knowledge(watching=True, digest="old")
        await asked_again(other)
        assert got.newer is False
        other.answer = Knowledge(watching=True, digest="new")
        await until_newer(got, True)
        # The peer goes too: its last word stands.
        other.answer = None
        await asked_again(other)
        assert got.newer is True
        silence_s[0] = 0.0
        await until_newer(got, False)


async def test_peer_that_is_cut_off_as_well_proves_nothing(peer) -> None:
    other, port = peer
    other.answer = Knowledge(watching=False, digest="other")
    async with asking(port, [60.0]) as got:
        await asked_again(other)
        assert got.newer is False


async def test_router_that_hears_the_api_server_asks_nobody(peer) -> None:
    other, port = peer
    other.answer = Knowledge(watching=True, digest="new")
    silence_s = [1.0]
    async with asking(port, silence_s) as got:
        await asyncio.sleep(0)
        assert (got.newer, other.asked) == (False, 0)
        silence_s[0] = 60.0
        await until_newer(got, True)


async def test_outdated_router_turns_unready_and_says_why(pod) -> None:
    await pod.apply()
    async with pod.client.get(f"{pod.agent_url}/readyz") as response:
        assert response.status == 200
    pod.outdated = True
    async with pod.client.get(f"{pod.agent_url}/readyz") as response:
        assert response.status == 503
        assert "newer routes" in await response.text()
