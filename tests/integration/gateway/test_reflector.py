"""Following an API server that closes watches, forgets versions and fails, spoken to over real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client
from perennial_gateway import reflector
from perennial_gateway.reflector import Reflector

from tests.integration.gateway.harness import free_port


class ApiServer:
    """Serves one kind; tests push watch events and failures."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.version = 1
        self.lists = 0
        self.watched_from: list[str] = []
        self.fail_next = 0
        self._events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def put(self, name: str, kind: str = "MODIFIED") -> None:
        self.version += 1
        body = {"metadata": {"name": name, "namespace": "shop", "resourceVersion": str(self.version)}}
        if kind == "DELETED":
            self.items.pop(name)
        else:
            self.items[name] = body
        self._events.put_nowait({"type": kind, "object": body})

    def end_watch(self) -> None:
        self._events.put_nowait(None)

    def forget_versions(self) -> None:
        status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
        self._events.put_nowait({"type": "ERROR", "object": status})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.fail_next:
            self.fail_next -= 1
            return web.Response(status=503)
        if "watch" not in request.query:
            return self._list(request)
        self.watched_from.append(request.query["resourceVersion"])
        response = web.StreamResponse(headers={"content-type": "application/json"})
        await response.prepare(request)
        while event := await self._events.get():
            await response.write(json.dumps(event).encode() + b"\n")
            if event["type"] == "ERROR":
                break
        return response

    def _list(self, request: web.Request) -> web.Response:
        """Answer in pages of one."""
        self.lists += 1
        names = sorted(self.items)
        at = int(request.query.get("continue", 0))
        metadata = {"resourceVersion": str(self.version)}
        if at + 1 < len(names):
            metadata["continue"] = str(at + 1)
        return web.json_response({"metadata": metadata, "items": [self.items[n] for n in names[at : at + 1]]})


@pytest.fixture
async def api_server() -> AsyncIterator[tuple[ApiServer, client.ApiClient]]:
    server = ApiServer()
    app = web.Application()
    app.router.add_get("/apis/perennial.dev/v1alpha1/modelroutes", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with client.ApiClient(client.Configuration(host=f"http://127.0.0.1:{port}")) as api:
        yield server, api
    await runner.cleanup()


@pytest.fixture
async def following(api_server, monkeypatch) -> AsyncIterator[tuple[ApiServer, Reflector]]:
    server, api = api_server
    monkeypatch.setattr(reflector, "FIRST_RETRY_S", 0.01)
    server.put("a")
    server.put("b")
    server._events = asyncio.Queue()
    got = Reflector(
        api,
        group="perennial.dev",
        version="v1alpha1",
        plural="modelroutes",
        on_change=lambda: None,
        request_timeout_s=5.0,
        resync_s=60.0,
    )
    task = asyncio.create_task(got.run())
    await until(lambda: server.watched_from)
    yield server, got
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the condition is another task's plain state
            await asyncio.sleep(0.01)


def names(got: Reflector) -> set[str]:
    return {name for _, name in got.objects}


async def test_list_is_read_page_by_page_and_events_follow(following) -> None:
    server, got = following
    assert names(got) == {"a", "b"}
    assert server.lists == 2
    server.put("c", "ADDED")
    server.put("a", "DELETED")
    await until(lambda: names(got) == {"b", "c"})


async def test_closed_watch_goes_on_from_the_last_version_without_a_list(following) -> None:
    server, got = following
    server.put("c", "ADDED")
    await until(lambda: "c" in names(got))
    server.end_watch()
    await until(lambda: len(server.watched_from) == 2)
    assert server.watched_from[1] == str(server.version)
    assert server.lists == 2
    assert got.failures == 0


async def test_forgotten_version_lists_again(following) -> None:
    server, got = following
    server.items.pop("b")
    server.forget_versions()
    await until(lambda: names(got) == {"a"})


async def test_failing_server_keeps_what_is_known_and_is_asked_again(following) -> None:
    server, got = following
    server.fail_next = 3
    server.end_watch()
    await until(lambda: got.failures >= 3)
    assert names(got) == {"a", "b"}
    await until(lambda: len(server.watched_from) == 2)
    server.put("c", "ADDED")
    await until(lambda: "c" in names(got))


async def test_large_event_is_read(following) -> None:
    server, got = following
    server.put("c", "ADDED")
    server.items["c"]["padding"] = "x" * 500_000
    await until(lambda: "c" in names(got))
    assert len(got.objects["shop", "c"]["padding"]) == 500_000


async def test_silence_is_measured_from_the_last_word_of_the_server(following, monkeypatch) -> None:
    server, got = following
    assert got.silent_s() < 10
    got._heard_at -= 100
    assert got.silent_s() > 99
    server.put("c", "ADDED")
    await until(lambda: got.silent_s() < 50)
    server.fail_next = 1000
    server.end_watch()
    await until(lambda: got.failures)
    got._heard_at -= 100
    failures = got.failures
    await until(lambda: got.failures > failures)
    assert got.silent_s() > 99
