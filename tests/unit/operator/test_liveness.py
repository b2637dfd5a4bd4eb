"""What /healthz knows of the watches and the lease, and what the operator shows Prometheus."""

from types import SimpleNamespace
from typing import Any

from aiohttp.test_utils import TestClient, TestServer
from perennial.controller.http import Health, build_app
from perennial.controller.liveness import WatchMonitor
from perennial.controller.metrics import Metrics
from perennial.controller.watches import WATCHED_PATHS, build_settings
from perennial_api.modeldeployment.status import ModelDeploymentStatus
from yarl import URL

PODS = "/api/v1/pods"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def watch(monitor: WatchMonitor, query: str = "watch=true", *, ok: bool = True) -> SimpleNamespace:
    """Let a watch request begin and return its body's stream."""
    content = SimpleNamespace(total_bytes=0)
    response = SimpleNamespace(url=URL(f"https://api{PODS}?{query}"), ok=ok, content=content)
    params: Any = SimpleNamespace(response=response)
    session: Any = None
    await monitor._on_request_end(session, SimpleNamespace(), params)
    return content


async def test_watch_that_receives_bytes_is_alive() -> None:
    clock = Clock()
    monitor = WatchMonitor([PODS], clock)
    content = await watch(monitor)
    clock.now, content.total_bytes = 60, 200
    assert monitor.ages_s() == {PODS: 0}
    clock.now = 100
    assert monitor.ages_s() == {PODS: 40}


async def test_silent_watch_grows_old_though_its_connection_stands() -> None:
    clock = Clock()
    monitor = WatchMonitor([PODS], clock)
    await watch(monitor)
    clock.now = 500
    assert monitor.ages_s() == {PODS: 500}


async def test_listing_refusal_or_other_path_is_no_sign_of_life() -> None:
    clock = Clock()
    monitor = WatchMonitor([PODS], clock)
    clock.now = 50
    await watch(monitor, "limit=500")
    await watch(monitor, ok=False)
    assert monitor.ages_s() == {PODS: 50}


async def test_kind_that_was_never_watched_is_noticed() -> None:
    clock = Clock()
    monitor = WatchMonitor([PODS, "/api/v1/services"], clock)
    clock.now = 300
    await watch(monitor)
    assert monitor.ages_s() == {PODS: 0, "/api/v1/services": 300}


async def answer(ages: dict[str, float], lease_age_s: float) -> tuple[int, dict[str, Any]]:
    health = Health(lambda: ages, lambda: lease_age_s, lambda: True, watch_max_age_s=180, lease_max_age_s=45)
    async with TestClient(TestServer(build_app(health, Metrics().registry))) as client:
        response = await client.get("/healthz")
        return response.status, await response.json()


async def test_health_is_good_while_everything_is_heard_of() -> None:
    status, body = await answer({PODS: 10}, 1)
    assert status == 200
    assert body["leader"] is True


async def test_health_names_the_silent_watch() -> None:
    status, body = await answer({PODS: 181, "/x": 1}, 1)
    assert status == 503
    assert body["silent_watches"] == [PODS]


async def test_health_fails_when_the_lease_loop_is_stuck() -> None:
    status, _ = await answer({PODS: 1}, 46)
    assert status == 503


async def test_metrics_show_the_rollout_and_forget_what_is_gone() -> None:
    metrics = Metrics()
    rollout = {"phase": "Progressing", "stable": "wine-1", "canary": "wine-2", "canaryWeightPercent": 20}
    metrics.show("shop", "wine", ModelDeploymentStatus.model_validate({"rollout": rollout}))
    health = Health(dict, lambda: 0, lambda: True, 1, 1)
    async with TestClient(TestServer(build_app(health, metrics.registry))) as client:
        text = await (await client.get("/metrics")).text()
        assert 'perennial_canary_weight{name="wine",namespace="shop",revision="wine-2"} 20.0' in text
        assert 'perennial_rollout_phase{name="wine",namespace="shop",phase="Progressing"} 1.0' in text
        done = rollout | {"phase": "Healthy", "canary": None, "stable": "wine-2"}
        metrics.show("shop", "wine", ModelDeploymentStatus.model_validate({"rollout": done}))
        assert "wine-2" not in await (await client.get("/metrics")).text()
        metrics.forget("shop", "wine")
        assert 'namespace="shop"' not in await (await client.get("/metrics")).text()


def test_retries_of_a_watch_never_end_and_never_grow_long() -> None:
    backoffs: Any = build_settings().networking.error_backoffs
    seen = [delay for delay, _ in zip(backoffs, range(1000), strict=False)]
    assert len(seen) == 1000
    assert 0 < min(seen) <= max(seen) <= 15
    assert len(set(seen)) > 900, "jittered"


def test_kopf_neither_posts_events_nor_takes_part_in_peering() -> None:
    settings = build_settings()
    assert not settings.posting.enabled
    assert settings.peering.standalone
    assert len(WATCHED_PATHS) == 13
