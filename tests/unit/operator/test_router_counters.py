"""What the operator takes from a router agent's `/status`."""

from __future__ import annotations

import pytest
from perennial.cluster.routers import RouterSnapshot, _Status
from perennial.rollout.observed import RouterCounters, ShadowCounters
from pydantic import ValidationError


def counters_of(**counters: object) -> RouterCounters:
    status = _Status.model_validate({"epoch": "e", "counters": {"shop/wine-a": counters}})
    snapshot = RouterSnapshot({"router-0": True}, {"router-0": status})
    (view,) = snapshot.view("shop", "wine")
    return view.counters["wine-a"]


def test_every_count_arrives() -> None:
    got = counters_of(
        requests=40,
        errors=2,
        active=1,
        slow=6,
        invalid=7,
        users=5,
        failingUsers=3,
        shadow={"requests": 9, "errors": 4, "slow": 8},
    )
    want = RouterCounters(
        requests=40,
        errors=2,
        active=1,
        slow=6,
        invalid=7,
        users=5,
        failing_users=3,
        shadow=ShadowCounters(requests=9, errors=4, slow=8),
    )
    assert got == want


def test_older_agent_leaves_the_later_counts_at_zero() -> None:
    assert counters_of(requests=40, errors=2) == RouterCounters(40, 2)


def test_negative_count_is_refused() -> None:
    with pytest.raises(ValidationError):
        counters_of(requests=1, errors=0, slow=-1)
