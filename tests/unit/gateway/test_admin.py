"""Reading Envoy's statistics."""

from __future__ import annotations

import pytest
from perennial_gateway.admin import ClusterCounters, parse_counters
from perennial_gateway.errors import EnvoyUnavailable
from perennial_gateway.server import build_status

STATS = """\
cluster.observer.upstream_rq_active: 0
cluster.shop/wine-a.upstream_rq_5xx: 2
cluster.shop/wine-a.upstream_rq_active: 1
cluster.shop/wine-a.upstream_rq_completed: 40
cluster.shop/wine-b.upstream_rq_active: 0
cluster.shop/wine-b.upstream_rq_completed: 7
http.ingress.downstream_rq_active: 3
listener.epoch-abc123.downstream_cx_active: 5
"""


def test_counters_come_with_their_epoch() -> None:
    got = parse_counters(STATS)
    assert (got.epoch, got.active_requests, got.active_connections) == ("abc123", 3, 5)
    assert got.clusters["shop/wine-a"] == ClusterCounters(40, 2, 1)
    assert got.clusters["shop/wine-b"] == ClusterCounters(7, 0, 0)


@pytest.mark.parametrize("text", ["", STATS.replace("listener.", "other.")])
def test_counters_without_an_epoch_are_none(text) -> None:
    with pytest.raises(EnvoyUnavailable):
        parse_counters(text)


def test_status_leaves_out_clusters_that_are_no_revision() -> None:
    got = build_status("gateway-0", {}, parse_counters(STATS))
    assert set(got["counters"]) == {"shop/wine-a", "shop/wine-b"}
    assert (got["pod"], got["epoch"]) == ("gateway-0", "abc123")
