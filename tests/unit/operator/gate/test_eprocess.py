"""The e-process on plain counts."""

import doctest

import numpy as np
import pytest
from perennial.rollout.gate import (
    Counts,
    GateState,
    counters,
    e_value,
    eprocess,
    excluded_ratio,
    rate_e_value,
    update,
    update_clients,
)


@pytest.mark.parametrize("module", [counters, eprocess])
def test_worked_examples_in_docstrings_hold(module) -> None:
    got = doctest.testmod(module)
    assert got.attempted > 0
    assert got.failed == 0


def test_one_arm_alone_says_nothing_of_a_ratio() -> None:
    got = update(GateState(), Counts(100, 100), Counts(), max_ratio=1.0)
    assert e_value(got) == 1.0


def test_equal_counts_in_plenty_exclude_a_ratio() -> None:
    state = update(GateState(), Counts(20_000, 200), Counts(20_000, 200), max_ratio=1.0)
    assert excluded_ratio(state, 1.0, 0.01) == 1.5


def test_zero_max_rate_keeps_the_evidence_finite() -> None:
    state = update(GateState(), Counts(10**6, 10**6), Counts(10**6, 0), max_ratio=1.0, max_rate=0.0)
    assert np.isfinite([e_value(state), rate_e_value(state)]).all()


def test_clients_that_failed_are_at_risk_no_more() -> None:
    before = GateState(canary=Counts(100, 60), stable=Counts(100, 20))
    got = update_clients(before, Counts(10, 3), Counts(10, 3), max_ratio=1.0)
    want = update(GateState(), Counts(50, 3), Counts(90, 3), max_ratio=1.0)
    assert got.log_likelihoods == want.log_likelihoods
    assert (got.canary, got.stable) == (Counts(110, 63), Counts(110, 23))


def test_evidence_of_clients_is_shared_among_the_routers_that_count_them() -> None:
    one = update_clients(GateState(), Counts(100, 30), Counts(100, 3), 1.0, 0.1, routers=1)
    two = update_clients(GateState(), Counts(200, 60), Counts(200, 6), 1.0, 0.1, routers=2)
    assert two.log_likelihoods == pytest.approx(one.log_likelihoods)
    assert two.rate_log_likelihoods == pytest.approx(one.rate_log_likelihoods)
