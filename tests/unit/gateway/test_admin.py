"""Reading Envoy's statistics."""

from __future__ import annotations

import pytest
from perennial_gateway.admin import ClusterCounters, parse_counters
from perennial_gateway.clients import ClientCounts
from perennial_gateway.errors import EnvoyUnavailable
from perennial_gateway.server import build_status

STATS = """\
cluster.observer.upstream_rq_active: 0
cluster.shop/wine-a.upstream_rq_5xx: 2
cluster.shop/wine-a.upstream_rq_active: 1
cluster.shop/wine-a.upstream_rq_completed: 40
cluster.shop/wine-a.upstream_rq_400: 3
cluster.shop/wine-a.upstream_rq_422: 4
cluster.shop/wine-a/pin.upstream_rq_completed: 11
cluster.shop/wine-b/shadow.upstream_rq_completed: 9
cluster.shop/wine-b/shadow.upstream_rq_5xx: 1
cluster.shop/wine-b/mirror.upstream_rq_pending_overflow: 3
cluster.shop/wine-b/mirror.upstream_rq_pending_failure_eject: 2
cluster.shop/wine-b.upstream_rq_active: 0
cluster.shop/wine-b.upstream_rq_completed: 7
http.ingress.downstream_rq_active: 3
http.pin.downstream_rq_active: 1
listener.epoch-abc123.downstream_cx_active: 5
perennial.clients: 8
perennial.slow.cluster.shop/wine-a: 6
perennial.slow.cluster.shop/wine-b/shadow: 2
perennial.unserved.route.shop/wine: 5
perennial.unserved.route.shop/wine:preview: 1
"""


def test_counters_come_with_their_epoch() -> None:
    got = parse_counters(STATS)
    assert (got.epoch, got.active_requests, got.active_connections) == ("abc123", 4, 5)
    assert got.clients_offered == 8
    assert got.unserved == {"shop/wine": 5, "shop/wine:preview": 1}
    assert got.clusters["shop/wine-a"] == ClusterCounters(40, 2, 1, slow=6, invalid=7)
    assert got.clusters["shop/wine-b"] == ClusterCounters(7, 0, 0)
    assert got.clusters["shop/wine-b/mirror"] == ClusterCounters(dropped=5)


@pytest.mark.parametrize("text", ["", STATS.replace("listener.", "other.")])
def test_counters_without_an_epoch_are_none(text) -> None:
    with pytest.raises(EnvoyUnavailable):
        parse_counters(text)


GRPC_STATS = """\
cluster.shop/wine-a/grpc.upstream_rq_completed: 10
cluster.shop/wine-a/grpc.upstream_rq_5xx: 1
cluster.shop/wine-a/grpc.upstream_rq_active: 2
cluster.shop/wine-a/pin/grpc.upstream_rq_completed: 3
cluster.shop/wine-b/shadow/grpc.upstream_rq_completed: 4
cluster.shop/wine-b/mirror/grpc.upstream_rq_pending_overflow: 6
cluster.shop/grpc.upstream_rq_5xx: 9
perennial.grpc_failed.cluster.shop/wine-a/grpc: 5
perennial.grpc_failed.cluster.shop/wine-b/shadow/grpc: 2
perennial.grpc_invalid.cluster.shop/wine-a/grpc: 3
perennial.slow.cluster.shop/wine-a/grpc: 4
"""


def test_grpc_counts_with_the_same_traffic_over_http_and_each_failure_once() -> None:
    got = parse_counters(STATS + GRPC_STATS)
    assert got.clusters["shop/wine-a/grpc"] == ClusterCounters(10, 5, 2, slow=4, invalid=3)
    folded = got.folded()
    assert folded["shop/wine-a"] == ClusterCounters(50, 7, 3, slow=10, invalid=10)
    assert folded["shop/wine-a/pin"] == ClusterCounters(14)
    assert folded["shop/wine-b/shadow"] == ClusterCounters(13, 3, slow=2)
    assert folded["shop/wine-b/mirror"] == ClusterCounters(dropped=11)
    # A revision may be called so.
    assert folded["shop/grpc"] == ClusterCounters(errors=9)
    assert not [name for name in folded if name.endswith("/grpc") and name != "shop/grpc"]


def test_status_counts_copies_apart_and_pinned_requests_nowhere() -> None:
    clients = {"shop/wine-a": ClientCounts(5, 1)}
    got = build_status("gateway-0", {}, parse_counters(STATS), clients)
    assert (got["pod"], got["epoch"]) == ("gateway-0", "abc123")
    # Though the agent knows no route yet; what found no server is told all the same, but not that of previews.
    assert (got["routes"], got["unserved"]) == ({}, {"shop/wine": 5})
    assert got["counters"] == {
        "shop/wine-a": {
            "requests": 40,
            "errors": 2,
            "active": 1,
            "slow": 6,
            "invalid": 7,
            "users": 5,
            "failingUsers": 1,
            "shadow": {"requests": 0, "errors": 0, "slow": 0},
        },
        "shop/wine-b": {
            "requests": 7,
            "errors": 0,
            "active": 0,
            "slow": 0,
            "invalid": 0,
            "users": 0,
            "failingUsers": 0,
            "shadow": {"requests": 9, "errors": 1, "slow": 2},
        },
    }
