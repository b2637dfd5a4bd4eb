"""A real observer on loopback: SQLite, HTTP and, where asked for, the detector sidecar as a process."""

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
import uvicorn
from perennial_api import ModelDeployment
from perennial_api.labels import ServiceAccountRole
from perennial_api.monitorreport import MonitorReportStatus
from perennial_observer.api.app import build_app
from perennial_observer.auth import Caller
from perennial_observer.errors import Unauthenticated
from perennial_observer.main import Observer, build_observer
from perennial_observer.registry import Registry
from perennial_observer.settings import Settings
from perennial_observer.store.rows import DeploymentKey

from tests.contract.detectors.process import make_python, run_sidecar

from .postgres import Postgres, run_postgres

KEY = DeploymentKey(uid="uid-1", namespace="shop", name="wine")
OTHER = DeploymentKey(uid="uid-2", namespace="bank", name="fraud")


@pytest.fixture(scope="session")
def sidecar_socket() -> Iterator[Path]:
    """The sidecar's socket, with the process that its image runs."""
    with run_sidecar(make_python()) as path:
        yield path


@dataclass
class FakeCluster:
    """Stands for the API server: knows tokens, keeps reports."""

    tokens: dict[str, Caller] = field(default_factory=dict)
    written: list[MonitorReportStatus] = field(default_factory=list)

    async def read(self, token: str) -> Caller:
        try:
            return self.tokens[token]
        except KeyError:
            raise Unauthenticated("the token is not known", "InvalidToken") from None

    async def write(self, key: DeploymentKey, status: MonitorReportStatus) -> None:
        assert key == KEY
        self.written.append(status)


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(
        tokens={
            "server": Caller(ServiceAccountRole.SERVER, KEY),
            "other-server": Caller(ServiceAccountRole.SERVER, OTHER),
            "trainer": Caller(ServiceAccountRole.TRAINER, KEY),
            "pusher": Caller(ServiceAccountRole.PUSHER, None),
            "gateway": Caller(ServiceAccountRole.GATEWAY, None),
        }
    )


@dataclass
class Running:
    """An observer that serves; looks are taken by hand, so that a test knows when."""

    observer: Observer
    client: httpx.AsyncClient
    cluster: FakeCluster

    async def look(self) -> MonitorReportStatus:
        await self.observer.tick()
        report = self.observer.evaluator.reports[KEY.uid]
        return report.status


def deployment(spec: dict, stable: str = "wine-00000001", key: DeploymentKey = KEY) -> ModelDeployment:
    return ModelDeployment.model_validate(
        {
            "apiVersion": "perennial.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": key.uid},
            "spec": {"model": {"uri": "perennial://sha256:" + "0" * 64}, **spec},
            "status": {"rollout": {"phase": "Healthy", "stable": stable}},
        }
    )


@asynccontextmanager
async def run_observer(
    settings: Settings,
    cluster: FakeCluster,
    *deployments: ModelDeployment,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Running]:
    registry = Registry()
    registry.replace(deployments)
    observer = build_observer(settings, identity=cluster, reports=cluster, registry=registry, clock=clock)
    assert observer.context is not None
    listener = socket.create_server(("127.0.0.1", 0))
    app = build_app(replace(observer.context, monotonic=monotonic))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        port = listener.getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60.0) as client:
            yield Running(observer, client, cluster)
    finally:
        server.should_exit = True
        await serving
        observer.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        detector_socket=tmp_path / "absent.sock",
        event_lateness_s=0.0,
        min_free_bytes=0,
        # So that one look judges whatever it can; test_preparing.py has looks that don't wait.
        prepare_wait_s=60.0,
    )


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server that all tests share, each with a database of its own."""
    with run_postgres() as server:
        yield server


@pytest.fixture
def on_postgres(settings: Settings, postgres: Postgres) -> Settings:
    """The settings with a fresh database on PostgreSQL."""
    return place_on_postgres(settings, postgres)


@pytest.fixture(params=["sqlite", "postgresql"])
def on_each(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """The settings with a fresh database on either of the two."""
    if request.param == "sqlite":
        return settings
    return place_on_postgres(settings, request.getfixturevalue("postgres"))


def place_on_postgres(settings: Settings, postgres: Postgres) -> Settings:
    name = f"test_{uuid.uuid4().hex}"
    postgres.execute(f"CREATE DATABASE {name}")
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return settings.model_copy(update={"database_url": postgres.url(name)})
