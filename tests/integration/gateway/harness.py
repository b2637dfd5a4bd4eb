"""A gateway pod without Kubernetes: a real Envoy process, the real agent, and a source that tests write to."""

from __future__ import annotations

import asyncio
import io
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web
from perennial_gateway.admin import EnvoyAdmin
from perennial_gateway.agent import Agent
from perennial_gateway.applier import Applier, load_last_good
from perennial_gateway.clients import ClientCounter
from perennial_gateway.errors import EnvoyUnavailable, KeysUnavailable
from perennial_gateway.model import Backend, InvalidResource, Route, RouteKey, Snapshot
from perennial_gateway.peers import Knowledge
from perennial_gateway.prediction_log.collector import build_collector
from perennial_gateway.publisher import Publisher
from perennial_gateway.run_envoy import prepare
from perennial_gateway.server import Facts, build_app
from perennial_gateway.settings import AgentSettings, EnvoySettings

WAIT_S = 20.0
NOTHING_COUNTED: dict[str, Any] = {
    "requests": 0,
    "errors": 0,
    "active": 0,
    "slow": 0,
    "invalid": 0,
    "users": 0,
    "failingUsers": 0,
    "shadow": {"requests": 0, "errors": 0, "slow": 0},
}


def route(
    name: str,
    *backends: Backend,
    namespace: str = "shop",
    generation: int = 1,
    uid: str = "uid",
    **fields: Any,
) -> Route:
    return Route(RouteKey(namespace, name), uid, generation, backends, **fields)


