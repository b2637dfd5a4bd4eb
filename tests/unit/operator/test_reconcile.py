"""Whole passes against an API server in memory, and their death at every write."""

import copy
from typing import Any

import pytest
from perennial.errors import ConflictError

from tests.unit.operator.builders import ACCURACY, UID, uri
from tests.unit.operator.fake_cluster import WINE, FakeCluster, Json
from tests.unit.operator.kill_points import choose_kill_points

RUNTIME = {
    "kind": "ClusterModelRuntime",
    "metadata": {"name": "fast"},
    "spec": {"role": "Server", "image": "fast:1"},
}
TRAINER = {
    "kind": "ClusterModelRuntime",
    "metadata": {"name": "refit"},
    "spec": {"role": "Trainer", "image": "t:1"},
}
ROLLOUT = {
    "scaleDownDelay": "5s",
    "canary": {"steps": [{"setWeight": 20}, {"pause": {"duration": "3s"}}]},
    "analysis": {
        "interval": "1s",
        "initialDelay": "0s",
        "minSamples": 50,
        "bake": "2s",
        "progressDeadline": "5m",
    },
}


def wine(**parts: Any) -> Json:
    spec = {"model": {"uri": uri("a")}, "server": {"runtime": "fast"}, "rollout": ROLLOUT} | parts
    return {
        "apiVersion": "perennial.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "wine", "namespace": "shop", "uid": UID},
        "spec": spec,
    }


def cluster_with(*objects: Json, **options: Any) -> FakeCluster:
    cluster = FakeCluster(**options)
    for body in objects:
        cluster.add(body)
    return cluster


def status_of(cluster: FakeCluster) -> Json:
    found = cluster.find("ModelDeployment", "wine")
    assert found is not None
    status: Json = found["status"]
    return status


def condition(cluster: FakeCluster, type_: str) -> Json:
    found: Json = next((c for c in status_of(cluster)["conditions"] if c["type"] == type_), {})
    return found


def names(cluster: FakeCluster, kind: str) -> list[str]:
    return sorted(name for k, _, name in cluster.objects if k == kind)


async def test_deployment_gets_its_children_and_becomes_ready() -> None:
    cluster = cluster_with(RUNTIME, wine())
    await cluster.run(5)
    assert condition(cluster, "Ready")["status"] == "True"
    assert status_of(cluster)["rollout"]["phase"] == "Healthy"
    assert names(cluster, "ServiceAccount") == ["wine-server", "wine-trainer"]
    (revision,) = names(cluster, "ModelRevision")
    assert names(cluster, "Deployment") == [revision]
    assert set(names(cluster, "Service")) == {"wine", revision}
    assert status_of(cluster)["url"] == "http://gateway.system/shop/wine"


async def test_settled_deployment_is_written_no_more() -> None:
    cluster = cluster_with(RUNTIME, wine())
    await cluster.run(10)
    before = len(cluster.writes)
    await cluster.run(20)
    await cluster.run(5, cluster.reconciler())
    assert cluster.writes[before:] == []


async def test_new_model_takes_the_canary_road_and_the_old_one_goes() -> None:
    cluster = cluster_with(RUNTIME, wine(), requests_per_turn=200)
    await cluster.run(5)
    (first,) = names(cluster, "ModelRevision")
    cluster.edit("ModelDeployment", "wine", lambda spec: spec["model"].update(uri=uri("b")))
    await cluster.run(30)
    rollout = status_of(cluster)["rollout"]
    assert rollout["phase"] == "Healthy"
    assert rollout["stable"] != first
    assert names(cluster, "Deployment") == [rollout["stable"]]
    roles = {n: cluster.find("ModelRevision", n)["status"]["role"] for n in names(cluster, "ModelRevision")}  # type: ignore[index]
    assert roles == {first: "Retired", rollout["stable"]: "Stable"}
    assert {reason for reason, _ in cluster.events} >= {
        "RolloutStarted",
        "WeightChanged",
        "Promoted",
        "ScaledDown",
    }


