"""The gate's promises in 2,000 seeded rollouts of an hour each, looked at as often as the operator does."""

from datetime import timedelta
from functools import cache

import numpy as np
import pytest
from perennial.rollout.gate import Decision, assess_gate, e_value, next_look_at, observe_gate, rate_e_value
from perennial.rollout.gate.judge import state_of
from perennial.rollout.observed import Observed, RouterCounters, RouterView
from perennial_api.modeldeployment.analysis import Analysis, Metric, MetricType
from perennial_api.modeldeployment.gate_status import Gate

from benchmarks.gate_simulation import (
    ANALYSIS,
    REQUESTS,
    START,
    Counts,
    Crowd,
    Limits,
    Looks,
    Traffic,
    draw,
    draw_clients,
    draw_sticky_requests,
    gate_stops_s,
    log_evidence,
    plan_looks,
    promoted,
    threshold_stops_s,
    z_test_stops_s,
)
from benchmarks.gates import PAGE, SCENARIOS, render_row

ROLLOUTS = 2000
HOUR = plan_looks()
STEADY = plan_looks((0.5,), 3600.0)
MOST_LOG_E = 600.0  # the operator caps it somewhat above, to keep it a finite number


@cache
def drawn(traffic: Traffic, rollouts: int = ROLLOUTS) -> Counts:
    return draw(traffic, HOUR, rollouts, np.random.default_rng(4))


@cache
def drawn_clients(crowd: Crowd) -> Counts:
    return draw_clients(crowd, STEADY, ROLLOUTS, np.random.default_rng(4))


def stopped(counts: Counts, limits: Limits = REQUESTS, looks: Looks = HOUR) -> float:
    return float(np.isfinite(gate_stops_s(counts, looks, limits)).mean())


@pytest.mark.parametrize("per_second", [2.0, 20.0])
def test_equal_rollouts_are_promoted_without_a_person_and_one_percent_aborted_at_most(per_second) -> None:
    counts = drawn(Traffic(per_second, 0.01, 0.01))
    stops_s = gate_stops_s(counts, HOUR)
    assert np.isfinite(stops_s).mean() <= 0.01
    assert promoted(counts, stops_s).mean() >= 0.95


def test_bursts_that_hit_both_revisions_abort_one_percent_at_most() -> None:
    counts = drawn(Traffic(20.0, 0.01, 0.01, bursty=True))
    assert counts.canary_bad.max() > 20
    assert stopped(counts) <= 0.01


def test_canary_failing_30_percent_is_stopped_within_30_seconds_of_the_change_of_weight() -> None:
    stops_s = gate_stops_s(drawn(Traffic(20.0, 0.30, 0.01)), HOUR)
    assert np.quantile(stops_s, 0.95) <= 30.0


def test_canary_that_always_fails_is_stopped_within_30_seconds_of_the_change_of_weight() -> None:
    stops_s = gate_stops_s(drawn(Traffic(20.0, 1.0, 0.01), 200), HOUR)
    assert np.quantile(stops_s, 0.95) <= 30.0


def test_ten_percent_against_one_is_always_found_at_two_requests_a_second() -> None:
    assert stopped(drawn(Traffic(2.0, 0.10, 0.01))) == 1.0


@pytest.mark.parametrize(
    ("canary", "stable", "limits"),
    [
        (0.3, 0.3, REQUESTS),
        (0.04, 0.02, Limits(max_ratio=2.0)),
        (0.3, 0.15, Limits(max_ratio=2.0)),
        (0.01, 0.01, Limits(max_rate=0.015)),  # the rate at the peak of the drift
    ],
)
def test_canary_at_its_limit_is_aborted_in_one_percent_at_most(canary, stable, limits) -> None:
    assert stopped(drawn(Traffic(20.0, canary, stable)), limits) <= 0.01


def test_better_canary_is_never_stopped() -> None:
    assert stopped(drawn(Traffic(20.0, 0.001, 0.01))) == 0.0


@pytest.mark.parametrize("crowd", [Crowd(), Crowd(routers=2), Crowd(failing_clients=0.2, failing_share=0.05)])
def test_sticky_clients_of_whom_a_few_fail_often_abort_one_percent_at_most(crowd) -> None:
    limits = Limits(clients=True, routers=crowd.routers)
    assert stopped(drawn_clients(crowd), limits, STEADY) <= 0.01


def test_share_of_clients_at_max_rate_is_aborted_in_one_percent_at_most() -> None:
    limits = Limits(max_rate=0.05, clients=True)
    assert stopped(drawn_clients(Crowd()), limits, STEADY) <= 0.01


def test_more_failing_clients_are_found() -> None:
    counts = drawn_clients(Crowd(canary_failing_clients=0.2))
    assert stopped(counts, Limits(clients=True), STEADY) >= 0.95


class TestOthers:
    """What our gate is measured against would break these promises: the simulation can tell."""

    def test_peeked_z_test_aborts_every_tenth_equal_rollout(self) -> None:
        counts = drawn(Traffic(20.0, 0.01, 0.01), 500)
        assert np.isfinite(z_test_stops_s(counts, HOUR)).mean() > 0.1

    def test_fixed_threshold_aborts_nearly_every_equal_rollout(self) -> None:
        counts = drawn(Traffic(20.0, 0.01, 0.01), 500)
        assert np.isfinite(threshold_stops_s(counts, HOUR)).mean() > 0.9

    def test_requests_counted_under_stickiness_abort_every_tenth_equal_rollout(self) -> None:
        counts = draw_sticky_requests(Crowd(), STEADY, 500, np.random.default_rng(4))
        assert stopped(counts, REQUESTS, STEADY) > 0.1

    def test_clients_counted_by_two_routers_as_if_they_were_different_break_the_promise(self) -> None:
        counts = drawn_clients(Crowd(routers=2))
        assert stopped(counts, Limits(clients=True, routers=1), STEADY) > 0.01