class ListSource:
    """A `RouteSource` that tests write to."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._changed = asyncio.Event()

    def set(self, *routes: Route, invalid: dict[RouteKey, InvalidResource] | None = None) -> None:
        self._snapshot = Snapshot({r.key: r for r in routes}, invalid or {})
        self._changed.set()

    def snapshot(self) -> Snapshot | None:
        return self._snapshot

    async def wait_for_change(self) -> None:
        await self._changed.wait()
        self._changed.clear()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class GatewayPod:
    """Envoy and the agent, each of which can be stopped, killed and started again."""

    def __init__(self, observer_port: int, **overrides: Any) -> None:
        # Not pytest's tmp_path: the path of a Unix socket must stay below 108 characters.
        self.directory = Path(tempfile.mkdtemp(prefix="gw-"))
        agent_port = free_port()
        self.envoy_settings = EnvoySettings(
            agent_port=agent_port,
            gateway_directory=self.directory,
            pod_name="gateway-0",
            envoy_binary=str(Path(sys.executable).with_name("envoy")),
            listen_address="127.0.0.1",
            listen_port=free_port(),
            pin_port=free_port(),
            observer_host="127.0.0.1",
            observer_port=observer_port,
        )
        self.agent_settings = AgentSettings(
            **{
                "gateway_directory": self.directory,
                "pod_name": "gateway-0",
                "agent_address": "127.0.0.1",
                "agent_port": agent_port,
                "gateway_url": "http://gateway",
                "observer_url": f"http://127.0.0.1:{observer_port}",
                "log_interval_s": 0.05,
                "apply_timeout_s": 5.0,
                "cluster_grace_s": 0.2,
                **overrides,
            }
        )
        self.source = ListSource()
        self.url = f"http://127.0.0.1:{self.envoy_settings.listen_port}"
        self.pin_url = f"http://127.0.0.1:{self.envoy_settings.pin_port}"
        self.agent_url = f"http://127.0.0.1:{self.agent_settings.agent_port}"
        self.admin = EnvoyAdmin(self.agent_settings.admin_socket)
        self.envoy: asyncio.subprocess.Process | None = None
        self.log = self.directory / "envoy.log"
        self.keys = b""
        self.outdated = False
        self.knowledge = Knowledge(watching=True, digest="")
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        self.client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        await self.admin.__aenter__()
        await self.start_envoy()
        await self.start_agent()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_agent()
        await self.stop_envoy()
        await self.admin.__aexit__(None, None, None)
        await self.client.close()
        shutil.rmtree(self.directory)

    async def start_envoy(self) -> None:
        command = prepare(self.envoy_settings)
        with self.log.open("ab") as log:
            self.envoy = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        await self.until(self._envoy_answers, "Envoy answers")

    async def _envoy_answers(self) -> bool:
        try:
            await self.admin.read_counters()
        except EnvoyUnavailable:
            return False
        return True

    async def stop_envoy(self, number: int = signal.SIGTERM) -> None:
        if self.envoy:
            self.envoy.send_signal(number)
            await self.envoy.wait()
            self.envoy = None

    async def start_agent(self) -> None:
        publisher = Publisher(self.agent_settings, self.admin)
        applier = Applier(publisher, load_last_good(self.agent_settings.last_good_path))
        clients = ClientCounter(self.agent_settings.clients_path, self.agent_settings.most_clients)
        self.collector = build_collector(self.agent_settings)
        followers = (clients, self.collector)
        self.agent = Agent(self.agent_settings, self.source, publisher, applier, followers=followers)
        facts = Facts(
            pod="gateway-0",
            agent=self.agent,
            admin=self.admin,
            clients=clients,
            log=self.collector,
            watch_failures=dict,
            knowledge=lambda: self.knowledge,
            is_outdated=lambda: self.outdated,
            read_keys=self.read_keys,
        )
        self._runner = web.AppRunner(build_app(facts))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.agent_settings.agent_port).start()
        self._tasks = [
            asyncio.create_task(self.agent.run()),
            asyncio.create_task(clients.run(self.agent_settings.clients_socket)),
            asyncio.create_task(self.collector.run(self.agent_settings.capture_socket)),
        ]

    async def stop_agent(self) -> None:
        if self._tasks and self._runner:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._runner.cleanup()
            self._tasks = []

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait for a condition, plain or asynchronous."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            result = condition()
            if await result if asyncio.iscoroutine(result) else result:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"not within {WAIT_S} s: {what}\n{self.log.read_text()[-2000:]}")

    async def apply(self, *routes: Route, **kwargs: Any) -> float:
        """Set the routes, wait until all are applied or quarantined, and return how long it took, in ms."""
        self.source.set(*routes, **kwargs)
        started = time.perf_counter()
        want = {r.key: (r.uid, r.generation) for r in routes}

        def settled() -> bool:
            statuses = self.agent.statuses()
            return self.agent._seen is self.source.snapshot() and all(
                statuses[key].state == "Quarantined" or (statuses[key].uid, statuses[key].generation) == value
                for key, value in want.items()
            )

        await self.until(settled, "routes applied")
        return 1000 * (time.perf_counter() - started)

    async def read_keys(self) -> bytes:
        """Stand in for the API server's key set; tests set `keys`."""
        if not self.keys:
            raise KeysUnavailable("no keys")
        return self.keys

    async def counts(self, cluster: str) -> dict[str, Any]:
        """Return one revision's counters."""
        return (await self.status())["counters"].get(cluster, {})

    async def until_counts(self, cluster: str, **want: Any) -> None:
        """Wait until some of a revision's counters have these values; Envoy's logs may lag behind its answers."""

        async def reached() -> bool:
            got = await self.counts(cluster)
            return all(got.get(name) == value for name, value in want.items())

        try:
            await self.until(reached, f"{cluster} counts {want}")
        except AssertionError as error:
            raise AssertionError(f"want {want}, got {await self.counts(cluster)}") from error

    async def status(self) -> dict[str, Any]:
        async with self.client.get(f"{self.agent_url}/status") as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def call(
        self,
        path: str,
        *,
        method: str = "POST",
        host: str = "gateway",
        headers: dict[str, str] | None = None,
        data: bytes = b"{}",
        url: str = "",
    ) -> tuple[int, dict[str, str], Any]:
        """Return status, headers (lower case) and JSON body of one request through Envoy's public or another port."""
        async with self.client.request(
            method,
            f"{url or self.url}{path}",
            data=io.BytesIO(data),
            headers={"host": host, **(headers or {})},
        ) as response:
            got = {k.lower(): v for k, v in response.headers.items()}
            return response.status, got, await response.json(content_type=None)

    async def call_many(
        self, path: str, count: int, parallel: int = 16, **kwargs: Any
    ) -> list[tuple[int, dict[str, str], Any]]:
        results: list[tuple[int, dict[str, str], Any]] = []
        pending = iter(range(count))

        async def worker(numbers: Iterable[int]) -> None:
            for _ in numbers:
                results.append(await self.call(path, **kwargs))

        await asyncio.gather(*(worker(pending) for _ in range(parallel)))
        return results

    async def arms(self, path: str, clients: list[str], header: str) -> dict[str, str]:
        """Return which revision answers each client, asked once each, told apart by a header."""
        got: dict[str, str] = {}
        pending = iter(clients)

        async def worker(mine: Iterable[str]) -> None:
            for client in mine:
                _, headers, _ = await self.call(path, headers={header: client})
                got[client] = headers["x-model-revision"]

        await asyncio.gather(*(worker(pending) for _ in range(16)))
        return got