async def test_bad_model_is_rolled_back_and_named() -> None:
    cluster = cluster_with(RUNTIME, wine(), requests_per_turn=500)
    await cluster.run(5)
    (first,) = names(cluster, "ModelRevision")
    cluster.edit("ModelDeployment", "wine", lambda spec: spec["model"].update(uri=uri("b")))
    await cluster.run(1)
    second = next(n for n in names(cluster, "ModelRevision") if n != first)
    cluster.error_share[second] = 0.5
    await cluster.run(30)
    rollout = status_of(cluster)["rollout"]
    assert (rollout["phase"], rollout["stable"], rollout["failedRevision"]) == ("Degraded", first, second)
    assert condition(cluster, "Ready")["status"] == "True"
    assert condition(cluster, "CanaryReady")["reason"] in {"Breaker", "RatioExceeded"}
    assert cluster.find("ModelRevision", second)["status"]["evidence"]  # type: ignore[index]
    assert names(cluster, "Deployment") == [first]


async def test_missing_runtime_is_named_and_what_serves_goes_on() -> None:
    cluster = cluster_with(RUNTIME, wine())
    await cluster.run(5)
    before = names(cluster, "Deployment")
    cluster.edit("ModelDeployment", "wine", lambda spec: spec["server"].update(runtime="none"))
    await cluster.run(5)
    assert condition(cluster, "InvalidSpec")["reason"] == "RuntimeNotFound"
    assert condition(cluster, "Ready")["status"] == "True"
    assert names(cluster, "Deployment") == before


async def test_spec_that_the_models_refuse_changes_nothing_but_a_condition() -> None:
    cluster = cluster_with(RUNTIME, wine())
    await cluster.run(5)
    before = len(cluster.writes)
    cluster.edit("ModelDeployment", "wine", lambda spec: spec.update(unheard="of"))
    await cluster.run(3)
    assert condition(cluster, "InvalidSpec")["message"].startswith("spec.unheard")
    assert cluster.writes[before:] == [("status", "ModelDeployment", "wine")]
    cluster.edit("ModelDeployment", "wine", lambda spec: spec.pop("unheard"))
    await cluster.run(3)
    assert condition(cluster, "InvalidSpec") == {}


async def test_service_of_somebody_else_is_named_and_left_alone() -> None:
    theirs = {"kind": "Service", "metadata": {"name": "wine", "namespace": "shop"}, "spec": {"theirs": True}}
    cluster = cluster_with(RUNTIME, theirs, wine())
    await cluster.run(5)
    assert condition(cluster, "NameTaken")["status"] == "True"
    assert "Service shop/wine" in condition(cluster, "NameTaken")["message"]
    assert condition(cluster, "Ready")["status"] == "True"
    assert cluster.find("Service", "wine")["spec"] == {"theirs": True}  # type: ignore[index]
    assert sum(reason == "NameTaken" for reason, _ in cluster.events) == 1
    del cluster.objects["Service", "shop", "wine"]
    await cluster.run(3)
    assert condition(cluster, "NameTaken") == {}


async def test_children_of_a_deleted_namesake_are_not_adopted() -> None:
    cluster = cluster_with(RUNTIME, wine())
    await cluster.run(5)
    deployment = cluster.objects["ModelDeployment", "shop", "wine"]
    deployment["metadata"]["uid"] = "uid-of-another"
    deployment.pop("status")
    before = copy.deepcopy(
        {k: o for k, o in cluster.objects.items() if k[0] in {"Service", "ServiceAccount"}}
    )
    await cluster.run(3)
    after = {k: o for k, o in cluster.objects.items() if k in before}
    assert after == before
    assert condition(cluster, "NameTaken")["status"] == "True"


async def test_unreadable_revision_stops_the_pass_before_it_does_harm() -> None:
    cluster = cluster_with(RUNTIME, wine())
    await cluster.run(5)
    (revision,) = names(cluster, "ModelRevision")
    cluster.objects["ModelRevision", "shop", revision]["spec"].pop("inputsHash")
    before = names(cluster, "Deployment")
    await cluster.run(3)
    assert condition(cluster, "InvalidSpec")["reason"] == "UnreadableChild"
    assert names(cluster, "Deployment") == before


