"""The fault proxy against a little TLS server: what it counts, whom it kills, what it holds back."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from tests.e2e.support.kube import wait_for
from tests.faults.support.calls import WriteClass, read_call
from tests.faults.support.certificates import Certificates, write_certificates
from tests.faults.support.loop_thread import LoopThread
from tests.faults.support.operator import HostOperator
from tests.faults.support.plans import Answer, CrashPoint, Hang, Side
from tests.faults.support.proxy import FaultProxy
from tests.faults.support.upstream import Upstream

THINGS = "/apis/example.dev/v1/namespaces/shop/things"
EVENTS = "/apis/events.k8s.io/v1/namespaces/shop/events"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/shop/leases/lead"
PATIENCE_S = 20
FOREVER = (sys.executable, "-c", "import time; time.sleep(600)")


class LittleServer:
    """Answers every write, remembers it, and streams the events that it is given."""

    def __init__(self, certificates: Certificates) -> None:
        self.seen: list[tuple[str, str, str]] = []
        self._certificates = certificates
        self._loop = LoopThread("little-server")
        self._streams: list[web.StreamResponse] = []
        self.port: int = self._loop.run(self._start())

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def count_watches(self) -> int:
        return self._loop.call(lambda: len(self._streams))

    def emit(self, kind: str, name: str) -> None:
        line = json.dumps({"type": kind, "object": {"metadata": {"name": name}}}, separators=(",", ":"))

        async def write() -> None:
            for stream in self._streams:
                await stream.write(line.encode() + b"\n")

        self._loop.run(write())

    def close(self) -> None:
        self._loop.run(self._runner.cleanup())
        self._loop.close()

    async def _start(self) -> int:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._certificates.server_tls()).start()
        return int(self._runner.addresses[0][1])

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.path_qs, request.headers.get("User-Agent", "")))
        if request.query.get("watch") == "true":
            stream = web.StreamResponse()
            await stream.prepare(request)
            self._streams.append(stream)
            await asyncio.Event().wait()
        text = await request.text()
        return web.json_response({"got": text}, status=201 if request.method == "POST" else 200)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LittleServer]:
    directory = tmp_path / "server"
    directory.mkdir()
    little = LittleServer(write_certificates(directory))
    yield little
    little.close()


@pytest.fixture
def proxy(server: LittleServer, tmp_path: Path) -> Iterator[FaultProxy]:
    upstream = Upstream(server.url, server._certificates.client_tls())
    scope = {"/apis/example.dev/v1/things": THINGS}
    with FaultProxy(upstream, tmp_path, name="one", scope=scope) as running:
        yield running


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[httpx.Client]:
    tls = proxy.certificates.client_tls()
    with httpx.Client(base_url=proxy.url, verify=tls, timeout=PATIENCE_S, trust_env=False) as session:
        yield session


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(FOREVER)
    yield process
    process.kill()
    process.wait()


class Watcher:
    """Reads one watch in a thread; `names` are those of the events that came through."""

    def __init__(self, client: httpx.Client) -> None:
        self.names: list[str] = []
        self.ended = threading.Event()
        self._client = client
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            with self._client.stream(
                "GET", "/apis/example.dev/v1/things", params={"watch": "true"}
            ) as answer:
                for line in answer.iter_lines():
                    self.names.append(json.loads(line)["object"]["metadata"]["name"])
        except httpx.HTTPError:
            pass
        self.ended.set()


@pytest.fixture
def watcher(client: httpx.Client, server: LittleServer) -> Watcher:
    reading = Watcher(client)
    wait_for(lambda: server.count_watches() == 1, timeout_s=PATIENCE_S, what="the watch")
    return reading


def wait_until(probe: Callable[[], Any], what: str) -> None:
    wait_for(probe, timeout_s=PATIENCE_S, what=what, interval_s=0.02)


def test_request_passes_unchanged_but_for_the_user_agent(
    client: httpx.Client, proxy: FaultProxy, server: LittleServer
) -> None:
    got = client.patch(f"{THINGS}/a?force=true&fieldManager=x%2Fy", content=b'{"a": 1}')
    assert got.json() == {"got": '{"a": 1}'}
    assert server.seen == [("PATCH", f"{THINGS}/a?force=true&fieldManager=x%2Fy", "perennial-faults/one")]
    record = proxy.records()[0]
    assert (record.call.namespace, record.call.plural, record.call.name) == ("shop", "things", "a")


def test_cluster_wide_collection_is_narrowed_to_the_namespace(
    client: httpx.Client, server: LittleServer
) -> None:
    client.get("/apis/example.dev/v1/things?limit=5")
    assert server.seen[0][1] == f"{THINGS}?limit=5"


def test_writes_are_numbered_without_leases_events_and_questions(
    client: httpx.Client, proxy: FaultProxy
) -> None:
    client.post(THINGS, json={"metadata": {"name": "a"}})
    client.put(LEASE, json={})
    client.post(EVENTS, json={})
    client.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json={})
    client.post("/api/v1/namespaces/shop/serviceaccounts/a/token", json={})
    client.get(f"{THINGS}/a")
    client.put(f"{THINGS}/a/status", json={})
    client.delete(f"{THINGS}/a")
    numbered = [str(r.call) for r in proxy.records() if r.number]
    assert numbered == ["POST things/a", "PUT things/a/status", "DELETE things/a"]
    assert [r.number for r in proxy.records() if r.number] == [1, 2, 3]
    assert proxy.count_writes() == 3


@pytest.mark.parametrize(
    ("method", "path", "want"),
    [
        ("PATCH", "/api/v1/namespaces/shop/services/a", WriteClass.NUMBERED),
        ("DELETE", "/api/v1/namespaces/shop", WriteClass.NUMBERED),
        ("POST", "/api/v1/namespaces/shop/events", WriteClass.EVENT),
        ("GET", "/api/v1/namespaces/shop/services/a", WriteClass.READ),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews", WriteClass.READ),
    ],
)
def test_write_is_told_from_the_path(method: str, path: str, want: WriteClass) -> None:
    assert read_call(method, path).write_class is want


@pytest.mark.parametrize(("side", "reaches_server"), [(Side.BEFORE, False), (Side.AFTER, True)])
def test_crash_point_kills_on_its_side_of_the_write(
    request: pytest.FixtureRequest, victim: subprocess.Popen[bytes], side: Side, reaches_server: bool
) -> None:
    client, proxy, server = (request.getfixturevalue(name) for name in ("client", "proxy", "server"))
    proxy.begin(CrashPoint(2, side), victim.kill)
    client.put(f"{THINGS}/a", json={})
    assert victim.poll() is None
    with pytest.raises(httpx.HTTPError):
        client.put(f"{THINGS}/b", json={})
    assert victim.wait(PATIENCE_S) == -9
    assert proxy.crashed_at_s() is not None
    assert [path for _, path, _ in server.seen] == [f"{THINGS}/a"] + [f"{THINGS}/b"] * reaches_server
    assert [r.status for r in proxy.records()] == [200, 200 if reaches_server else None]
    assert client.put(f"{THINGS}/c", json={}).status_code == 200, "it crashes once"


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_every_request_gets_the_error_until_the_fault_heals(
    client: httpx.Client, proxy: FaultProxy, server: LittleServer, status: int
) -> None:
    proxy.inject(Answer(status))
    got = [client.get(f"{THINGS}/a"), client.put(LEASE, json={})]
    assert [answer.status_code for answer in got] == [status, status]
    assert got[0].json()["kind"] == "Status"
    assert "Retry-After" not in got[0].headers
    assert server.seen == []
    proxy.heal()
    assert client.get(f"{THINGS}/a").status_code == 200


def test_too_many_requests_says_when_to_come_back(client: httpx.Client, proxy: FaultProxy) -> None:
    proxy.inject(Answer(429, retry_after_s=7))
    assert client.get(f"{THINGS}/a").headers["Retry-After"] == "7"


def test_error_ends_the_watches(client: httpx.Client, proxy: FaultProxy, watcher: Watcher) -> None:
    proxy.inject(Answer(500))
    assert watcher.ended.wait(PATIENCE_S)


def test_hanging_request_is_answered_once_the_fault_heals(
    client: httpx.Client, proxy: FaultProxy, server: LittleServer
) -> None:
    proxy.inject(Hang())
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.append(client.put(f"{THINGS}/a", json={}).status_code))
    thread.start()
    with pytest.raises(httpx.TimeoutException):
        client.get(f"{THINGS}/b", timeout=0.3)
    wait_until(lambda: proxy.count_waiting() == 1, "the one that gave up is gone")
    assert server.seen == []
    proxy.heal()
    thread.join(PATIENCE_S)
    assert got == [200]
    assert [path for _, path, _ in server.seen] == [f"{THINGS}/a"], "who has gone away asks nothing"


def test_hanging_watch_delivers_afterwards(proxy: FaultProxy, server: LittleServer, watcher: Watcher) -> None:
    server.emit("ADDED", "a")
    wait_until(lambda: watcher.names == ["a"], "the first event")
    proxy.inject(Hang())
    server.emit("ADDED", "b")
    assert not watcher.ended.is_set()
    assert watcher.names == ["a"]
    proxy.heal()
    wait_until(lambda: watcher.names == ["a", "b"], "the second event")


def test_held_events_come_late_and_dropped_ones_never(
    proxy: FaultProxy, server: LittleServer, watcher: Watcher
) -> None:
    proxy.drop_events("things", 1)
    server.emit("ADDED", "lost")
    server.emit("BOOKMARK", "mark")
    server.emit("ADDED", "a")
    wait_until(lambda: watcher.names == ["mark", "a"], "all but the dropped one")
    assert proxy.count_dropped("things") == 1
    proxy.hold_events("things")
    server.emit("ADDED", "b")
    assert watcher.names == ["mark", "a"]
    proxy.release_events("things")
    wait_until(lambda: watcher.names == ["mark", "a", "b"], "the held one")


def test_held_write_reaches_the_server_only_when_released(
    client: httpx.Client, proxy: FaultProxy, server: LittleServer
) -> None:
    held = proxy.hold_next_write(lambda call: call.subresource == "status")
    client.put(f"{THINGS}/a", json={})
    thread = threading.Thread(target=lambda: client.put(f"{THINGS}/a/status", json={}))
    thread.start()
    assert held.reached.wait(PATIENCE_S)
    client.put(f"{THINGS}/b", json={})
    proxy.release(held)
    thread.join(PATIENCE_S)
    assert held.status == 200
    assert [path for _, path, _ in server.seen] == [f"{THINGS}/a", f"{THINGS}/b", f"{THINGS}/a/status"]


def test_kubeconfig_names_the_proxy_and_its_authority(proxy: FaultProxy) -> None:
    path = proxy.write_kubeconfig("a-token")
    read = Upstream.read(path)
    assert read.server == proxy.url
    assert path.stat().st_mode & 0o077 == 0
    with httpx.Client(verify=read.tls, trust_env=False) as client:
        assert client.get(f"{proxy.url}{THINGS}").status_code == 200


def test_killed_operator_is_started_again_and_a_stopped_one_is_not(tmp_path: Path) -> None:
    with HostOperator(tmp_path / "log", {}, command=FOREVER) as operator:
        first = operator.pid
        operator.kill()
        wait_until(lambda: operator.pid != first, "another process")
        assert operator.restarts == 1
        assert operator.unexpected_exits == []
    assert operator.restarts == 1


def test_operator_that_ends_by_itself_is_told_apart(tmp_path: Path) -> None:
    code = "import os, sys, time; os.path.exists(sys.argv[1]) and time.sleep(600); open(sys.argv[1], 'w'); sys.exit(3)"
    command = (sys.executable, "-c", code, str(tmp_path / "was-here"))
    with HostOperator(tmp_path / "log", {}, command=command) as operator:
        wait_until(lambda: operator.unexpected_exits == [3], "the exit")
        wait_until(lambda: operator.restarts == 1, "the next start")
