"""What a route must be before Envoy sees it, and which weights take effect."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perennial_gateway.errors import InvalidRoute
from perennial_gateway.model import Backend, Stickiness, build_slots, seat_clients

from tests.unit.gateway.builders import backend, endpoint, route


@pytest.mark.parametrize(
    "bad",
    [
        route("Wine"),
        route("wine.shop"),
        route("wine/../beer"),
        route("wine\nhost"),
        route(namespace="*"),
        route("wine", backend("wine-a", 99)),
        route("wine", backend("wine-a", 50), backend("wine-a", 50)),
        route("wine", backend("wine-a", -10), backend("wine-b", 110)),
        route("wine", backend("wine.a")),
        route("wine", mirror="wine-b"),
        route("wine", preview="wine-b"),
        route("wine", sticky=Stickiness("x-user; evil", "s")),
        route("wine", sticky=Stickiness("x-user", "%REQ(x)%")),
        route("wine", sticky=Stickiness("x-user", "s", places=(("wine-a", 99),))),
        route("wine", sticky=Stickiness("x-user", "s", places=(("wine-a", 40), ("wine-b", 60)))),
    ],
)
def test_route_that_could_break_others_is_refused(bad) -> None:
    with pytest.raises(InvalidRoute):
        bad.validate()


def test_slots_are_the_weights_while_every_revision_has_a_server() -> None:
    got = build_slots((backend("c", 0), backend("b", 5), backend("a", 95)))
    assert got == (("c", 0), ("b", 5), ("a", 95))


def test_slot_of_a_revision_without_server_goes_to_the_heaviest_and_stays_in_its_place() -> None:
    got = build_slots((Backend("b", 5), backend("c", 20), backend("a", 75)))
    assert got == (("a", 5), ("c", 20), ("a", 75))


def test_among_equals_the_last_takes_over_since_stable_stands_last() -> None:
    assert build_slots((Backend("c", 50), backend("b", 25), backend("a", 25))) == (
        ("a", 50),
        ("b", 25),
        ("a", 25),
    )


def test_revision_of_weight_zero_does_not_take_over() -> None:
    assert build_slots((Backend("a", 100), backend("b", 0))) == ()


PLACES = (("c", 20), ("b", 30), ("a", 50))


def seats(*backends: Backend) -> tuple[tuple[str, int], ...]:
    return build_slots(
        seat_clients(route("wine", *backends, sticky=Stickiness("x-user", "s", places=PLACES)))
    )


def test_places_are_served_by_their_revisions() -> None:
    assert seats(backend("a", 50), backend("b", 30), backend("c", 20)) == PLACES


def test_place_of_a_revision_that_has_no_share_or_is_gone_is_served_by_the_last_and_no_other_moves() -> None:
    want = (("a", 20), ("b", 30), ("a", 50))
    assert seats(backend("a", 70), backend("b", 30), backend("c", 0)) == want
    assert seats(backend("a", 70), backend("b", 30)) == want


def test_without_places_each_weight_is_its_place() -> None:
    wine = route("wine", backend("b", 5), backend("a", 95), sticky=Stickiness("x-user", "s"))
    assert seat_clients(wine) == wine.backends


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), min_size=1, max_size=6))
def test_only_revisions_with_servers_and_weight_get_requests_and_no_share_is_lost(parts) -> None:
    backends = tuple(
        Backend(f"r{i}", weight, (endpoint(),) if alive else ()) for i, (weight, alive) in enumerate(parts)
    )
    got = build_slots(backends)
    want = {b.revision for b in backends if b.weight_percent and b.endpoints}
    assert {revision for revision, weight in got if weight} == want
    if got:
        assert [weight for _, weight in got] == [b.weight_percent for b in backends]
