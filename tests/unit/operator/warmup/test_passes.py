"""Whole passes with a latency budget: measured before the first request, and what the figures lead to."""

from __future__ import annotations

import asyncio
from typing import Any

from perennial.rollout.warmup import Measurement

from tests.unit.operator.builders import uri
from tests.unit.operator.fake_cluster import FakeCluster, Json
from tests.unit.operator.test_reconcile import RUNTIME, cluster_with, status_of, wine

FAST, SLOW = Measurement((10.0,) * 200), Measurement((45.0,) * 200)


def budgeted(on_too_slow: str = "Warn", **server: Any) -> Json:
    return wine(server={"runtime": "fast", "latencyBudget": "50ms", "onTooSlow": on_too_slow, **server})


def rollout_of(cluster: FakeCluster) -> Json:
    rollout: Json = status_of(cluster)["rollout"]
    return rollout


async def _new_model(measured: Measurement, on_too_slow: str = "Warn") -> tuple[FakeCluster, Any]:
    cluster = cluster_with(RUNTIME, budgeted(on_too_slow))
    operator = cluster.reconciler()
    await cluster.run(6, operator)
    cluster.warm_up = measured
    cluster.edit("ModelDeployment", "wine", lambda spec: spec["model"].update(uri=uri("b")))
    return cluster, operator


async def _run_until(cluster: FakeCluster, operator: Any, reached: Any) -> None:
    for _ in range(40):
        await cluster.run(1, operator)
        # The measurement is a task beside the passes.
        for _ in range(5):
            await asyncio.sleep(0)
        if reached(rollout_of(cluster)):
            return
    raise AssertionError(rollout_of(cluster))


async def test_revision_gets_its_first_request_only_once_it_is_measured() -> None:
    cluster, operator = await _new_model(FAST)
    seen = []

    def has_weight(rollout: Json) -> bool:
        seen.append((rollout["stepState"], rollout.get("canaryWeightPercent") or 0, "warmUp" in rollout))
        return (rollout.get("canaryWeightPercent") or 0) > 0

    await _run_until(cluster, operator, has_weight)
    assert "WarmingUp" in [state for state, _, _ in seen]
    assert all(weight == 0 for _, weight, measured in seen if not measured)
    assert rollout_of(cluster)["warmUp"]["withinBudget"] is True
    assert [str(key) for key in cluster.warmed_up] == ["shop/wine"]


async def test_too_slow_is_a_warning_where_warn_is_wished() -> None:
    cluster, operator = await _new_model(SLOW)
    await _run_until(cluster, operator, lambda rollout: (rollout.get("canaryWeightPercent") or 0) > 0)
    warm_up = rollout_of(cluster)["warmUp"]
    assert (warm_up["withinBudget"], warm_up["p99Ms"]) == (False, 45.0)


async def test_too_slow_is_refused_before_any_request_where_refuse_is_wished() -> None:
    cluster, operator = await _new_model(SLOW, "Refuse")
    stable = rollout_of(cluster)["stable"]
    weights = []

    def is_over(rollout: Json) -> bool:
        weights.append(rollout.get("canaryWeightPercent") or 0)
        return bool(rollout["phase"] == "Degraded")

    await _run_until(cluster, operator, is_over)
    assert set(weights) == {0}
    assert rollout_of(cluster)["stable"] == stable
    assert "latency budget of 50 ms" in rollout_of(cluster)["message"]


async def test_operator_killed_meanwhile_measures_again() -> None:
    cluster, operator = await _new_model(FAST)
    await _run_until(cluster, operator, lambda rollout: rollout["stepState"] == "WarmingUp")
    successor = cluster.reconciler()
    await _run_until(cluster, successor, lambda rollout: (rollout.get("canaryWeightPercent") or 0) > 0)
    assert rollout_of(cluster)["warmUp"]["requests"] == 200


async def test_without_budget_nothing_is_measured() -> None:
    cluster = cluster_with(RUNTIME, wine())
    operator = cluster.reconciler()
    await cluster.run(6, operator)
    cluster.edit("ModelDeployment", "wine", lambda spec: spec["model"].update(uri=uri("b")))
    await _run_until(cluster, operator, lambda rollout: (rollout.get("canaryWeightPercent") or 0) > 0)
    assert cluster.warmed_up == []
    assert "warmUp" not in rollout_of(cluster)
