"""What is written, in which order, and what is left alone."""

from typing import Any

import pytest
from perennial.manifests.differences import differs, with_hash
from perennial.manifests.plan import Key, Verb, build_plan, key_of

OWNER = "uid-of-wine"
OURS = frozenset({OWNER})


def child(kind: str, name: str, owner: str = OWNER, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "ownerReferences": [{"uid": owner}]},
        "spec": spec,
    }


def stored(manifest: dict[str, Any], **extra: Any) -> dict[str, Any]:
    hashed = with_hash(manifest)
    return {
        **hashed,
        "metadata": {
            **hashed["metadata"],
            "uid": f"uid-{manifest['metadata']['name']}",
            "resourceVersion": "7",
        }
        | extra,
    }


def observed(*children: dict[str, Any]) -> dict[Key, dict[str, Any]]:
    return {key_of(c): c for c in children}


def test_missing_child_is_created() -> None:
    (write,) = build_plan([child("Service", "wine")], {}, OURS).writes
    assert (write.verb, write.key, write.owner_uid) == (Verb.CREATE, Key("Service", "wine"), OWNER)


def test_child_that_is_as_asked_for_is_left_alone() -> None:
    service = child("Service", "wine", type="ExternalName")
    defaulted = stored(service)
    defaulted["spec"] = {**service["spec"], "sessionAffinity": "None"}
    assert build_plan([service], observed(defaulted), OURS).writes == ()


def test_child_that_somebody_changed_is_applied_to_the_very_object_that_was_read() -> None:
    deployment = child("Deployment", "wine-1", replicas=2)
    changed = stored(deployment)
    changed["spec"] = {"replicas": 5}
    (write,) = build_plan([deployment], observed(changed), OURS).writes
    assert (write.verb, write.uid, write.resource_version) == (Verb.APPLY, "uid-wine-1", "7")


def test_field_that_is_no_longer_asked_for_is_noticed() -> None:
    before = stored(child("Deployment", "wine-1", replicas=2, paused=True))
    (write,) = build_plan([child("Deployment", "wine-1", replicas=2)], observed(before), OURS).writes
    assert write.verb is Verb.APPLY


def test_namesake_of_somebody_else_is_taken_and_never_touched() -> None:
    theirs = stored(child("Service", "wine", owner="somebody"))
    plan = build_plan([child("Service", "wine")], observed(theirs), OURS)
    assert plan.writes == ()
    assert plan.taken == (Key("Service", "wine"),)


def test_child_of_somebody_else_with_our_labels_is_not_deleted() -> None:
    assert build_plan([], observed(stored(child("Service", "x", owner="somebody"))), OURS).writes == ()


def test_child_that_is_no_longer_asked_for_is_deleted_as_it_was_read() -> None:
    (write,) = build_plan([], observed(stored(child("Deployment", "wine-1"))), OURS).writes
    assert (write.verb, write.uid, write.resource_version) == (Verb.DELETE, "uid-wine-1", "7")


def test_child_that_is_being_deleted_is_neither_deleted_nor_applied() -> None:
    going = stored(child("Deployment", "wine-1", replicas=1), deletionTimestamp="2026-01-01T00:00:00Z")
    assert build_plan([], observed(going), OURS).writes == ()
    assert build_plan([child("Deployment", "wine-1", replicas=2)], observed(going), OURS).writes == ()


@pytest.mark.parametrize("kind", ["ModelRevision", "RetrainingRun", "Job"])
def test_frozen_kinds_are_never_changed(kind: str) -> None:
    there = stored(child(kind, "wine-1", a=1))
    assert build_plan([child(kind, "wine-1", a=2)], observed(there), OURS).writes == ()


def test_pods_come_before_the_route_and_go_after_it() -> None:
    made = [child(k, "x") for k in ("ModelRoute", "Deployment", "Service", "ServiceAccount", "ModelRevision")]
    want = ["ServiceAccount", "ModelRevision", "Service", "Deployment", "ModelRoute"]
    assert [w.key.kind for w in build_plan(made, {}, OURS).writes] == want
    removed = build_plan([], observed(*(stored(m) for m in made)), OURS).writes
    assert [w.key.kind for w in removed] == want[::-1]


@pytest.mark.parametrize(
    ("asked", "there", "same"),
    [
        ({"cpu": "0.5"}, {"cpu": "500m"}, True),
        ({"memory": "1Gi"}, {"memory": "1024Mi"}, True),
        ({"memory": "1e3"}, {"memory": "1k"}, True),
        ({"cpu": "1"}, {"cpu": "2"}, False),
        # Hashes with nothing but digits and an e are no quantities, and no number holds such a power.
        ({"hash": "69e3418840412000"}, {"hash": "58e3418840412000"}, False),
        ({"image": "a:1"}, {"image": "a:2"}, False),
        ({"list": [1, 2]}, {"list": [1]}, False),
        ({"list": [{"a": 1}]}, {"list": [{"a": 1, "defaulted": True}]}, True),
        ({"env": {"name": "X", "value": ""}}, {"env": {"name": "X"}}, True),
        ({"a": None}, {}, True),
        ({"a": 1}, None, False),
    ],
)
def test_only_what_was_asked_for_is_compared(asked: Any, there: Any, same: bool) -> None:
    assert differs(asked, there) is not same
