"""Whole passes with an experiment against an API server in memory, and the operator's death at every write."""

import json
from typing import Any

from tests.unit.operator.builders import uri
from tests.unit.operator.fake_cluster import FakeCluster, Json
from tests.unit.operator.kill_points import choose_kill_points
from tests.unit.operator.test_reconcile import RUNTIME, condition, names, status_of, wine

TEST: Json = {
    "type": "ABTest",
    "variants": [
        {"name": "first", "weight": 30, "model": {"uri": uri("b")}},
        {"name": "second", "weight": 20, "model": {"uri": uri("c")}},
    ],
    "abTest": {"routeType": "Header", "routeBy": "x-user-id", "maxDuration": "14d"},
}
RANDOM: Json = {"routeType": "Random", "maxDuration": "14d"}


def with_winner(**winner: Any) -> Json:
    rule = {"reward": "NoError", "confidence": 0.99, "minSamples": 100, **winner}
    variants = [{"name": "first", "weight": 50, "model": {"uri": uri("b")}}]
    return {"type": "ABTest", "variants": variants, "abTest": RANDOM | {"winner": rule}}


async def serving(**options: Any) -> FakeCluster:
    """Return a cluster in which wine serves its first revision."""
    cluster = FakeCluster(**options)
    for body in (RUNTIME, wine()):
        cluster.add(body)
    await cluster.run(5)
    return cluster


def begin(cluster: FakeCluster, experiment: Json) -> None:
    cluster.edit("ModelDeployment", "wine", lambda spec: spec.update(experiment=experiment))


def say(cluster: FakeCluster, **command: Any) -> None:
    stored = cluster.objects["ModelDeployment", "shop", "wine"]
    stored["metadata"].setdefault("annotations", {})["perennial.dev/command"] = json.dumps(command)


def stable_of(cluster: FakeCluster) -> str:
    name: str = status_of(cluster)["rollout"]["stable"]
    return name


def variant(cluster: FakeCluster, name: str) -> str:
    """Return the revision of a variant."""
    return next(
        n
        for n in names(cluster, "ModelRevision")
        if cluster.objects["ModelRevision", "shop", n]["spec"].get("variant") == name
    )


def route(cluster: FakeCluster) -> Json:
    found = cluster.find("ModelRoute", "wine")
    assert found is not None
    spec: Json = found["spec"]
    return spec


def weights(cluster: FakeCluster) -> dict[str, int]:
    return {r["name"]: r["weightPercent"] for r in route(cluster)["revisions"]}


def role(cluster: FakeCluster, revision: str) -> str:
    found = cluster.find("ModelRevision", revision)
    assert found is not None
    said: str = found["status"]["role"]
    return said


async def test_each_variant_gets_a_revision_with_pods_of_its_own_and_its_share() -> None:
    cluster = await serving()
    stable = stable_of(cluster)
    begin(cluster, TEST)
    await cluster.run(6)
    first, second = variant(cluster, "first"), variant(cluster, "second")
    assert set(names(cluster, "Deployment")) == {stable, first, second}
    assert list(weights(cluster).items()) == [(first, 30), (second, 20), (stable, 50)]
    assert route(cluster)["sticky"]["name"] == "x-user-id"
    places = [(place["revision"], place["percent"]) for place in route(cluster)["sticky"]["places"]]
    assert places == [(first, 30), (second, 20), (stable, 50)]
    assert (role(cluster, first), role(cluster, stable)) == ("Variant", "Stable")
    assert condition(cluster, "Experimenting")["status"] == "True"
    assert status_of(cluster)["rollout"]["phase"] == "Healthy"


async def test_idle_experiment_is_written_no_more() -> None:
    cluster = await serving()
    begin(cluster, TEST)
    await cluster.run(20)
    before = len([w for w in cluster.writes if w[1] != "ModelDeployment"])
    await cluster.run(10, cluster.reconciler())
    assert len([w for w in cluster.writes if w[1] != "ModelDeployment"]) == before


async def test_variant_that_never_becomes_ready_costs_nothing_and_is_named() -> None:
    cluster = await serving()
    stable = stable_of(cluster)
    begin(cluster, TEST)
    await cluster.run(1)
    cluster.unready.add(variant(cluster, "second"))
    await cluster.run(3)
    assert weights(cluster).get(variant(cluster, "second"), 0) == 0
    for _ in range(2):
        cluster.now = cluster.now.replace(hour=cluster.now.hour + 1)
        await cluster.run(3)
    assert condition(cluster, "Experimenting")["reason"] == "VariantNotReady"
    assert "second" in condition(cluster, "Experimenting")["message"]
    assert weights(cluster)[stable] == 70
    assert condition(cluster, "Ready")["status"] == "True"


