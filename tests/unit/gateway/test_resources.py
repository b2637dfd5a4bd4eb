"""The configuration that routes become."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from perennial_gateway.errors import InvalidRoute
from perennial_gateway.headers import BUDGET_HEADER, CAPTURE_HEADER
from perennial_gateway.model import Backend, RecordedPart
from perennial_gateway.resources import (
    build_fragment,
    build_pin_configuration,
    build_route_configuration,
    clusters_of,
    digest,
    render_response,
)

from tests.unit.gateway.builders import backend, endpoint, route


def configuration(*routes):
    fragments = {r.key: build_fragment(r, "cluster.local", "/run/shadow.sock") for r in routes}
    return json.loads(build_route_configuration(fragments, "http://gateway")), fragments


def names(routes) -> list[str]:
    return [r["name"] for r in routes]


def test_each_revision_has_one_cluster_whatever_its_weight() -> None:
    _, fragments = configuration(route("wine", backend("wine-a", 100), backend("wine-b", 0)))
    assert {name for name in clusters_of(fragments) if name.count("/") == 1} == {"shop/wine-a", "shop/wine-b"}


def test_pinned_and_copied_requests_have_clusters_of_their_own() -> None:
    _, fragments = configuration(route("wine", backend("wine-b", 0), backend("wine-a", 100), mirror="wine-b"))
    got = {name for name in clusters_of(fragments) if name.startswith("shop/wine-b/")}
    assert got == {"shop/wine-b/pin", "shop/wine-b/shadow", "shop/wine-b/mirror"}
    assert "shop/wine-a/shadow" not in clusters_of(fragments)


def speaking(revision: str, weight: int, *endpoints, port: int | None = 3001):
    return replace(backend(revision, weight, *endpoints), grpc_port=port)


def test_grpc_has_clusters_of_its_own_on_the_same_pods_where_a_revision_speaks_it() -> None:
    _, fragments = configuration(
        route("wine", speaking("wine-b", 5, endpoint(1), endpoint(2)), backend("wine-a", 95), mirror="wine-b")
    )
    clusters = {name: json.loads(c) for name, c in clusters_of(fragments).items() if name.endswith("/grpc")}
    assert set(clusters) == {f"shop/wine-b{kind}/grpc" for kind in ("", "/pin", "/shadow", "/mirror")}
    endpoints = clusters["shop/wine-b/grpc"]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    got = [e["endpoint"]["address"]["socket_address"] for e in endpoints]
    assert got == [{"address": f"10.0.0.{i}", "port_value": 3001} for i in (1, 2)]
    for cluster in clusters.values():
        (options,) = cluster["typed_extension_protocol_options"].values()
        assert options["explicit_http_config"] == {"http2_protocol_options": {}}


def test_grpc_clusters_stay_while_no_pod_is_ready_so_that_their_counters_do() -> None:
    _, fragments = configuration(route("wine", Backend("wine-a", 100, (), grpc_port=3001)))
    assert "shop/wine-a/grpc" in clusters_of(fragments)


def test_grpc_requests_are_matched_first_and_on_the_models_own_hosts_only() -> None:
    got, _ = configuration(route("wine", speaking("wine-b", 20), speaking("wine-a", 80)))
    own, any_host = got["virtual_hosts"]
    assert [r["match"].get("grpc") for r in own["routes"]] == [None, {}, None, None]
    split = own["routes"][1]["route"]["weighted_clusters"]["clusters"]
    assert [(c["name"], c["weight"]) for c in split] == [("shop/wine-b/grpc", 20), ("shop/wine-a/grpc", 80)]
    assert not [r for r in any_host["routes"] if "grpc" in r["match"]]


def test_a_route_without_grpc_answers_it_by_itself() -> None:
    got, _ = configuration(route("wine", backend("wine-a")))
    answer = got["virtual_hosts"][0]["routes"][1]
    assert (answer["match"], answer["direct_response"]["status"]) == ({"prefix": "/", "grpc": {}}, 501)


def test_explanations_are_shared_out_as_predictions_but_neither_counted_nor_copied() -> None:
    wine = route("wine", backend("wine-b", 20), backend("wine-a", 80), mirror="wine-b", latency_budget_ms=9)
    got, _ = configuration(wine)
    *_, explain, predict = got["virtual_hosts"][0]["routes"]
    split = {r["name"]: r["route"]["weighted_clusters"]["clusters"] for r in (explain, predict)}
    assert [(c["name"], c["weight"]) for c in split["shop/wine/explain"]] == [
        ("shop/wine-b/pin", 20),
        ("shop/wine-a/pin", 80),
    ]
    assert [c["name"] for c in split["shop/wine"]] == ["shop/wine-b", "shop/wine-a"]
    assert [len(r["route"]["request_mirror_policies"]) for r in (explain, predict)] == [0, 1]
    added = [[h["header"]["key"] for h in r["request_headers_to_add"]] for r in (explain, predict)]
    assert [BUDGET_HEADER in names for names in added] == [False, True]


def test_generation_alone_changes_nothing() -> None:
    assert configuration(route(generation=1)) == configuration(route(generation=2))


def test_order_of_routes_and_endpoints_changes_nothing() -> None:
    first = route("wine", backend("wine-a", 100, endpoint(1), endpoint(2)))
    again = route("wine", backend("wine-a", 100, endpoint(2), endpoint(1)))
    one, fragments = configuration(first, route("beer"))
    other, others = configuration(route("beer"), again)
    assert one == other
    assert digest(clusters_of(fragments).values()) == digest(clusters_of(others).values())


def test_no_domain_appears_twice() -> None:
    got, _ = configuration(
        route("wine", preview="wine-a"),
        route("wine", namespace="svc", preview="wine-a"),
        route("svc", namespace="wine", preview="svc-a"),
        route("preview", namespace="wine", preview="preview-a"),
    )
    domains = [domain for host in got["virtual_hosts"] for domain in host["domains"]]
    assert len(domains) == len(set(domains))


def test_bare_names_come_after_all_paths_and_the_404_last() -> None:
    got, _ = configuration(route("wine"), route("beer"))
    assert names(got["virtual_hosts"][-1]["routes"]) == [
        "shop/beer/feedback",
        "shop/beer/explain",
        "shop/beer",
        "shop/wine/feedback",
        "shop/wine/explain",
        "shop/wine",
        "bare:beer",
        "bare:wine",
        "not-found",
    ]


def test_bare_name_of_two_namespaces_names_both() -> None:
    got, _ = configuration(route("wine"), route("wine", namespace="cellar"))
    bare = next(r for r in got["virtual_hosts"][-1]["routes"] if r["name"] == "bare:wine")
    body = bare["direct_response"]["body"]["inline_string"]
    assert "http://wine.cellar/v2/ or http://wine.shop/v2/" in body


def test_retries_cover_nothing_that_a_server_may_have_seen() -> None:
    got, fragments = configuration(route(preview="wine-a"))
    hosts = [*got["virtual_hosts"], *json.loads(build_pin_configuration(fragments))["virtual_hosts"]]
    want = "connect-failure,refused-stream,reset-before-request"
    assert {host["retry_policy"]["retry_on"] for host in hosts} == {want}
    assert not [r for host in hosts for r in host["routes"] if "retry_policy" in r.get("route", {})]


def test_response_carries_its_version() -> None:
    got = json.loads(render_response(['{"name":"a"}'], "v1"))
    assert got == {"version_info": "v1", "resources": [{"name": "a"}]}


def shape(value):
    """The value with every string replaced: what text inside a field must not change."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return str if isinstance(value, str) else value


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(min_size=1, max_size=70), st.text(min_size=1, max_size=70), st.text(min_size=1, max_size=70))
def test_text_in_a_name_is_refused_or_stays_text(namespace, name, revision) -> None:
    plain, _ = configuration(route("wine", backend("wine-a")))
    try:
        got, _ = configuration(route(name, backend(revision), namespace=namespace))
    except InvalidRoute:
        return
    assert shape(got) == shape(plain)


