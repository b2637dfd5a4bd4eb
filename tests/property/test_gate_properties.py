"""What holds of the gate for any counts."""

from __future__ import annotations

import math
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from perennial.rollout.gate import (
    CounterMark,
    Counts,
    Decision,
    GateState,
    accumulate,
    e_value,
    rate_e_value,
    update,
)
from perennial.rollout.gate.collect import collect_arms, collect_routers
from perennial.rollout.observed import RouterCounters, RouterView

from tests.unit.operator.gate.builders import ERRORS, START, arm, judged


@st.composite
def counts(draw: st.DrawFn, largest: int = 10_000) -> Counts:
    requests = draw(st.integers(0, largest))
    return Counts(requests, draw(st.integers(0, requests)))


windows = st.lists(st.tuples(counts(), counts()), max_size=10)
ratios = st.floats(1.0, 10.0)
rates = st.none() | st.floats(0.0, 1.0)


def run(pairs: list[tuple[Counts, Counts]], max_ratio: float, max_rate: float | None) -> GateState:
    state = GateState()
    for canary, stable in pairs:
        state = update(state, canary, stable, max_ratio, max_rate)
    return state


@given(windows, ratios, rates)
def test_evidence_is_finite_and_never_negative(pairs, max_ratio, max_rate) -> None:
    state = run(pairs, max_ratio, max_rate)
    for got in (e_value(state), rate_e_value(state)):
        assert math.isfinite(got)
        assert got >= 0


@given(windows, ratios, rates)
def test_order_of_windows_does_not_matter(pairs, max_ratio, max_rate) -> None:
    want = run(pairs, max_ratio, max_rate)
    got = run(pairs[::-1], max_ratio, max_rate)
    for a, b in zip(want.log_likelihoods, got.log_likelihoods, strict=True):
        assert math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-6)


@given(counts(), counts(), ratios, rates)
def test_one_more_canary_error_never_weakens_the_evidence(canary, stable, max_ratio, max_rate) -> None:
    worse = Counts(canary.requests + 1, canary.errors + 1)
    good = Counts(canary.requests + 1, canary.errors)
    with_error = update(GateState(), worse, stable, max_ratio, max_rate)
    without = update(GateState(), good, stable, max_ratio, max_rate)
    assert e_value(with_error) >= e_value(without) * (1 - 1e-9)
    assert rate_e_value(with_error) >= rate_e_value(without) * (1 - 1e-9)


@given(counts(), counts(), ratios)
def test_one_more_stable_error_never_strengthens_the_evidence(canary, stable, max_ratio) -> None:
    worse = Counts(stable.requests + 1, stable.errors + 1)
    good = Counts(stable.requests + 1, stable.errors)
    with_error = update(GateState(), canary, worse, max_ratio)
    without = update(GateState(), canary, good, max_ratio)
    assert e_value(with_error) <= e_value(without) * (1 + 1e-9)


@given(
    canary=counts(),
    stable=counts(),
    max_ratio=ratios,
    max_rate=st.none() | st.floats(0.001, 0.999),
    baked=st.booleans(),
    at_deadline=st.booleans(),
    min_samples=st.integers(1, 20_000),
)
def test_only_failure_overrules_the_samples_and_waiting_ends_at_the_deadline(
    *, canary, stable, max_ratio, max_rate, baked, at_deadline, min_samples
) -> None:
    scene = judged(
        {"requests": canary.requests, "errors": canary.errors},
        {"requests": stable.requests, "errors": stable.errors},
        ERRORS | {"maxRatio": max_ratio, "maxRate": max_rate},
        minSamples=min_samples,
    )
    got = scene.verdict(baked=baked, at_deadline=at_deadline)
    if got.decision is Decision.SUCCESSFUL:
        assert baked
        assert canary.requests >= min_samples
    assert got.decision is not (Decision.WAITING if at_deadline else Decision.INCONCLUSIVE)


router_events = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["request", "error", "restart", "vanish", "return", "look", "repeat"]),
    ),
    max_size=60,
)


