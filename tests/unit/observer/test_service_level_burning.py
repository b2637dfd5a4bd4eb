"""When a budget burns fast enough for an alarm."""

import pytest
from perennial_api.modeldeployment.monitoring import ServiceLevel, Severity
from perennial_observer.monitors.verdicts import Assessment
from perennial_observer.service_level.burning import WINDOWS_S, Burn, Windows, judge_burn, measure
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
    counts: Windows, *, severity: Severity = Severity.TICKET, spec: dict | None = None, least: int = 200
) -> Assessment:
    promise = ServiceLevel.model_validate(spec or {"availability": 0.999})
    return judge_burn(
        measure(promise, counts, counts),
        min_requests=least,
        severity=severity,
        false_alarm_every_s=MONTH_S,
    ).assessment


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


def test_a_few_failures_that_chance_explains_are_no_alarm():
    few, more = ({SECONDS["5m"]: Tally(requests=20, failed=bad)} for bad in (2, 4))
    for extra, failed, want in ((few, 2, False), (more, 4, True)):
        counts = {**windows(), **extra, SECONDS["1h"]: Tally(requests=100, failed=failed)}
        assert judge(counts, least=100).breached is want


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
