"""What a route must be before Envoy sees it, and which weights take effect."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perennial_gateway.errors import InvalidRoute
from perennial_gateway.model import Backend, effective_weights

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
    ],
)
def test_route_that_could_break_others_is_refused(bad) -> None:
    with pytest.raises(InvalidRoute):
        bad.validate()


def test_weights_hold_while_every_revision_has_a_server() -> None:
    got = effective_weights((backend("a", 95), backend("b", 5), backend("c", 0)))
    assert got == {"a": 95, "b": 5, "c": 0}


def test_revision_of_weight_zero_does_not_take_over() -> None:
    assert effective_weights((Backend("a", 100), backend("b", 0))) == {}


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), min_size=1, max_size=6))
def test_only_revisions_with_servers_and_weight_get_requests(parts) -> None:
    backends = tuple(
        Backend(f"r{i}", weight, (endpoint(),) if alive else ()) for i, (weight, alive) in enumerate(parts)
    )
    got = effective_weights(backends)
    want = {b.revision for b in backends if b.weight_percent and b.endpoints}
    assert {revision for revision, weight in got.items() if weight} == want