async def test_edited_child_is_set_right_again() -> None:
    cluster = cluster_with(RUNTIME, wine())
    await cluster.run(5)
    (name,) = names(cluster, "Deployment")
    cluster.edit("Deployment", name, lambda spec: spec.update(replicas=0))
    await cluster.run(2)
    assert cluster.find("Deployment", name)["spec"]["replicas"] == 1  # type: ignore[index]


async def test_history_is_kept_up_to_its_limit() -> None:
    cluster = cluster_with(RUNTIME, wine(revisionHistoryLimit=2), requests_per_turn=500)
    await cluster.run(5)
    for letter in "bcdef":
        cluster.edit("ModelDeployment", "wine", lambda spec, to=letter: spec["model"].update(uri=uri(to)))
        await cluster.run(25)
    assert len(names(cluster, "ModelRevision")) == 3
    assert status_of(cluster)["modelStatus"]["uri"] == uri("f")


def retrained() -> Json:
    return wine(
        monitoring={"monitors": [ACCURACY]},
        retraining={
            "triggers": [{"monitor": "accuracy"}],
            "limits": {"minNewLabels": 0},
            "cooldown": {"base": "1s"},
        },
    )


def alarm(breach: str = "accuracy-1") -> Json:
    verdict = {"name": "accuracy", "type": "Performance", "state": "Alarm", "reason": "BelowMinimum"}
    return {
        "kind": "MonitorReport",
        "metadata": {"name": "wine", "namespace": "shop", "ownerReferences": [_owner()]},
        "status": {"log": {"labels": 900}, "monitors": [verdict | {"breachId": breach}]},
    }


def _owner() -> Json:
    return {"apiVersion": "perennial.dev/v1alpha1", "kind": "ModelDeployment", "name": "wine", "uid": UID}


def finish_job(cluster: FakeCluster, message: str) -> None:
    """Let the Job of the only run complete with what the trainer wrote."""
    (name,) = names(cluster, "Job")
    job = cluster.objects["Job", "shop", name]
    job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    labels = job["metadata"]["labels"] | {"batch.kubernetes.io/job-name": name}
    ended = {"exitCode": 0, "message": message}
    cluster.add(
        {
            "kind": "Pod",
            "metadata": {"name": f"{name}-x", "namespace": "shop", "labels": labels},
            "status": {"containerStatuses": [{"state": {"terminated": ended}}]},
        }
    )


ACCEPTED = f'{{"verdict": "Accepted", "reason": "ChallengerNoWorse", "candidate_uri": "{uri("b")}"}}'
REFUSED = '{"verdict": "Refused", "reason": "ChallengerWorse", "message": "0.1 worse"}'


async def test_alarm_trains_a_candidate_that_takes_the_same_road_and_survives_edits() -> None:
    cluster = cluster_with(RUNTIME, TRAINER, retrained(), requests_per_turn=500)
    await cluster.run(5)
    cluster.add(alarm())
    await cluster.run(4)
    (run,) = names(cluster, "RetrainingRun")
    assert names(cluster, "Job") == [run]
    assert condition(cluster, "Retraining")["status"] == "True"
    finish_job(cluster, ACCEPTED)
    await cluster.run(30)
    assert status_of(cluster)["modelStatus"]["uri"] == uri("b")
    stable = status_of(cluster)["rollout"]["stable"]
    revision = cluster.find("ModelRevision", stable)
    assert revision is not None
    assert (revision["spec"]["origin"], revision["spec"]["retrainingRun"]) == ("Retraining", run)
    assert cluster.find("RetrainingRun", run)["status"]["candidateRevision"] == stable  # type: ignore[index]
    assert names(cluster, "RetrainingRun") == [run], "the same alarm starts no other"
    resources = {"requests": {"cpu": "1"}}
    cluster.edit("ModelDeployment", "wine", lambda spec: spec["server"].update(resources=resources))
    await cluster.run(30)
    assert status_of(cluster)["modelStatus"]["uri"] == uri("b")
    cluster.edit("ModelDeployment", "wine", lambda spec: spec["model"].update(uri=uri("c")))
    await cluster.run(30)
    assert status_of(cluster)["modelStatus"]["uri"] == uri("c")