def captured(routes) -> dict[str, list[str]]:
    """Which revisions' answers each route has captured, by the route's name."""
    return {
        r["name"]: [
            c["name"]
            for c in r["route"].get("weighted_clusters", {}).get("clusters", ())
            if "envoy.filters.http.lua" in c.get("typed_per_filter_config", {})
        ]
        for r in routes
        if "route" in r
    }


def test_only_live_predictions_of_revisions_whose_servers_keep_no_log_are_captured() -> None:
    logged = replace(backend("wine-b", 40), log=RecordedPart())
    got, _ = configuration(route("wine", logged, backend("wine-a", 60), preview="wine-b"))
    own, rest = got["virtual_hosts"][0], got["virtual_hosts"][-1]
    for routes in (own["routes"], rest["routes"]):
        hits = {name: clusters for name, clusters in captured(routes).items() if clusters}
        assert hits == {"shop/wine": ["shop/wine-b"]}


def test_copies_name_their_route_where_the_gateway_logs_the_shadow() -> None:
    for log, want in ((RecordedPart(), ["shop/wine"]), (None, [])):
        shadow = replace(backend("wine-b", 0), log=log)
        got, _ = configuration(route("wine", shadow, backend("wine-a", 100), mirror="wine-b"))
        (predictions,) = (
            r
            for r in got["virtual_hosts"][0]["routes"]
            if r["name"] == "shop/wine" and "grpc" not in r["match"]
        )
        (policy,) = predictions["route"]["request_mirror_policies"]
        headers = [m["append"]["header"] for m in policy["request_headers_mutations"] if "append" in m]
        assert [h["value"] for h in headers if h["key"] == CAPTURE_HEADER] == want
