"""What a warm-up's latencies mean."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime

import pytest
from perennial.rollout.warmup import MARGIN, Measurement, assess_warm_up, quantile, skip_warm_up

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def flat(latency_ms: float, requests: int = 200, errors: int = 0, first_error: str = "") -> Measurement:
    return Measurement((latency_ms,) * requests, errors, first_error)


@pytest.mark.parametrize(
    ("n", "want"), [(1, 1), (20, 20), (99, 99), (100, 100), (199, 198), (200, 199), (999, 990)]
)
def test_quantile_of_a_small_sample_is_not_flattered(n, want) -> None:
    values = [float(v) for v in range(1, n + 1)]
    random.Random(3).shuffle(values)
    assert quantile(values, 0.99) == want


@pytest.mark.parametrize(
    ("latency_ms", "within"), [(10.0, True), (40.0, True), (40.1, False), (50.0, False), (70.0, False)]
)
def test_budget_is_kept_only_with_the_margin(latency_ms, within) -> None:
    assert assess_warm_up("wine-b", flat(latency_ms), 50.0, NOW).within_budget is within


def test_figures_and_verdict_are_in_the_sentence() -> None:
    got = assess_warm_up("wine-b", Measurement((10.0,) * 190 + (60.0,) * 10), 50.0, NOW)
    assert (got.requests, got.errors, got.p50_ms, got.p99_ms) == (200, 0, 10.0, 60.0)
    assert got.message == (
        "wine-b answered 200 sample requests with a p50 of 10 ms and a p99 of 60 ms, "
        "75 ms with a margin of 25%: above the latency budget of 50 ms."
    )


def test_long_latencies_are_spelled_out() -> None:
    got = assess_warm_up("wine-b", flat(1234.5), 1000.0, NOW).message
    assert "a p99 of 1234 ms, 1543 ms with a margin of 25%: above the latency budget of 1000 ms." in got


def test_without_budget_there_are_figures_and_no_verdict() -> None:
    got = assess_warm_up("wine-b", flat(10.0), None, NOW)
    assert got.within_budget is None
    assert "budget" not in got.message
    assert got.p99_ms == 10.0


def test_few_answers_cannot_show_that_the_budget_is_kept_but_that_it_is_not() -> None:
    few = assess_warm_up("wine-b", flat(10.0, requests=19), 50.0, NOW)
    assert few.within_budget is None
    assert "Fewer than 20 answers" in few.message
    assert assess_warm_up("wine-b", flat(3000.0, requests=4), 50.0, NOW).within_budget is False
    assert assess_warm_up("wine-b", flat(10.0, requests=20), 50.0, NOW).within_budget is True


def test_errors_are_counted_and_the_first_is_told() -> None:
    got = assess_warm_up("wine-b", flat(10.0, requests=100, errors=5, first_error="HTTP 500"), 50.0, NOW)
    assert (got.requests, got.errors, got.within_budget) == (100, 5, True)
    assert "5 more failed: HTTP 500." in got.message


def test_mostly_failing_server_gets_no_verdict_on_its_latency() -> None:
    assert assess_warm_up("wine-b", flat(1.0, requests=40, errors=41), 50.0, NOW).within_budget is None


def test_no_answer_at_all_is_told() -> None:
    got = assess_warm_up("wine-b", Measurement((), 200, "HTTP 503"), 50.0, NOW)
    assert (got.within_budget, got.p99_ms) == (None, None)
    assert got.message == "None of 200 sample requests was answered: HTTP 503."


def test_skipped_warm_up_says_why_and_judges_nothing() -> None:
    got = skip_warm_up("wine-b", "its server has no sample.", NOW)
    assert (got.within_budget, got.requests) == (None, 0)
    assert got.message == "The latency of wine-b was not measured: its server has no sample."


@pytest.mark.parametrize(
    ("name", "draw", "true_p99"),
    [
        ("exponential", lambda rng: rng.expovariate(1.0), -math.log(0.01)),
        ("log-normal, sigma 0.3", lambda rng: rng.lognormvariate(0, 0.3), math.exp(0.3 * 2.326348)),
        ("log-normal, sigma 0.6", lambda rng: rng.lognormvariate(0, 0.6), math.exp(0.6 * 2.326348)),
    ],
)
def test_p99_with_margin_covers_the_true_one_in_95_of_100_warm_ups(name, draw, true_p99) -> None:
    rng = random.Random(20)
    covered = sum(quantile([draw(rng) for _ in range(200)], 0.99) * MARGIN >= true_p99 for _ in range(1000))
    assert covered >= 950, name
