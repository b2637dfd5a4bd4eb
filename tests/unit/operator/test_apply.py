"""Writes: what is refused, and by whom."""

from typing import Any

import pytest
from perennial.cluster.apply import Applier
from perennial.cluster.client import _to_error
from perennial.cluster.events import EventPoster
from perennial.errors import (
    ConflictError,
    LeaseLostError,
    NamespaceEndingError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from perennial.manifests.plan import Key, Verb, Write
from perennial.rollout.decision import EventReason, Notice

from tests.unit.operator.fake_cluster import WINE, FakeCluster
from tests.unit.operator.test_reconcile import RUNTIME, cluster_with, wine


def service(owner: str = "ours") -> dict[str, Any]:
    metadata = {"name": "wine", "namespace": "shop", "ownerReferences": [{"uid": owner}]}
    return {"kind": "Service", "metadata": metadata, "spec": {}}


def applier(cluster: FakeCluster, *, leads: bool = True) -> Applier:
    client: Any = cluster
    return Applier(client, lambda: leads)


CREATE = Write(Verb.CREATE, Key("Service", "wine"), service(), owner_uid="ours")


async def test_name_of_somebody_else_is_reported_and_the_other_writes_go_on() -> None:
    cluster = cluster_with(service("theirs"))
    other = {"kind": "ServiceAccount", "metadata": {"name": "wine-server", "namespace": "shop"}}
    writes = [CREATE, Write(Verb.CREATE, Key("ServiceAccount", "wine-server"), other, owner_uid="ours")]
    assert await applier(cluster).apply_plan("shop", writes) == (Key("Service", "wine"),)
    assert cluster.find("ServiceAccount", "wine-server") is not None


async def test_own_child_made_meanwhile_is_a_conflict() -> None:
    with pytest.raises(ConflictError):
        await applier(cluster_with(service("ours"))).apply_plan("shop", [CREATE])


async def test_nothing_is_written_without_the_lease() -> None:
    cluster = FakeCluster()
    with pytest.raises(LeaseLostError):
        await applier(cluster, leads=False).apply_plan("shop", [CREATE])
    assert cluster.objects == {}


async def test_late_pass_of_a_paused_leader_is_refused_by_version() -> None:
    cluster = cluster_with(RUNTIME, wine(), requests_per_turn=500)
    await cluster.run(5)
    cluster.edit(
        "ModelDeployment", "wine", lambda spec: spec["model"].update(uri=f"perennial://sha256:{'b' * 64}")
    )
    await cluster.run(2)
    paused, successor = cluster.reconciler(), cluster.reconciler()
    apply_plan = paused._applier.apply_plan

    async def wake_late(*arguments: Any) -> tuple[Key, ...]:
        await cluster.run(10, successor)
        return await apply_plan(*arguments)

    paused._applier.apply_plan = wake_late  # type: ignore[method-assign]
    with pytest.raises(ConflictError):
        await paused.reconcile(WINE)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, b'{"message": "gone"}', NotFoundError),
        (409, b'{"message": "changed"}', ConflictError),
        (422, b'{"message": "invalid"}', RefusedError),
        (
            403,
            b'{"message": "no", "details": {"causes": [{"reason": "NamespaceTerminating"}]}}',
            NamespaceEndingError,
        ),
        (403, b"[]", RefusedError),
        (429, b"", UnavailableError),
        (401, b"", UnavailableError),
        (503, b"<html>", UnavailableError),
    ],
)
def test_answers_become_errors_by_what_is_to_be_done(
    status: int, body: bytes, error: type[Exception]
) -> None:
    assert type(_to_error("GET", "/x", status, body)) is error


async def test_event_names_its_object_and_a_reason_of_its_own() -> None:
    posted: list[dict[str, Any]] = []

    class Client:
        async def create(self, body: dict[str, Any]) -> None:
            posted.append(body)

    client: Any = Client()
    regarding = wine()
    regarding["metadata"]["resourceVersion"] = "5"
    notices = [
        Notice(EventReason.PROMOTED, "done"),
        Notice(EventReason.ROLLED_BACK, "x" * 5000, is_warning=True),
    ]
    await EventPoster(client, "pod-1").post(regarding, notices)
    assert [(e["reason"], e["type"]) for e in posted] == [("Promoted", "Normal"), ("RolledBack", "Warning")]
    assert posted[0]["regarding"]["uid"] == "uid-of-wine"
    assert len(posted[1]["note"]) <= 1024
