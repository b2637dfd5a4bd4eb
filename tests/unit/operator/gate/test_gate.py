"""The gate's verdicts, and its error rates in seeded simulations that look at every window."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from perennial.rollout.gate import (
    CounterMark,
    Counts,
    Decision,
    GateState,
    GateVerdict,
    MetricLimit,
    accumulate,
    assess,
    counters,
    e_value,
    eprocess,
    excluded_ratio,
    rate_e_value,
    update,
)

ERRORS = MetricLimit("errors", max_ratio=1.0)
ALPHA = 0.01


def judge(
    state: GateState | None = None,
    *,
    metric: MetricLimit = ERRORS,
    min_samples: int = 200,
    baked: bool = True,
    at_deadline: bool = False,
) -> GateVerdict:
    states = {} if state is None else {metric.name: state}
    return assess(
        states, [metric], alpha=ALPHA, min_samples=min_samples, baked=baked, at_deadline=at_deadline
    )


def state_of(canary: Counts, stable: Counts, metric: MetricLimit = ERRORS) -> GateState:
    return update(GateState(), canary, stable, metric.max_ratio, metric.max_rate)


@pytest.mark.parametrize("module", [counters, eprocess])
def test_worked_examples_in_docstrings_hold(module) -> None:
    got = doctest.testmod(module)
    assert got.attempted > 0
    assert got.failed == 0


class TestVerdict:
    def test_equal_canary_that_has_baked_is_successful(self) -> None:
        got = judge(state_of(Counts(1000, 10), Counts(1000, 10)))
        assert (got.decision, got.reason) == (Decision.SUCCESSFUL, "WithinLimits")
        assert "1.00% of 1000" in got.message

    def test_much_worse_canary_fails_with_its_figures_in_the_message(self) -> None:
        got = judge(state_of(Counts(1000, 100), Counts(9000, 90)), baked=False)
        assert (got.decision, got.reason) == (Decision.FAILED, "RatioExceeded")
        assert "10.00% of 1000" in got.message
        assert got.evidence[0].e_value >= got.evidence[0].needed == pytest.approx(100)

    def test_failure_comes_before_missing_samples_and_deadline(self) -> None:
        state = state_of(Counts(100, 45), Counts(9000, 90))
        assert judge(state, min_samples=10_000, at_deadline=True).decision is Decision.FAILED

    def test_no_traffic_waits_and_is_inconclusive_at_the_deadline(self) -> None:
        assert judge(None).decision is Decision.WAITING
        got = judge(None, at_deadline=True)
        assert (got.decision, got.reason) == (Decision.INCONCLUSIVE, "NoTraffic")

    def test_too_few_samples_are_inconclusive_at_the_deadline(self) -> None:
        got = judge(state_of(Counts(199, 0), Counts(5000, 0)), at_deadline=True)
        assert (got.decision, got.reason) == (Decision.INCONCLUSIVE, "TooFewSamples")
        assert "199 of the 200" in got.message

    def test_unbaked_canary_waits_and_is_inconclusive_at_the_deadline(self) -> None:
        state = state_of(Counts(1000, 10), Counts(1000, 10))
        assert judge(state, baked=False).reason == "Baking"
        assert judge(state, baked=False, at_deadline=True).decision is Decision.INCONCLUSIVE

    def test_gross_failure_trips_the_breaker_without_a_stable_arm(self) -> None:
        got = judge(state_of(Counts(20, 11), Counts()))
        assert (got.decision, got.reason) == (Decision.FAILED, "GrossFailure")

    @pytest.mark.parametrize("canary", [Counts(19, 19), Counts(20, 10)])
    def test_breaker_needs_twenty_requests_and_more_than_half_failed(self, canary: Counts) -> None:
        assert judge(state_of(canary, Counts())).reason != "GrossFailure"

    def test_canary_above_its_own_rate_fails_though_stable_is_as_bad(self) -> None:
        metric = MetricLimit("errors", max_ratio=1.0, max_rate=0.01)
        got = judge(state_of(Counts(1000, 50), Counts(1000, 50), metric), metric=metric)
        assert (got.decision, got.reason) == (Decision.FAILED, "RateExceeded")

    def test_needed_evidence_grows_with_the_number_of_tests(self) -> None:
        two = MetricLimit("errors", max_ratio=1.0, max_rate=0.1)
        assert {item.needed for item in judge(GateState(), metric=two).evidence} == {200.0}

    def test_without_metrics_only_the_bake_counts(self) -> None:
        got = assess({}, [], alpha=ALPHA, min_samples=200, baked=True, at_deadline=False)
        assert got.decision is Decision.SUCCESSFUL

    def test_success_reports_the_ratio_that_is_ruled_out(self) -> None:
        state = state_of(Counts(20_000, 200), Counts(20_000, 200))
        assert excluded_ratio(state, 1.0, ALPHA) == 1.5
        assert "ratio of 1.5 or more is ruled out" in judge(state).message

    def test_zero_max_rate_keeps_the_evidence_finite(self) -> None:
        state = state_of(Counts(10**6, 10**6), Counts(10**6, 0), MetricLimit("errors", 1.0, 0.0))
        assert np.isfinite([e_value(state), rate_e_value(state)]).all()


class TestAccumulate:
    def test_first_sight_of_a_pod_counts_nothing(self) -> None:
        _, got = accumulate((), {("a", "e1", "r1"): Counts(100, 5)})
        assert got == {}

    def test_increase_is_counted_once(self) -> None:
        marks, _ = accumulate((), {("a", "e1", "r1"): Counts(100, 5)})
        marks, got = accumulate(marks, {("a", "e1", "r1"): Counts(130, 6)})
        assert got == {"r1": Counts(30, 1)}
        _, again = accumulate(marks, {("a", "e1", "r1"): Counts(130, 6)})
        assert again == {"r1": Counts(0, 0)}

    def test_restarted_counters_count_from_zero(self) -> None:
        marks, _ = accumulate((), {("a", "e1", "r1"): Counts(100, 5)})
        _, got = accumulate(marks, {("a", "e2", "r1"): Counts(40, 2)})
        assert got == {"r1": Counts(40, 2)}

    def test_revision_new_on_a_known_pod_counts_from_zero(self) -> None:
        marks, _ = accumulate((), {("a", "e1", "r1"): Counts(100, 5)})
        _, got = accumulate(marks, {("a", "e1", "r1"): Counts(100, 5), ("a", "e1", "r2"): Counts(9, 1)})
        assert got["r2"] == Counts(9, 1)

    def test_returning_pod_counts_only_what_came_meanwhile(self) -> None:
        marks, _ = accumulate((), {("a", "e1", "r1"): Counts(100, 5), ("b", "e1", "r1"): Counts(7, 0)})
        marks, _ = accumulate(marks, {("b", "e1", "r1"): Counts(8, 0)})
        _, got = accumulate(marks, {("a", "e1", "r1"): Counts(101, 5), ("b", "e1", "r1"): Counts(8, 0)})
        assert got == {"r1": Counts(1, 0)}

    def test_late_reading_counts_nothing(self) -> None:
        marks, _ = accumulate((), {("a", "e1", "r1"): Counts(100, 5)})
        marks, got = accumulate(marks, {("a", "e1", "r1"): Counts(90, 4)})
        assert got == {"r1": Counts(0, 0)}
        assert marks == (CounterMark("a", "e1", "r1", 100, 5),)

    def test_error_seen_before_its_request_is_counted_at_the_next_look(self) -> None:
        marks, _ = accumulate((), {("a", "e1", "r1"): Counts(10, 0)})
        marks, first = accumulate(marks, {("a", "e1", "r1"): Counts(11, 2)})
        _, second = accumulate(marks, {("a", "e1", "r1"): Counts(12, 2)})
        assert (first["r1"], second["r1"]) == (Counts(1, 1), Counts(1, 1))

    def test_routers_of_one_revision_add_up(self) -> None:
        marks, _ = accumulate((), {("a", "e1", "r1"): Counts(), ("b", "e1", "r1"): Counts()})
        _, got = accumulate(marks, {("a", "e1", "r1"): Counts(3, 1), ("b", "e1", "r1"): Counts(4, 0)})
        assert got == {"r1": Counts(7, 1)}

    def test_forgotten_pods_are_the_longest_unseen_and_return_uncounted(self) -> None:
        marks: tuple[CounterMark, ...] = ()
        for i in range(counters.MAX_PODS + 10):
            marks, _ = accumulate(marks, {(f"pod-{i}", "e1", "r1"): Counts(50, 1)})
        assert [mark.pod for mark in marks] == [f"pod-{i}" for i in range(10, counters.MAX_PODS + 10)]
        _, got = accumulate(marks, {("pod-0", "e1", "r1"): Counts(60, 1)})
        assert got == {}

    def test_epochs_of_one_pod_are_bounded(self) -> None:
        marks: tuple[CounterMark, ...] = ()
        for i in range(100):
            marks, _ = accumulate(marks, {("a", f"e{i}", "r1"): Counts(5, 0)})
        assert [mark.epoch for mark in marks] == ["e98", "e99"]


def peeked_failures(
    canary_rate: float,
    stable_rate: float,
    *,
    metric: MetricLimit = ERRORS,
    requests_per_look: int = 300,
    runs: int = 400,
    looks: int = 120,
    seed: int = 20260101,
) -> float:
    """Share of runs in which some look fails the canary; weights rise, rates drift by the hour."""
    rng = np.random.default_rng(seed)
    weights = np.repeat([0.05, 0.10, 0.25, 0.50], looks // 4)
    drift = 1 + 0.5 * np.sin(np.linspace(0, 2 * np.pi, looks))
    failures = 0
    for _ in range(runs):
        state = GateState()
        canary_n = rng.binomial(requests_per_look, weights)
        canary_k = rng.binomial(canary_n, np.minimum(canary_rate * drift, 1))
        stable_n = requests_per_look - canary_n
        stable_k = rng.binomial(stable_n, np.minimum(stable_rate * drift, 1))
        for n_c, k_c, n_s, k_s in zip(
            canary_n.tolist(), canary_k.tolist(), stable_n.tolist(), stable_k.tolist(), strict=True
        ):
            state = update(state, Counts(n_c, k_c), Counts(n_s, k_s), metric.max_ratio, metric.max_rate)
            if judge(state, metric=metric).decision is Decision.FAILED:
                failures += 1
                break
    return failures / runs


class TestErrorRates:
    """An estimate from 400 runs stays below alpha plus three standard errors (2.5 %)."""

    def test_equal_arms_rarely_fail_at_twenty_requests_a_second(self) -> None:
        assert peeked_failures(0.01, 0.01) <= 0.025

    def test_equal_arms_rarely_fail_at_two_requests_a_second(self) -> None:
        assert peeked_failures(0.01, 0.01, requests_per_look=30) <= 0.025

    def test_equal_arms_rarely_fail_when_failures_are_common(self) -> None:
        assert peeked_failures(0.3, 0.3) <= 0.025

    def test_canary_at_the_allowed_ratio_rarely_fails(self) -> None:
        assert peeked_failures(0.04, 0.02, metric=MetricLimit("errors", max_ratio=2.0)) <= 0.025

    def test_canary_at_the_allowed_ratio_rarely_fails_when_failures_are_common(self) -> None:
        assert peeked_failures(0.3, 0.15, metric=MetricLimit("errors", max_ratio=2.0)) <= 0.025

    def test_canary_below_its_allowed_rate_rarely_fails(self) -> None:
        metric = MetricLimit("errors", max_ratio=1.0, max_rate=0.015)  # the drift's peak
        assert peeked_failures(0.01, 0.01, metric=metric) <= 0.025

    def test_ten_percent_against_one_is_always_found(self) -> None:
        assert peeked_failures(0.10, 0.01, runs=100) == 1.0

    def test_ten_percent_against_one_is_always_found_at_two_requests_a_second(self) -> None:
        assert peeked_failures(0.10, 0.01, requests_per_look=30, runs=100) == 1.0

    def test_better_canary_never_fails(self) -> None:
        assert peeked_failures(0.001, 0.01, runs=100) == 0.0
