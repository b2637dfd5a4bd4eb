"""How the culprit among many routes is found, against a fake Envoy that refuses marked clusters."""

from __future__ import annotations

import pytest
from perennial_gateway.applier import Applier, load_last_good, save_last_good
from perennial_gateway.errors import ConfigRejected, EnvoyUnavailable
from perennial_gateway.model import RouteKey

from tests.unit.gateway.builders import fragment


class FakeEnvoy:
    def __init__(self) -> None:
        self.serving: dict = {}
        self.history: list[set[RouteKey]] = []
        self.retained: dict = {}
        self.tries = 0

    async def publish(self, fragments) -> None:
        self.tries += 1
        self.retained |= {n: c for f in fragments.values() for n, c in f.clusters.items()}
        if any('"bad"' in cluster for cluster in self.retained.values()):
            raise ConfigRejected
        self.serving = dict(fragments)
        self.history.append(set(fragments))

    def drop_clusters(self, keep) -> None:
        self.retained = {n: c for n, c in self.retained.items() if n in keep}


def key(name: str) -> RouteKey:
    return RouteKey("shop", name)


def good(*names: str) -> dict:
    return {key(name): fragment(name) for name in names}


def bad(*names: str) -> dict:
    return {key(name): fragment(name, "bad") for name in names}


@pytest.mark.parametrize("culprits", [["r0"], ["r31"], ["r3", "r4"], ["r0", "r15", "r31"]])
async def test_culprits_are_found_and_all_others_served(culprits) -> None:
    envoy = FakeEnvoy()
    applier = Applier(envoy, {})
    want = good(*(f"r{i}" for i in range(32) if f"r{i}" not in culprits))
    await applier.apply(want | bad(*culprits))
    assert envoy.serving == applier.last_good == want
    assert set(applier.quarantined) == {key(name) for name in culprits}
    assert envoy.tries <= 4 + len(culprits) * 2 * 6


async def test_search_never_takes_a_serving_route_away() -> None:
    envoy = FakeEnvoy()
    serving = good(*(f"r{i}" for i in range(16)))
    applier = Applier(envoy, {})
    await applier.apply(serving)
    envoy.history.clear()
    await applier.apply(serving | bad("x", "y"))
    assert envoy.history
    assert all(set(serving) <= served for served in envoy.history)


async def test_all_bad_routes_leave_an_empty_configuration() -> None:
    envoy = FakeEnvoy()
    applier = Applier(envoy, {})
    await applier.apply(bad("a", "b"))
    assert envoy.serving == {}
    assert set(applier.quarantined) == {key("a"), key("b")}


async def test_quarantined_route_keeps_its_last_good_form_and_is_not_tried_again() -> None:
    envoy = FakeEnvoy()
    applier = Applier(envoy, {})
    await applier.apply(good("a", "b"))
    await applier.apply(good("a") | bad("b"))
    assert envoy.serving == good("a", "b")
    tries = envoy.tries
    await applier.apply(good("a", "c") | bad("b"))
    assert envoy.serving == good("a", "b", "c")
    assert envoy.tries == tries + 1


async def test_mended_route_leaves_quarantine() -> None:
    envoy = FakeEnvoy()
    applier = Applier(envoy, {})
    await applier.apply(bad("a"))
    await applier.apply(good("a"))
    assert envoy.serving == good("a")
    assert applier.quarantined == {}


async def test_last_good_form_that_is_refused_too_is_left_out() -> None:
    envoy = FakeEnvoy()
    applier = Applier(envoy, bad("a") | good("b"))
    await applier.apply(bad("a") | good("b"))
    assert envoy.serving == good("b")
    assert set(applier.quarantined) == {key("a")}


async def test_retained_cluster_that_is_refused_blames_no_route() -> None:
    envoy = FakeEnvoy()
    envoy.retained = {"shop/old": '{"name":"shop/old","mark":"bad"}'}
    applier = Applier(envoy, {})
    await applier.apply(good("a"))
    assert envoy.serving == good("a")
    assert applier.quarantined == {}


async def test_unavailable_envoy_blames_nobody() -> None:
    class Down(FakeEnvoy):
        async def publish(self, fragments) -> None:
            raise EnvoyUnavailable

    applier = Applier(Down(), good("a"))
    with pytest.raises(EnvoyUnavailable):
        await applier.apply(good("a", "b"))
    assert applier.last_good == good("a")
    assert applier.quarantined == {}


def test_last_good_survives_a_restart(tmp_path) -> None:
    save_last_good(tmp_path / "last-good.json", good("a", "b"))
    assert load_last_good(tmp_path / "last-good.json") == good("a", "b")


@pytest.mark.parametrize("content", [b"", b"[{", b"[1]", b'{"a": 1}'])
def test_damaged_last_good_counts_as_none(tmp_path, content) -> None:
    path = tmp_path / "last-good.json"
    path.write_bytes(content)
    assert load_last_good(path) == {}
    assert load_last_good(tmp_path / "missing.json") == {}
