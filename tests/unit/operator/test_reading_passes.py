"""Whole passes of a rollout that a number from Prometheus decides."""

import asyncio
from typing import Any

from perennial.rollout.observed import Reading

from tests.unit.operator.builders import uri
from tests.unit.operator.fake_cluster import FakeCluster, Json
from tests.unit.operator.test_reconcile import ROLLOUT, RUNTIME, cluster_with, condition, status_of, wine

REVENUE = {
    "name": "revenue",
    "type": "Prometheus",
    "prometheus": {
        "address": "http://prometheus:9090",
        "query": 'sales{revision="{{revision}}"}',
        "min": 0.9,
    },
}


async def _rolled_out(reading: Reading, passes: int = 60) -> FakeCluster:
    analysis: Json = {**ROLLOUT["analysis"], "metrics": [REVENUE]}  # type: ignore[dict-item]  # a table of JSON
    cluster = cluster_with(RUNTIME, wine(rollout={**ROLLOUT, "analysis": analysis}), requests_per_turn=400)
    operator: Any = cluster.reconciler()
    await cluster.run(6, operator)
    cluster.reading = reading
    cluster.edit("ModelDeployment", "wine", lambda spec: spec["model"].update(uri=uri("b")))
    for _ in range(passes):
        await cluster.run(1, operator)
        for _ in range(3):  # the reading is a task beside the passes
            await asyncio.sleep(0)
    return cluster


async def test_number_in_bounds_lets_the_canary_be_promoted() -> None:
    cluster = await _rolled_out(Reading(0.95))
    rollout = status_of(cluster)["rollout"]
    assert (rollout["phase"], rollout["stable"]) == ("Healthy", rollout["weights"][0]["revision"])
    evidence = rollout["evidence"][-1]
    assert (evidence["metric"], evidence["value"], evidence["reason"]) == ("revenue", 0.95, "WithinBounds")
    assert cluster.questions[-1]["namespace"] == "shop"
    assert cluster.questions[-1]["revision"] != cluster.questions[-1]["stable"]


async def test_number_out_of_bounds_rolls_back() -> None:
    rollout = status_of(await _rolled_out(Reading(0.5)))["rollout"]
    assert (rollout["phase"], rollout["evidence"][-1]["reason"]) == ("Degraded", "OutOfBounds")


async def test_pain_2_empty_vector_neither_promotes_nor_rolls_back_and_is_named() -> None:
    cluster = await _rolled_out(Reading(None, "NoSeries", "the query returns nothing"))
    rollout = status_of(cluster)["rollout"]
    assert (rollout["phase"], rollout["stepState"]) == ("Progressing", "Analyzing")
    got = condition(cluster, "Analyzable")
    assert (got["status"], got["reason"]) == ("False", "NoSeries")
    assert "revenue can't be read: the query returns nothing" in got["message"]


async def test_nothing_is_asked_while_nothing_is_on_trial() -> None:
    cluster = await _rolled_out(Reading(0.95))
    before = len(cluster.questions)
    await cluster.run(30)
    assert len(cluster.questions) == before