async def test_refused_candidate_stays_visible_with_its_reason() -> None:
    cluster = cluster_with(RUNTIME, TRAINER, retrained())
    await cluster.run(5)
    cluster.add(alarm())
    await cluster.run(4)
    finish_job(cluster, REFUSED)
    await cluster.run(5)
    last = status_of(cluster)["retraining"]["lastRun"]
    assert (last["phase"], last["reason"]) == ("Refused", "ChallengerWorse")
    assert status_of(cluster)["retraining"]["unsuccessful"] == 1
    assert ("CandidateRefused", f"{last['name']}: 0.1 worse") in cluster.events
    assert len(names(cluster, "ModelRevision")) == 1


async def test_report_of_somebody_else_starts_nothing() -> None:
    cluster = cluster_with(RUNTIME, TRAINER, retrained())
    await cluster.run(5)
    cluster.add(alarm() | {"metadata": {"name": "wine", "namespace": "shop", "ownerReferences": []}})
    await cluster.run(5)
    assert names(cluster, "RetrainingRun") == []


async def test_deployment_that_is_gone_is_no_error() -> None:
    assert await FakeCluster().reconciler().reconcile(WINE) is None


async def test_children_of_a_deployment_that_goes_during_the_pass_are_not_made_anew(monkeypatch) -> None:
    cluster = cluster_with(RUNTIME, wine())
    await cluster.run(5)
    get = cluster.get

    async def get_and_lose(kind: str, namespace: str | None, name: str) -> Any:
        found = await get(kind, namespace, name)
        if kind == "ModelDeployment":
            cluster.objects = {
                at: stored for at, stored in cluster.objects.items() if at[0] == RUNTIME["kind"]
            }
        return found

    monkeypatch.setattr(cluster, "get", get_and_lose)
    before = len(cluster.writes)
    with pytest.raises(ConflictError, match="was deleted during the pass"):
        await cluster.reconciler().reconcile(WINE)
    assert cluster.writes[before:] == []
    assert await cluster.reconciler().reconcile(WINE) is None


VOLATILE = {"resourceVersion", "uid", "creationTimestamp", "generation"}


def end_state(cluster: FakeCluster) -> dict[Any, Any]:
    """Return everything but what differs between two runs without faults."""
    state = {}
    for key, stored in cluster.objects.items():
        if key[0] not in {"EndpointSlice", "MonitorReport", "Pod"}:
            metadata = {
                k: v for k, v in stored["metadata"].items() if k not in VOLATILE | {"ownerReferences"}
            }
            state[key] = {"spec": stored.get("spec"), "metadata": metadata}
    status = status_of(cluster)
    rollout = status["rollout"]
    state["status"] = {k: rollout[k] for k in ("phase", "stable", "weights", "attempt")}
    state["ready"] = condition(cluster, "Ready")["status"]
    return state


async def play(crash_at: int | None, *, after: bool) -> FakeCluster:
    """Serve, retrain, promote; killed once at the given write."""
    cluster = cluster_with(RUNTIME, TRAINER, retrained(), requests_per_turn=500)
    cluster.crash_at, cluster.crash_after = crash_at, after
    await cluster.run(8)
    cluster.add(alarm())
    await cluster.run(8)
    finish_job(cluster, ACCEPTED)
    await cluster.run(40)
    return cluster


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_operator_killed_at_any_write_comes_to_the_same_end(after: bool) -> None:
    want = await play(None, after=after)
    count = len(want.writes)
    assert count > 25
    for number in choose_kill_points(range(1, count + 1), shift=2 * after):
        got = await play(number, after=after)
        assert end_state(got) == end_state(want), f"killed at write {number}: {want.writes[number - 1]}"
        created = [
            w for w in got.writes if w[0] == "create" and w[1] in {"Job", "RetrainingRun", "Deployment"}
        ]
        assert len(created) == len(set(created)), "nothing is made twice"
