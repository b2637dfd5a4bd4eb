"""Whole passes over deployments that scale, against an API server in memory."""

import copy
from typing import Any

import pytest
from perennial.cluster.routers import _Counters

from tests.unit.operator.builders import uri
from tests.unit.operator.fake_cluster import FakeCluster, Json
from tests.unit.operator.test_reconcile import RUNTIME, cluster_with, condition, names, status_of, wine

CONCURRENCY = {
    "runtime": "fast",
    "maxReplicas": 8,
    "scaleMetric": "Concurrency",
    "scaleTarget": 4,
    "scaleDownWindow": "10s",
}
CPU = CONCURRENCY | {"scaleMetric": "Cpu", "scaleTarget": 70, "minReplicas": 2}
ROLLOUT = {
    "canary": {"steps": [{"setWeight": 10}, {"setWeight": 50}, {"pause": {}}]},
    "analysis": {
        "interval": "1s",
        "initialDelay": "0s",
        "minSamples": 1,
        "bake": "0s",
        "progressDeadline": "1m",
    },
}


async def scaled(server: Json, *, active: int = 0, turns: int = 15) -> tuple[FakeCluster, str]:
    cluster = cluster_with(RUNTIME, wine(server=server, rollout=ROLLOUT))
    await run(cluster, 4)
    (revision,) = names(cluster, "ModelRevision")
    carry(cluster, revision, active)
    await run(cluster, turns)
    return cluster, revision


async def run(cluster: FakeCluster, turns: int) -> None:
    reconciler = cluster.reconciler()
    for _ in range(turns):
        added: list[Any] = []
        await cluster.autoscaler.look(added.append)
        await cluster.run(1, reconciler)


def carry(cluster: FakeCluster, revision: str, active: int) -> None:
    cluster.counters[f"shop/{revision}"] = _Counters(requests=0, errors=0, active=active)


def replicas(cluster: FakeCluster, revision: str) -> int:
    found = cluster.find("Deployment", revision)
    assert found is not None
    return int(found["spec"].get("replicas", 1))


def change(cluster: FakeCluster, **parts: Any) -> None:
    cluster.edit("ModelDeployment", "wine", lambda spec: spec.update(copy.deepcopy(parts)))


async def test_pods_follow_the_requests_under_way() -> None:
    cluster, revision = await scaled(CONCURRENCY, active=18)
    assert replicas(cluster, revision) == 5
    assert condition(cluster, "Scaling")["reason"] == "FollowsLoad"
    (scale,) = status_of(cluster)["scaling"]["revisions"]
    assert (scale["revision"], scale["replicas"], scale["load"]) == (revision, 5, 18.0)
    carry(cluster, revision, 2)
    await run(cluster, 8)
    assert replicas(cluster, revision) == 5
    # One window for the peak of the falling mean, and one for the rest.
    await run(cluster, 20)
    assert replicas(cluster, revision) == 1


async def test_steady_load_writes_nothing() -> None:
    cluster, _ = await scaled(CONCURRENCY, active=18, turns=20)
    before = len(cluster.writes)
    await run(cluster, 10)
    assert cluster.writes[before:] == []


async def test_number_is_put_back_where_the_operator_scales_and_where_nothing_does() -> None:
    for server, want in ((CONCURRENCY, 5), ({"runtime": "fast", "minReplicas": 2}, 2)):
        cluster, revision = await scaled(server, active=18)
        cluster.edit("Deployment", revision, lambda spec: spec.update(replicas=1))
        await run(cluster, 2)
        assert replicas(cluster, revision) == want


async def test_number_never_falls_when_scaling_is_switched_on_or_off() -> None:
    fixed = {"runtime": "fast", "minReplicas": 5}
    for server in (CONCURRENCY | {"minReplicas": 5}, CPU | {"minReplicas": 5}):
        cluster, revision = await scaled(fixed)
        for part in (server, fixed):
            change(cluster, server=part)
            for _ in range(6):
                await run(cluster, 1)
                assert replicas(cluster, revision) == 5
            found = cluster.find("Deployment", revision)
            assert found is not None
            fields = found["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]
            assert ("f:replicas" in fields) == (part is fixed)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", [1, 2, 3])
async def test_operator_killed_while_the_number_changes_hands_loses_no_pod(
    write: int, *, after: bool
) -> None:
    cluster, revision = await scaled({"runtime": "fast", "minReplicas": 5}, turns=4)
    change(cluster, server=CONCURRENCY | {"minReplicas": 5})
    cluster.crash_at, cluster.crash_after = len(cluster.writes) + write, after
    for _ in range(6):
        await run(cluster, 1)
        assert replicas(cluster, revision) == 5
    assert cluster.crash_at is None, "nothing was killed"
    found = cluster.find("Deployment", revision)
    assert found is not None
    assert "replicas" not in str(found["metadata"]["managedFields"][0])


async def test_cluster_scales_by_cpu_and_its_number_is_left_alone() -> None:
    cluster, revision = await scaled(CPU)
    hpa = cluster.find("HorizontalPodAutoscaler", revision)
    assert hpa is not None
    assert (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]) == (2, 8)
    cluster.edit("Deployment", revision, lambda spec: spec.update(replicas=7))
    cluster.scaled.add(revision)
    before = len(cluster.writes)
    await run(cluster, 5)
    assert replicas(cluster, revision) == 7
    assert cluster.writes[before:] == []
    change(cluster, server={"runtime": "fast"})
    await run(cluster, 3)
    assert cluster.find("HorizontalPodAutoscaler", revision) is None
    assert replicas(cluster, revision) == 1


async def test_share_waits_for_its_pods_and_stable_keeps_the_floor() -> None:
    cluster, stable = await scaled(CONCURRENCY, active=30)
    assert replicas(cluster, stable) == 8
    change(cluster, model={"uri": uri("b")})
    await run(cluster, 3)
    (canary,) = set(names(cluster, "ModelRevision")) - {stable}
    # The fake has one endpoint per revision, so the canary waits at 10 % for the four pods that 50 % need.
    await run(cluster, 10)
    rollout = status_of(cluster)["rollout"]
    assert rollout["stepState"] == "WaitingForCapacity"
    assert rollout["canaryWeightPercent"] == 10
    assert replicas(cluster, canary) == 4
    carry(cluster, stable, 0)
    await run(cluster, 20)
    scaling = status_of(cluster)["scaling"]
    assert (scaling["floorRevision"], scaling["floor"]) == (stable, 8)
    assert replicas(cluster, stable) == 8
