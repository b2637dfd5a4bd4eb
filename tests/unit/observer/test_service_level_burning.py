"""When a budget burns fast enough for an alarm."""

import numpy as np
import pytest
from perennial_api.modeldeployment.monitoring import ServiceLevel, Severity
from perennial_observer.monitors.alarms.verdicts import Assessment
from perennial_observer.service_level.burning import WINDOWS_S, Burn, Rules, Windows, judge_burn, measure
from perennial_observer.service_level.counting import Tally

MONTH_S = 30 * 86_400.0
SECONDS = {name: length_s for length_s, name in WINDOWS_S.items()}


def windows(requests_per_minute: float = 1000, **bad: float) -> Windows:
    """Steady traffic with this share of failures in each window; those not named have no failure."""
    counts = {}
    for name, length_s in SECONDS.items():
        requests = round(requests_per_minute * length_s / 60)
        share = bad.get(f"in_{name}", 0.0)
        counts[length_s] = Tally(requests=requests, failed=round(requests * share))
    return counts


def judge(
    counts: Windows,
    *,
    severity: Severity = Severity.TICKET,
    spec: dict | None = None,
    least: int = 200,
    is_standing: bool = False,
) -> Assessment:
    promise = ServiceLevel.model_validate(spec or {"availability": 0.999})
    rules = Rules(least, severity, MONTH_S, is_standing)
    return judge_burn(measure(promise, counts, counts), rules).assessment


@pytest.mark.parametrize(
    ("bad", "breached", "reason"),
    [
        ({}, False, "WithinBudget"),
        ({"in_1h": 0.02, "in_5m": 0.02}, True, "BurningFast"),
        ({"in_1h": 0.0143, "in_5m": 0.0143}, False, "WithinBudget"),
        ({"in_1h": 0.0146, "in_5m": 0.0146}, True, "BurningFast"),
        ({"in_1h": 0.02, "in_5m": 0.001}, False, "WithinBudget"),
        ({"in_1h": 0.001, "in_5m": 0.02}, False, "WithinBudget"),
        ({"in_6h": 0.0061, "in_30m": 0.0061}, True, "BurningFast"),
        ({"in_6h": 0.0059, "in_30m": 0.0059}, False, "WithinBudget"),
        ({"in_6h": 0.0061, "in_5m": 0.0061}, False, "WithinBudget"),
        ({"in_3d": 0.0012, "in_6h": 0.0012}, True, "BurningSlowly"),
        ({"in_3d": 0.0009, "in_6h": 0.0009}, False, "WithinBudget"),
        ({"in_3d": 0.0012, "in_1h": 0.0012}, False, "WithinBudget"),
    ],
)
def test_a_budget_burns_when_both_windows_of_a_pair_do(bad, breached, reason):
    got = judge(windows(**bad))
    assert (got.breached, got.reason) == (breached, reason)


def test_slow_burning_is_no_reason_to_page_anybody():
    slowly = windows(in_3d=0.0012, in_6h=0.0012)
    assert judge(slowly, severity=Severity.PAGE).breached is False
    assert judge(slowly, severity=Severity.LOG).breached is True


def test_the_statistic_is_the_rate_of_the_worst_pair_beside_its_limit():
    got = judge(windows(in_1h=0.02, in_5m=0.03, in_6h=0.018, in_30m=0.024))
    assert got.statistic == pytest.approx(18.0)
    assert got.threshold == 6.0
    assert got.samples == 360_000


def test_the_message_says_what_burns_how_fast_and_what_is_left():
    got = judge(windows(in_1h=0.02, in_5m=0.02, in_30d=0.0004))
    assert got.message == (
        "2.00% of requests fail in 1h and 0.10% may: the availability budget burns 20 times as fast as allowed over 1h and"
        " 5m, above the limit of 14.4; at that rate 30 days' budget lasts 36 hours; 60% of the availability budget of 30"
        " days is left"
    )


def test_an_overdrawn_budget_is_called_so():
    assert "budget of 30 days is overdrawn by 50%" in judge(windows(in_30d=0.0015)).message


def test_too_few_requests_are_insufficient_never_ok():
    got = judge(windows(requests_per_minute=0.04, in_1h=1.0, in_5m=1.0))
    assert (got.breached, got.reason, got.samples) == (None, "TooFewRequests", 173)
    assert got.message == "173 requests in 3d, serviceLevel.minRequests is 200"


