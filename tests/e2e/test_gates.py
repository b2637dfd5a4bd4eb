"""Each kind of metric stops a revision that is worse by it, and what can't be read decides nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.support.kube import Kube
from tests.e2e.support.objects import canary
from tests.e2e.support.rollouts import World
from tests.e2e.support.traffic import Traffic

PROMETHEUS = "http://prometheus.perennial-monitoring:9090"


@pytest.fixture
def world(kube: Kube, test_runtimes: None, namespace: str, gateway_url: str) -> World:
    return World(kube, namespace, gateway_url)


def _judged_by(*metrics: dict[str, Any], pause: str = "60s", **analysis: Any) -> dict[str, Any]:
    return canary(50, pause=pause, metrics=list(metrics), **analysis)


def _failed_by(world: World, metric: str, timeout_s: float = 90) -> dict[str, Any]:
    bad = world.wait_rolled_back(timeout_s)["failedRevision"]
    evidence = [e for e in world.revision(bad)["status"]["evidence"] if e["decision"] == "Failed"]
    assert [e["metric"] for e in evidence] == [metric], evidence
    assert evidence[0]["message"]
    return evidence[0]


def test_slow_answers_stop_a_revision(world: World) -> None:
    world.start(rollout=_judged_by({"name": "slow", "type": "SlowRate"}), server={"latencyBudget": "100ms"})
    with world.traffic(workers=12) as traffic:
        traffic.wait_more(50, world.wait)
        world.new_runtime("test-slow")
        evidence = _failed_by(world, "slow")
    assert evidence["canary"]["bad"] > evidence["stable"]["bad"]
    assert traffic.failed() == 0, traffic.failures[:5]


def test_refused_requests_stop_a_revision(world: World) -> None:
    world.start(rollout=_judged_by({"name": "invalid", "type": "InvalidRate"}))
    with world.traffic() as traffic:
        traffic.wait_more(50, world.wait)
        world.new_runtime("test-refusing")
        evidence = _failed_by(world, "invalid")
    assert evidence["canary"]["bad"] > evidence["stable"]["bad"]
    assert traffic.failed() == 0, traffic.failures[:5]


def test_outliers_stop_a_revision(world: World) -> None:
    window = {"size": 100, "maxAge": "1h", "minSamples": 50}
    world.start(
        "test-logging",
        rollout=_judged_by({"name": "outliers", "type": "OutlierRate"}),
        monitoring={
            "defaults": {"window": window},
            "monitors": [
                {"name": "odd", "type": "Outlier", "outlier": {"contamination": 0.01, "maxRate": 0.9}}
            ],
        },
    )
    with world.traffic() as traffic:
        traffic.wait_more(50, world.wait)
        # Trained on another world: what comes in is odd to it.
        world.new_runtime("test-foreign")
        evidence = _failed_by(world, "outliers")
    assert evidence["canary"]["bad"] > evidence["stable"]["bad"]
    assert traffic.failed() == 0, traffic.failures[:5]


def send_labels(world: World, traffic: Traffic, right: Callable[[str], bool]) -> None:
    """Send a label for each new prediction: the one that was predicted, or another."""
    labels = [
        {"prediction_id": prediction_id, "row": 0, "label": 0 if right(revision) else 1}
        for prediction_id, revision in traffic.take_predictions()
    ]
    url = f"{world.gateway_url}/{world.namespace}/{world.name}/feedback"
    for first in range(0, len(labels), 500):
        httpx.post(url, json={"feedback": labels[first : first + 500]}, timeout=20).raise_for_status()


def test_labels_that_prove_it_wrong_stop_a_revision(world: World) -> None:
    first = world.start(
        "test-logging",
        rollout=_judged_by({"name": "labels", "type": "Feedback", "feedback": {"maturity": "2s"}}, bake="3s"),
    )
    with world.traffic() as traffic:
        traffic.wait_more(50, world.wait)
        world.new_model()

        def rolled_back() -> bool:
            send_labels(world, traffic, lambda revision: revision == first)
            return world.rollout()["phase"] == "Degraded"

        world.wait(rolled_back, "rolled back by labels", timeout_s=90)
        evidence = _failed_by(world, "labels")
    assert evidence["canary"]["bad"] > evidence["stable"]["bad"]
    assert traffic.failed() == 0, traffic.failures[:5]


def _prometheus(query: str, **bounds: Any) -> dict[str, Any]:
    return {
        "name": "revenue",
        "type": "Prometheus",
        "prometheus": {"address": PROMETHEUS, "query": query, **bounds},
    }


def test_prometheus_out_of_bounds_stops_a_revision(world: World) -> None:
    world.start(rollout=_judged_by(_prometheus("vector(0.2)", min=0.9)))
    with world.traffic():
        world.new_model()
        evidence = _failed_by(world, "revenue")
    assert evidence["value"] == 0.2


def test_prometheus_that_gives_no_number_is_inconclusive_and_named(world: World) -> None:
    """No series, several, or not a number: neither a pass nor a rollback (pain 2)."""
    first = world.start(rollout=_judged_by(_prometheus("no_such_series", min=0.9), pause="1s"))
    with world.traffic() as traffic:
        world.new_model()
        for query in ("no_such_series", "up", "vector(0) / 0"):
            world.change(rollout=_judged_by(_prometheus(query, min=0.9), pause="1s"))

            def named(query: str = query) -> bool:
                got = world.condition("Analyzable")
                return got.get("status") == "False" and "revenue" in got["message"] and bool(query)

            world.wait(named, f"{query} named in a condition")
            traffic.wait_more(150, world.wait)
            rollout = world.rollout()
            assert rollout["stable"] == first
            assert rollout["phase"] != "Degraded"
        # Only shown, it holds nothing up.
        world.change(
            rollout=_judged_by(
                {**_prometheus("no_such_series", min=0.9), "dryRun": True},
                {"name": "errors", "type": "ErrorRate"},
                pause="1s",
            )
        )
        world.wait_promoted(first)
    assert traffic.failed() == 0, traffic.failures[:5]


def test_without_traffic_a_rollout_waits_and_goes_on_when_it_comes(world: World) -> None:
    """Pain 1: no data is neither a failure nor a pass."""
    first = world.start(rollout=canary(50, pause="1s", progressDeadline="1m"))
    world.new_model()
    world.wait_rollout(lambda r: r.get("stepState") in ("Analyzing", "Inconclusive"), "the gate waits", 60)
    assert world.rollout()["stable"] == first
    with world.traffic() as traffic:
        world.wait_promoted(first)
    assert traffic.failed() == 0, traffic.failures[:5]


def test_warm_up_slower_than_the_budget_is_told_or_refused(world: World, push: Callable[[Path], str]) -> None:
    first = world.start(rollout=canary(50), server={"latencyBudget": "50ms"})
    with world.traffic(rate_per_s=20) as traffic:
        world.new_runtime("test-late")
        world.wait(
            lambda: world.condition("WithinLatencyBudget").get("status") == "False", "the warm-up's figures"
        )
        assert "ms" in world.condition("WithinLatencyBudget")["message"]
        slow = world.rollout()["warmUp"]
        assert slow["p99Ms"] > 50
        world.change(server={"onTooSlow": "Refuse", "runtime": "test-later"})
        world.wait_rolled_back()
        assert world.rollout()["stable"] == first
    assert traffic.failed() == 0, traffic.failures[:5]
