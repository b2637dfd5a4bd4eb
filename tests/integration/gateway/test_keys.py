"""Reading the API server's keys over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from kubernetes.aio import client
from perennial_gateway.errors import KeysUnavailable
from perennial_gateway.jwks import ServiceAccountKeys

from tests.integration.gateway.harness import free_port
from tests.integration.gateway.tokens import Issuer


class ApiServer:
    """Serves the key set, or fails."""

    def __init__(self) -> None:
        self.keys = Issuer().jwks()
        self.status = 200

    async def answer(self, _request: web.Request) -> web.Response:
        if self.status != 200:
            return web.Response(status=self.status)
        return web.Response(body=self.keys, headers={"content-type": "application/jwk-set+json"})


@pytest.fixture
async def api_server() -> AsyncIterator[tuple[ApiServer, ServiceAccountKeys]]:
    server, port = ApiServer(), free_port()
    app = web.Application()
    app.router.add_get("/openid/v1/jwks", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with client.ApiClient(client.Configuration(host=f"http://127.0.0.1:{port}")) as api:
        yield server, ServiceAccountKeys(api, 5.0)
    await runner.cleanup()


async def test_keys_are_passed_on_as_they_are_and_new_ones_replace_them(api_server) -> None:
    server, keys = api_server
    assert await keys.read() == server.keys
    server.keys = Issuer("k2").jwks()
    assert await keys.read() == server.keys


async def test_last_keys_stand_in_while_the_api_server_fails(api_server) -> None:
    server, keys = api_server
    want = await keys.read()
    server.status = 503
    assert await keys.read() == want


async def test_without_any_keys_that_is_said(api_server) -> None:
    server, keys = api_server
    server.status = 403
    with pytest.raises(KeysUnavailable, match="403"):
        await keys.read()


async def test_api_server_that_is_away_is_no_reason_to_crash() -> None:
    async with client.ApiClient(client.Configuration(host=f"http://127.0.0.1:{free_port()}")) as api:
        with pytest.raises(KeysUnavailable):
            await ServiceAccountKeys(api, 5.0).read()