@pytest.mark.parametrize("scenario", SCENARIOS[:2], ids=lambda s: s.title)
def test_table_in_the_docs_is_what_the_simulation_gives(scenario) -> None:
    assert render_row(scenario) in PAGE.read_text()


SHORT = plan_looks((0.1, 0.5), 110.0)


def replayed(
    pods: list[Counts], looks: Looks, row: int, spec: Analysis, step_s: float, *, by_client: bool
) -> tuple[Gate, float]:
    """Give one drawn rollout to the operator's own code, look by look; return its state and when it first fails."""
    gate, stop_s = Gate(), np.inf
    for index, at_s in enumerate(looks.at_s):
        now = START + timedelta(seconds=float(at_s))
        since = START + timedelta(seconds=float(at_s // step_s * step_s))
        assert next_look_at(gate, spec, since) == now
        routers = []
        for number, counts in enumerate(pods):
            sums = [
                int(x[row, : index + 1].sum())
                for x in (counts.canary, counts.canary_bad, counts.stable, counts.stable_bad)
            ]
            canary, stable = _counters(*sums[:2], by_client), _counters(*sums[2:], by_client)
            view = {"canary": canary, "stable": stable}
            routers.append(
                RouterView(f"router-{number}", ready=True, reachable=True, epoch="e", counters=view)
            )
        observed = Observed({}, None, routers=tuple(routers), by_client=by_client)
        gate = observe_gate(
            gate, spec, observed, canary="canary", stable="stable", weight_since=since, now=now
        )
        failed = assess_gate(gate, spec, baked=True, at_deadline=False).decision is Decision.FAILED
        stop_s = min(stop_s, float(at_s)) if failed else stop_s
    return gate, stop_s


def _counters(total: int, bad: int, by_client: bool) -> RouterCounters:
    if by_client:
        return RouterCounters(requests=total, errors=0, users=total, failing_users=bad)
    return RouterCounters(requests=total, errors=bad)


def with_limits(limits: Limits) -> Analysis:
    metric = Metric(
        name="errors", type=MetricType.ERROR_RATE, max_ratio=limits.max_ratio, max_rate=limits.max_rate
    )
    return ANALYSIS.model_copy(update={"metrics": (metric,)})


def evidence_in(gate: Gate, limits: Limits) -> float:
    state = state_of(gate.metrics[0])
    return e_value(state) if limits.max_rate is None else (e_value(state) + rate_e_value(state)) / 2


@pytest.mark.parametrize("limits", [REQUESTS, Limits(max_ratio=2.0, max_rate=0.2)])
def test_simulation_gives_what_the_operator_gives(limits) -> None:
    rng = np.random.default_rng(4)
    spec = with_limits(limits)
    outcomes = set()
    for number in range(100):
        canary, stable = rng.choice([0.01, 0.05, 0.3, 0.6]), rng.choice([0.01, 0.05])
        counts = draw(Traffic(rng.choice([2.0, 20.0]), canary, stable, bursty=number % 2 == 0), SHORT, 1, rng)
        gate, got_s = replayed([counts], SHORT, 0, spec, 110.0, by_client=False)
        stops_s = gate_stops_s(counts, SHORT, limits)
        assert got_s == stops_s[0]
        want = min(MOST_LOG_E, log_evidence(counts, limits)[0, -1])
        got_evidence = min(MOST_LOG_E, float(np.log(evidence_in(gate, limits))))
        assert got_evidence == pytest.approx(want, rel=1e-9, abs=1e-9)
        if np.isinf(got_s):
            got = assess_gate(gate, spec, baked=True, at_deadline=False).decision is Decision.SUCCESSFUL
            assert got == promoted(counts, stops_s)[0]
            outcomes.add(got)
    assert outcomes == {True, False}


def test_simulation_gives_what_the_operator_gives_for_clients_on_two_routers() -> None:
    rng = np.random.default_rng(4)
    looks = plan_looks((0.5,), 110.0)
    limits = Limits(max_rate=0.1, clients=True, routers=2)
    for failing in np.linspace(0.05, 0.9, 50):
        crowd = Crowd(clients=100, canary_failing_clients=float(failing))
        one, two = (draw_clients(crowd, looks, 1, rng) for _ in range(2))
        gate, got_s = replayed([one, two], looks, 0, with_limits(limits), 110.0, by_client=True)
        both = Counts(
            one.canary + two.canary,
            one.canary_bad + two.canary_bad,
            one.stable + two.stable,
            one.stable_bad + two.stable_bad,
        )
        want = log_evidence(both, limits)[0, -1]
        assert np.log(evidence_in(gate, limits)) == pytest.approx(want, rel=1e-9, abs=1e-9)
        if got_s != gate_stops_s(both, looks, limits)[0]:
            # The breaker, which the simulation leaves out for clients, was first.
            assert gate.metrics[0].canary.bad > gate.metrics[0].canary.total / 2