async def test_unsafe_variant_is_drained_with_its_evidence() -> None:
    cluster = await serving(requests_per_turn=500)
    begin(cluster, TEST | {"abTest": RANDOM})
    await cluster.run(3)
    bad = variant(cluster, "first")
    cluster.error_share[bad] = 0.5
    await cluster.run(60)
    assert bad not in names(cluster, "Deployment")
    assert variant(cluster, "second") in names(cluster, "Deployment")
    assert role(cluster, bad) == "Failed"
    assert cluster.objects["ModelRevision", "shop", bad]["status"]["evidence"]
    assert "VariantUnsafe" in {reason for reason, _ in cluster.events}


async def test_removed_experiment_gives_stable_all_requests_at_once_and_drains_the_variants() -> None:
    cluster = await serving()
    stable = stable_of(cluster)
    begin(cluster, TEST)
    await cluster.run(6)
    cluster.edit("ModelDeployment", "wine", lambda spec: spec.pop("experiment"))
    await cluster.run(1)
    assert weights(cluster)[stable] == 100
    assert "sticky" not in route(cluster)
    assert len(names(cluster, "Deployment")) == 3
    await cluster.run(60)
    assert names(cluster, "Deployment") == [stable]
    assert condition(cluster, "Experimenting")["reason"] == "Removed"


async def test_new_model_waits_until_the_experiment_has_ended() -> None:
    cluster = await serving(requests_per_turn=500)
    stable = stable_of(cluster)
    begin(cluster, TEST)
    await cluster.run(6)
    cluster.edit("ModelDeployment", "wine", lambda spec: spec["model"].update(uri=uri("d")))
    await cluster.run(20)
    assert stable_of(cluster) == stable
    assert condition(cluster, "Paused")["reason"] == "WaitingForExperiment"
    assert len(names(cluster, "Deployment")) == 3
    cluster.edit("ModelDeployment", "wine", lambda spec: spec.pop("experiment"))
    await cluster.run(40)
    assert stable_of(cluster) != stable
    assert status_of(cluster)["modelStatus"]["uri"] == uri("d")


async def test_experiment_waits_for_the_rollout_under_way() -> None:
    cluster = await serving(requests_per_turn=500)
    cluster.edit("ModelDeployment", "wine", lambda spec: spec["model"].update(uri=uri("d")))
    await cluster.run(2)
    begin(cluster, TEST)
    await cluster.run(1)
    assert condition(cluster, "Experimenting")["reason"] == "RolloutUnderWay"
    await cluster.run(60)
    assert condition(cluster, "Experimenting")["status"] == "True"
    assert status_of(cluster)["experiment"]["stable"] == stable_of(cluster)
    assert status_of(cluster)["modelStatus"]["uri"] == uri("d")


async def test_edit_of_the_server_changes_no_variant_in_the_middle() -> None:
    cluster = await serving()
    begin(cluster, TEST)
    await cluster.run(6)
    before = names(cluster, "Deployment")
    cluster.edit("ModelDeployment", "wine", lambda spec: spec["server"].update(nodeSelector={"disk": "ssd"}))
    await cluster.run(10)
    assert names(cluster, "Deployment") == before


async def test_winner_becomes_stable_by_the_rollouts_road_and_stays_so() -> None:
    cluster = await serving(requests_per_turn=1000)
    stable = stable_of(cluster)
    cluster.error_share[stable] = 0.08
    begin(cluster, with_winner(promote=True))
    await cluster.run(40)
    first = variant(cluster, "first")
    assert status_of(cluster)["experiment"]["reason"] == "Winner"
    await cluster.run(60)
    assert stable_of(cluster) == first
    assert names(cluster, "Deployment") == [first]
    assert weights(cluster) == {first: 100}
    assert (role(cluster, first), role(cluster, stable)) == ("Stable", "Retired")


