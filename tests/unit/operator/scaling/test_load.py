"""Load comes from counters that restart, vanish and are read by halves."""

import pytest
from perennial.rollout.observed import RouterCounters, RouterView
from perennial.rollout.scaling import Load, Sample, measure_load
from perennial_api.modeldeployment.server import ScaleMetric

WINE = "wine-1"


def router(pod="a", *, epoch="e1", requests=0, active=0, ready=True, reachable=True):
    counters = {WINE: RouterCounters(requests, 0, active)} if reachable else {}
    return RouterView(pod, ready, reachable=reachable, epoch=epoch, counters=counters)


def measure(metric, *samples, least_span_s=5.0):
    return measure_load(
        metric, [Sample(at_s, tuple(routers)) for at_s, routers in samples], WINE, least_span_s=least_span_s
    )


def test_concurrency_is_the_mean_of_what_all_routers_carry():
    got = measure(
        ScaleMetric.CONCURRENCY,
        (0.0, [router("a", active=4), router("b", active=2)]),
        (5.0, [router("a", active=8), router("b", active=4)]),
    )
    assert got == Load(9.0)


def test_rate_is_what_was_finished_over_the_time():
    got = measure(
        ScaleMetric.RPS,
        (10.0, [router("a", requests=1000), router("b", requests=50)]),
        (15.0, [router("a", requests=1100), router("b", requests=100)]),
        (20.0, [router("a", requests=1300), router("b", requests=150)]),
    )
    assert got == Load(40.0)


def test_restarted_router_counts_from_zero():
    got = measure(ScaleMetric.RPS, (0.0, [router(requests=1000)]), (10.0, [router(epoch="e2", requests=70)]))
    assert got == Load(7.0)


def test_router_seen_for_the_first_time_brings_no_old_requests():
    got = measure(
        ScaleMetric.RPS,
        (0.0, [router("a", requests=10)]),
        (5.0, [router("a", requests=60), router("b", requests=100_000)]),
        (10.0, [router("a", requests=110), router("b", requests=100_050)]),
    )
    assert got == Load(15.0)


def test_late_reading_counts_nothing_negative():
    got = measure(ScaleMetric.RPS, (0.0, [router(requests=100)]), (10.0, [router(requests=90)]))
    assert got == Load(0.0)


def test_router_that_does_not_answer_makes_the_load_a_lower_bound():
    got = measure(
        ScaleMetric.CONCURRENCY,
        (0.0, [router("a", active=4), router("b", active=4)]),
        (5.0, [router("a", active=4), router("b", reachable=False)]),
    )
    assert got == Load(6.0, is_complete=False)


def test_without_any_router_nothing_is_known_to_be_idle():
    assert measure(ScaleMetric.CONCURRENCY, (0.0, []), (5.0, [])) == Load(0.0, is_complete=False)


def test_router_that_drains_still_counts_and_need_not_answer():
    got = measure(
        ScaleMetric.CONCURRENCY,
        (0.0, [router("a", active=2), router("b", active=6, ready=False)]),
        (5.0, [router("a", active=2), router("b", reachable=False, ready=False)]),
    )
    assert got == Load(5.0)


def test_revision_that_no_router_knows_is_idle():
    other = RouterView("a", True, reachable=True, epoch="e1", counters={})
    assert measure(ScaleMetric.RPS, (0.0, [other]), (5.0, [other])) == Load(0.0)


@pytest.mark.parametrize("samples", [[], [(0.0, [router()])], [(0.0, [router()]), (4.0, [router()])]])
def test_too_short_a_time_tells_nothing(samples):
    assert measure(ScaleMetric.CONCURRENCY, *samples) is None
