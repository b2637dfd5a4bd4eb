"""The number of pods changes hands without a moment in which nobody owns it."""

from typing import Any

import pytest
from perennial.cluster.client import FIELD_MANAGER
from perennial.cluster.scale import write_scale
from perennial.manifests.plan import Key, Plan, Verb, Write
from perennial.manifests.replicas import only_manifest_owns_replicas, with_scale_writes

KEY = Key("Deployment", "wine-1")
ROUTE = Write(Verb.APPLY, Key("ModelRoute", "wine"), {}, "uid-of-route", "3")
MANIFEST = Write(Verb.APPLY, KEY, {"spec": {}}, "uid-1", "7")


def managed(manager=FIELD_MANAGER, *, replicas=True, subresource="", operation="Apply"):
    fields = {"f:spec": {"f:template": {}, **({"f:replicas": {}} if replicas else {})}}
    entry = {"manager": manager, "operation": operation, "fieldsV1": fields}
    return entry | ({"subresource": subresource} if subresource else {})


def deployment(replicas=2, *entries, **metadata):
    base = {"name": "wine-1", "uid": "uid-1", "resourceVersion": "7", "managedFields": list(entries)}
    return {KEY: {"kind": "Deployment", "metadata": base | metadata, "spec": {"replicas": replicas}}}


def writes(plan, replicas, stored):
    return with_scale_writes(plan, replicas, stored, FIELD_MANAGER).writes


@pytest.mark.parametrize(
    ("entries", "want"),
    [
        ([managed()], True),
        ([managed(replicas=False)], False),
        ([managed(), managed("perennial-scaler", subresource="scale")], False),
        ([managed("kube-controller-manager", subresource="scale", operation="Update")], False),
        ([managed(operation="Update")], False),
        ([], False),
    ],
    ids=["the manifest", "nobody", "the scaler, too", "an autoscaler", "an update", "not told"],
)
def test_who_set_the_number_is_read_from_the_managed_fields(entries, want):
    assert only_manifest_owns_replicas(deployment(2, *entries)[KEY], FIELD_MANAGER) is want


def test_number_that_is_right_and_owned_by_the_scaler_is_not_written():
    assert writes(Plan((ROUTE,)), {"wine-1": 2}, deployment(2, managed(replicas=False))) == (ROUTE,)


def test_other_number_is_written_before_the_route_that_needs_its_pods():
    want = Write(Verb.SCALE, KEY, {"replicas": 5}, "uid-1", "7")
    assert writes(Plan((ROUTE,)), {"wine-1": 5}, deployment(2)) == (want, ROUTE)


@pytest.mark.parametrize("wanted", [2, None], ids=["the operator", "the cluster's autoscaler"])
def test_number_is_taken_over_before_the_manifest_leaves_it_out(wanted):
    got = writes(Plan((MANIFEST, ROUTE)), {"wine-1": wanted}, deployment(2, managed()))
    assert got == (Write(Verb.SCALE, KEY, {"replicas": 2}, "uid-1", "7"), ROUTE)
    # In the next pass the scaler owns it, too, and the manifest may let go.
    after = deployment(2, managed("perennial-scaler", subresource="scale"), managed())
    assert writes(Plan((MANIFEST, ROUTE)), {"wine-1": wanted}, after) == (MANIFEST, ROUTE)


def test_number_of_the_clusters_autoscaler_is_left_alone():
    assert writes(Plan(), {"wine-1": None}, deployment(9, managed(replicas=False))) == ()


def test_deployment_that_goes_or_is_not_there_yet_is_not_scaled():
    delete = Write(Verb.DELETE, KEY, {}, "uid-1", "7")
    assert writes(Plan((delete,)), {"wine-1": 5}, deployment(2)) == (delete,)
    assert writes(Plan(), {"wine-1": 5}, deployment(2, deletionTimestamp="2026-01-01T00:00:00Z")) == ()
    assert writes(Plan(), {"wine-1": 5}, {}) == ()


async def test_scale_is_applied_to_the_very_object_that_was_read():
    calls: list[tuple[Any, ...]] = []

    class Recorder:
        async def apply_subresource(self, *arguments: Any, manager: str) -> None:
            calls.append((*arguments, manager))

    client: Any = Recorder()
    await write_scale(client, "shop", Write(Verb.SCALE, KEY, {"replicas": 5}, "uid-1", "7"))
    ((kind, namespace, name, subresource, body, manager),) = calls
    assert (kind, namespace, name, subresource) == ("Deployment", "shop", "wine-1", "scale")
    assert body["metadata"] == {"name": "wine-1", "namespace": "shop", "uid": "uid-1", "resourceVersion": "7"}
    assert body["spec"] == {"replicas": 5}
    assert manager != FIELD_MANAGER, "what the manifests' manager stops applying is removed"
