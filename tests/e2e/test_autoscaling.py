"""The number of pods follows the load, is never fought over, and no rollout shrinks the stable revision early."""

from typing import Any

import pytest

from tests.e2e.support.kube import Kube
from tests.e2e.support.objects import canary
from tests.e2e.support.rollouts import World


@pytest.fixture
def world(kube: Kube, test_runtimes: None, namespace: str, gateway_url: str) -> World:
    return World(kube, namespace, gateway_url)


def _scaled(metric: str, target: int, most: int = 3) -> dict[str, Any]:
    return {"maxReplicas": most, "scaleMetric": metric, "scaleTarget": target, "scaleDownWindow": "5s"}


def _replicas(world: World, revision: str) -> int:
    found = world.kube.get("deployment", revision, world.namespace)
    return int(found["spec"]["replicas"]) if found else 0


def test_concurrency_raises_and_lowers_the_pods_and_a_rollout_keeps_the_floor(world: World) -> None:
    """Pain 4: while a rollout is on, the stable revision keeps what it had, so that the way back has its pods."""
    first = world.start("test-late", server=_scaled("Concurrency", 2))
    with world.traffic(rate_per_s=200, workers=10) as traffic:
        world.wait(lambda: _replicas(world, first) == 3, "three pods for ten requests at a time")
        world.new_model(rollout=canary(50, pause="10m"))
        second = world.wait_weight(50, timeout_s=90)
        assert _replicas(world, first) == 3
        assert _replicas(world, second) >= 2, "half of the load needs its pods before it comes"
        before = traffic.wait_more(300, world.wait)
        assert _replicas(world, first) == 3
        assert 0.3 < traffic.share_of(second, since=before) < 0.7
        world.perennial("abort", world.name)
        world.wait(lambda: world.weights().get(first) == 100, "all weight back")
    assert traffic.failed() == 0, traffic.failures[:5]
    world.wait(lambda: _replicas(world, first) == 1, "one pod without load", timeout_s=90)


def test_requests_a_second_raise_the_pods(world: World) -> None:
    first = world.start(server=_scaled("Rps", 15, most=2))
    with world.traffic(rate_per_s=60) as traffic:
        world.wait(lambda: _replicas(world, first) == 2, "two pods for sixty requests a second")
    assert traffic.failed() == 0, traffic.failures[:5]


def test_cpu_is_left_to_a_horizontal_pod_autoscaler_that_nobody_fights(world: World) -> None:
    first = world.start(server=_scaled("Cpu", 50, most=2))
    hpa = world.wait(lambda: world.kube.get("hpa", first, world.namespace), "the autoscaler")
    assert hpa["spec"]["maxReplicas"] == 2
    with world.traffic(rate_per_s=150, workers=6) as traffic:
        world.wait(lambda: _replicas(world, first) == 2, "two pods", timeout_s=150)
        seen = set()
        for _ in range(3):
            traffic.wait_more(300, world.wait)
            seen.add(_replicas(world, first))
        assert seen == {2}, "the operator put the autoscaler's number back"
    assert traffic.failed() == 0, traffic.failures[:5]


def test_number_of_an_unscaled_deployment_is_put_back(world: World) -> None:
    first = world.start()
    world.kube.run("scale", "deployment", first, "-n", world.namespace, "--replicas=3")
    world.wait(lambda: _replicas(world, first) == 1, "the spec's number again")