async def test_winner_that_is_only_reported_changes_nothing() -> None:
    cluster = await serving(requests_per_turn=1000)
    stable = stable_of(cluster)
    cluster.error_share[stable] = 0.08
    begin(cluster, with_winner())
    await cluster.run(100)
    assert status_of(cluster)["experiment"]["winner"] == "first"
    assert stable_of(cluster) == stable
    assert names(cluster, "Deployment") == [stable]
    assert "ExperimentEnded" in {reason for reason, _ in cluster.events}


async def test_new_model_after_a_promoted_winner_replaces_it() -> None:
    cluster = await serving(requests_per_turn=1000)
    cluster.error_share[stable_of(cluster)] = 0.08
    begin(cluster, with_winner(promote=True))
    await cluster.run(100)
    cluster.edit("ModelDeployment", "wine", lambda spec: spec["model"].update(uri=uri("d")))
    await cluster.run(60)
    assert status_of(cluster)["modelStatus"]["uri"] == uri("d")


async def test_promoted_variant_takes_the_road() -> None:
    cluster = await serving(requests_per_turn=1000)
    begin(cluster, TEST)
    await cluster.run(6)
    say(cluster, id="c1", verb="Promote", variant="second")
    await cluster.run(60)
    assert status_of(cluster)["lastCommand"]["accepted"] is True
    assert status_of(cluster)["experiment"]["reason"] == "Promoted"
    assert stable_of(cluster) == variant(cluster, "second")


async def test_abort_ends_the_experiment() -> None:
    cluster = await serving()
    stable = stable_of(cluster)
    begin(cluster, TEST)
    await cluster.run(6)
    say(cluster, id="c1", verb="Abort")
    await cluster.run(2)
    assert status_of(cluster)["experiment"]["reason"] == "Aborted"
    assert weights(cluster)[stable] == 100


async def test_abort_ends_the_experiment_and_not_the_rollout_that_waits_for_it() -> None:
    cluster = await serving(requests_per_turn=500)
    begin(cluster, TEST)
    await cluster.run(6)
    cluster.edit("ModelDeployment", "wine", lambda spec: spec["model"].update(uri=uri("d")))
    await cluster.run(2)
    say(cluster, id="c1", verb="Abort", revision=status_of(cluster)["rollout"]["canary"])
    await cluster.run(40)
    assert status_of(cluster)["experiment"]["reason"] == "Aborted"
    assert status_of(cluster)["modelStatus"]["uri"] == uri("d")


async def test_shadow_is_mirrored_and_gets_no_share() -> None:
    cluster = await serving()
    variants = [{"name": "first", "model": {"uri": uri("b")}}]
    begin(cluster, {"type": "Shadow", "variants": variants, "shadow": {"percent": 25}})
    await cluster.run(6)
    first = variant(cluster, "first")
    assert route(cluster)["mirror"] == {"revision": first, "percent": 25}
    assert weights(cluster) == {first: 0, stable_of(cluster): 100}


async def end_of(crash_at: int | None, *, after: bool) -> tuple[Json, list[int]]:
    """Return what there is in the end if the operator dies at one write, and the numbers of those worth a try.

    Of the many writes of the deployment's status, those are worth it that stand beside another write.
    """
    cluster = await serving(requests_per_turn=1000)
    cluster.error_share[stable_of(cluster)] = 0.08
    written = len(cluster.writes)
    if crash_at is not None:
        cluster.crash_at, cluster.crash_after = written + crash_at, after
    begin(cluster, with_winner(promote=True))
    await cluster.run(90)
    writes = cluster.writes[written:]
    shown = {
        "deployments": names(cluster, "Deployment"),
        "roles": {n: role(cluster, n) for n in names(cluster, "ModelRevision")},
        "weights": weights(cluster),
        "winner": status_of(cluster)["experiment"]["winner"],
        "attempt": status_of(cluster)["experiment"]["attempt"],
        "creates": sorted(w for w in writes if w[0] == "create"),
        "deletes": sorted(w for w in writes if w[0] == "delete"),
    }
    others = [number for number, write in enumerate(writes, 1) if write[1] != "ModelDeployment"]
    return shown, sorted({*others, *(number + 1 for number in others)})


async def test_death_at_any_write_changes_nothing_in_the_end() -> None:
    want, numbers = await end_of(None, after=False)
    assert len(want["creates"]) == 3
    for number in choose_kill_points(numbers):
        # Before one write and after the next: a death after a write is much like one before the next.
        got, _ = await end_of(number, after=number % 2 == 0)
        assert got == want, f"died at write {number}"