def test_windows_with_too_few_requests_are_named_while_longer_ones_are_judged():
    got = judge(windows(requests_per_minute=1, in_1h=1.0, in_5m=1.0))
    assert got.breached is False
    assert got.message.endswith("; 1h not judged, with fewer than serviceLevel.minRequests of 200")


@pytest.mark.parametrize(("failed", "want"), [(3, False), (4, False), (5, True)])
def test_a_few_failures_that_chance_explains_are_no_alarm(failed, want):
    # All of them are far above the limit. One in 1,000 may fail: 4 of 200 do in one look of 17,000, 5 in one of 400,000;
    # a month has 43,200.
    hour = {
        SECONDS["1h"]: Tally(requests=200, failed=failed),
        SECONDS["5m"]: Tally(requests=20, failed=failed),
    }
    assert judge({**windows(), **hour}).breached is want


def test_an_alarm_stands_until_a_window_is_below_half_the_limit():
    around, below = windows(in_1h=0.0074, in_5m=0.0074), windows(in_1h=0.007, in_5m=0.007)
    assert judge(around).breached is False
    got = judge(around, is_standing=True)
    assert (got.breached, got.threshold) == (True, 7.2)
    assert "above the limit of 7.2, below which the alarm ends; at that rate" in got.message
    assert judge(below, is_standing=True).breached is False
    assert judge(windows(in_1h=0.05, in_5m=0.007), is_standing=True).breached is False


@pytest.mark.parametrize(("share", "episodes"), [(0.8, 0), (1.0, 0), (1.5, 1)])
def test_a_month_around_the_promise_has_one_alarm_or_none(share, episodes):
    """An hour between looks here, so that it is quick; each is judged as one of the month's 43,200."""
    generator = np.random.default_rng(7)
    hours = 33 * 24
    requests = generator.poisson(6000, hours)
    failed = generator.binomial(requests, 0.001 * share)
    is_alarm, raised = False, 0
    for end in range(72, hours):
        counts = windows()
        for name, length in (("1h", 1), ("6h", 6), ("3d", 72)):
            place = slice(end - length, end)
            counts[SECONDS[name]] = Tally(requests=requests[place].sum(), failed=failed[place].sum())
        counts[SECONDS["5m"]] = counts[SECONDS["30m"]] = counts[SECONDS["1h"]]
        breached = judge(counts, is_standing=is_alarm).breached
        raised += bool(breached and not is_alarm)
        is_alarm = bool(breached)
    assert raised == episodes


def test_an_outage_is_an_alarm_however_loose_the_objective():
    got = judge(windows(in_1h=0.95, in_5m=1.0), spec={"availability": 0.8})
    assert (got.breached, got.threshold) == (True, pytest.approx(4.5))


def test_latency_is_judged_beside_availability_and_by_its_own_objective():
    counts = {
        length_s: Tally(requests=6000, failed=0, slow=900 if WINDOWS_S[length_s] in {"1h", "5m"} else 0)
        for length_s in WINDOWS_S
    }
    got = judge(counts, spec={"availability": 0.999, "latency": {"objective": 0.99}})
    assert (got.breached, got.statistic) == (True, pytest.approx(15.0))
    assert "are slower than server.latencyBudget" in got.message
    assert "100% of the availability budget of 30 days is left, 100% of the latency budget" in got.message


def test_latency_has_only_what_was_counted_by_the_budget_in_force():
    none = dict.fromkeys(WINDOWS_S, Tally())
    spec = ServiceLevel.model_validate({"availability": 0.999, "latency": {}})
    availability, latency = measure(spec, windows(), none)
    assert availability.rate(SECONDS["1h"]) == latency.rate(SECONDS["1h"]) == 0.0
    assert latency.windows[SECONDS["3d"]].requests == 0


def test_more_bad_requests_than_requests_are_taken_for_all():
    counts = {length_s: Tally(requests=10, failed=12) for length_s in WINDOWS_S}
    (burn,) = measure(ServiceLevel(availability=0.9), counts, counts)
    assert isinstance(burn, Burn)
    assert burn.rate(SECONDS["5m"]) == pytest.approx(10.0)