@given(router_events)
def test_no_request_is_ever_counted_twice(events) -> None:
    epochs = dict.fromkeys("abc", 0)
    current = {pod: Counts() for pod in "abc"}
    reachable = set("abc")
    marks: tuple[CounterMark, ...] = ()
    true_total = counted = Counts()
    reading: dict[tuple[str, str, str], Counts] = {}
    for pod, event in events:
        if event in {"request", "error"}:
            one = Counts(1, int(event == "error"))
            current[pod] += one
            true_total += one
        elif event == "restart":
            epochs[pod] += 1
            current[pod] = Counts()
        elif event == "vanish":
            reachable.discard(pod)
        elif event == "return":
            reachable.add(pod)
        else:
            if event == "look":
                reading = {(p, f"e{epochs[p]}", "r"): current[p] for p in reachable}
            marks, new = accumulate(marks, reading)
            counted += new.get("r", Counts())
        assert counted.requests <= true_total.requests
        assert counted.errors <= true_total.errors


@given(st.lists(counts(50), min_size=1, max_size=20))
def test_nothing_is_lost_while_a_pod_stays_reachable(increments) -> None:
    total, counted = Counts(), Counts()
    marks, _ = accumulate((), {("a", "e", "r"): total})
    for increment in increments:
        total += increment
        marks, new = accumulate(marks, {("a", "e", "r"): total})
        counted += new["r"]
    assert counted == total


events = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from(
            ["request", "slow", "invalid", "user", "failing user", "restart", "vanish", "return", "look"]
        ),
    ),
    max_size=60,
)
_FIELDS = {
    "request": ("requests",),
    "slow": ("requests", "slow"),
    "invalid": ("requests", "invalid"),
    "user": ("users",),
    "failing user": ("users", "failing_users"),
}


@given(events)
def test_no_counter_of_any_kind_is_counted_twice(happened) -> None:
    epochs = dict.fromkeys("ab", 0)
    current = {
        pod: dict.fromkeys(("requests", "slow", "invalid", "users", "failing_users"), 0) for pod in "ab"
    }
    true_total = dict.fromkeys(current["a"], 0)
    reachable = set("ab")
    counted = dict.fromkeys(current["a"], 0)
    marks = ()
    for pod, event in happened:
        for field in _FIELDS.get(event, ()):
            current[pod][field] += 1
            true_total[field] += 1
        if event == "restart":
            epochs[pod] += 1
            current[pod] = dict.fromkeys(current[pod], 0)
        elif event == "vanish":
            reachable.discard(pod)
        elif event == "return":
            reachable.add(pod)
        elif event == "look":
            routers = [
                RouterView(
                    p,
                    ready=True,
                    reachable=p in reachable,
                    epoch=f"e{epochs[p]}",
                    counters={"r": RouterCounters(errors=0, **current[p])},
                )
                for p in "ab"
            ]
            marks, news = collect_routers(marks, routers, ["r"])
            counted["requests"] += news["r"].errors.requests
            counted["slow"] += news["r"].slow.errors
            counted["invalid"] += news["r"].invalid.errors
            counted["users"] += news["r"].clients.requests
            counted["failing_users"] += news["r"].clients.errors
    assert all(counted[field] <= true_total[field] for field in counted)
    assert counted["failing_users"] <= counted["users"]


reports = st.lists(st.tuples(st.integers(0, 3), counts(100)), max_size=12)


@given(reports)
def test_observers_counts_are_counted_once_however_late_or_often_they_are_read(read) -> None:
    highest: dict[int, Counts] = {}
    counted = Counts()
    marks = ()
    for era, seen in read:
        reported = arm(
            "r", START + timedelta(hours=era), outliers={"total": seen.requests, "bad": seen.errors}
        )
        marks, news = collect_arms(marks, {"r": reported}, ["r"], by_client=False, began_at=START)
        counted += news["r"].outliers
        before = highest.get(era, Counts())
        highest[era] = Counts(max(before.requests, seen.requests), max(before.errors, seen.errors))
    assert counted.requests <= sum(c.requests for c in highest.values())
    assert counted.errors <= sum(c.errors for c in highest.values())
    assert counted.errors <= counted.requests
