"""Which pods a route may send requests to."""

from __future__ import annotations

import pytest
from perennial_gateway.model import Endpoint, RecordedPart, RouteKey, Stickiness
from perennial_gateway.resolve import build_snapshot

from tests.unit.gateway.builders import endpoint_slice, model_route

KEY = RouteKey("shop", "wine")


def endpoints_of(*slices) -> tuple[Endpoint, ...]:
    return build_snapshot([model_route()], slices).routes[KEY].backends[0].endpoints


def test_ready_and_unknown_endpoints_get_requests_and_unready_ones_none() -> None:
    assert endpoints_of(endpoint_slice()) == (Endpoint("10.0.0.1", 3000), Endpoint("10.0.0.3", 3000))


def test_route_carries_uid_and_generation() -> None:
    got = build_snapshot([model_route()], []).routes[KEY]
    assert (got.uid, got.generation) == ("uid-wine", 3)


def test_address_in_two_slices_counts_once() -> None:
    assert len(endpoints_of(endpoint_slice(), endpoint_slice())) == 2


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("endpointslice.kubernetes.io/managed-by", "somebody"),
        ("app.kubernetes.io/managed-by", "somebody"),
        ("perennial.dev/deployment", "beer"),
        ("kubernetes.io/service-name", "wine-b"),
    ],
)
def test_slice_that_is_not_the_controllers_for_this_deployments_service_does_not_count(label, value) -> None:
    body = endpoint_slice()
    body["metadata"]["labels"][label] = value
    assert endpoints_of(body) == ()


def test_slice_without_its_service_as_owner_does_not_count() -> None:
    body = endpoint_slice()
    body["metadata"]["ownerReferences"] = []
    assert endpoints_of(body) == ()


def test_slice_of_another_namespace_does_not_count() -> None:
    assert endpoints_of(endpoint_slice(namespace="evil")) == ()


def test_slice_of_names_instead_of_addresses_does_not_count() -> None:
    assert endpoints_of(endpoint_slice() | {"addressType": "FQDN"}) == ()


@pytest.mark.parametrize("endpoints", [None, []])
def test_slice_without_endpoints_is_fine(endpoints) -> None:
    assert endpoints_of(endpoint_slice() | {"endpoints": endpoints}) == ()


def test_slice_that_can_not_be_read_is_ignored() -> None:
    assert endpoints_of({"metadata": {}}, endpoint_slice()) != ()


def test_route_that_can_not_be_read_is_named_and_the_others_stay() -> None:
    got = build_snapshot([model_route("beer", revisions=[]), model_route()], [])
    assert set(got.routes) == {KEY}
    bad = got.invalid[RouteKey("shop", "beer")]
    assert (bad.uid, bad.generation) == ("uid-beer", 3)
    assert "revisions" in bad.message


def test_every_field_of_a_route_is_carried_over() -> None:
    revisions = [
        {"name": "wine-b", "service": "wine-b", "port": 3000, "grpcPort": 3001, "weightPercent": 5},
        {"name": "wine-a", "service": "wine-a", "port": 3000, "weightPercent": 95},
    ]
    body = model_route(
        revisions=revisions,
        sticky={
            "type": "Header",
            "name": "X-User",
            "salt": "wine-3",
            "places": [{"revision": "gone", "percent": 5}, {"revision": "wine-a", "percent": 95}],
        },
        mirror={"revision": "wine-b", "percent": 25},
        preview="wine-b",
        latencyBudgetMs=50,
        limits={"timeout": "1m30s", "maxBody": "1Mi"},
    )
    got = build_snapshot([body], []).routes[KEY]
    assert [(b.revision, b.grpc_port) for b in got.backends] == [("wine-b", 3001), ("wine-a", None)]
    assert got.sticky == Stickiness("x-user", "wine-3", places=(("gone", 5), ("wine-a", 95)))
    assert (got.mirror, got.mirror_percent, got.preview) == ("wine-b", 25, "wine-b")
    assert (got.latency_budget_ms, got.timeout_s, got.max_body_bytes) == (50, 90.0, 2**20)


def test_what_is_recorded_of_a_revision_is_carried_over_in_its_order() -> None:
    body = model_route()
    body["spec"]["revisions"][0]["log"] = {"mode": "Request", "percent": 5, "exclude": ["b", "a"]}
    (got,) = build_snapshot([body], []).routes[KEY].backends
    assert got.log == RecordedPart(5, has_inputs=True, has_outputs=False, exclude=("b", "a"))
    (without,) = build_snapshot([model_route()], []).routes[KEY].backends
    assert without.log is None


def test_cookie_keeps_its_name_and_lifetime() -> None:
    body = model_route(sticky={"type": "Cookie", "name": "Arm", "salt": "wine-3", "ttl": "2h"})
    got = build_snapshot([body], []).routes[KEY].sticky
    assert got == Stickiness("Arm", "wine-3", is_cookie=True, ttl_s=7200)


def test_route_that_says_nothing_has_the_documented_limits() -> None:
    got = build_snapshot([model_route()], []).routes[KEY]
    assert (got.timeout_s, got.max_body_bytes, got.latency_budget_ms) == (60.0, 16 * 2**20, None)


def test_digest_is_equal_for_equal_knowledge_and_differs_by_endpoint_or_generation() -> None:
    one = build_snapshot([model_route(), model_route("beer")], [endpoint_slice()])
    same = build_snapshot([model_route("beer"), model_route()], [endpoint_slice()])
    fewer = build_snapshot([model_route(), model_route("beer")], [])
    newer = model_route("beer")
    newer["metadata"]["generation"] = 4
    assert one.digest() == same.digest()
    assert len({one.digest(), fewer.digest(), build_snapshot([model_route(), newer], []).digest()}) == 3
