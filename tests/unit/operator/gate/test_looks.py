"""When the gate looks, and what it counts of what it sees."""

from datetime import timedelta

import pytest
from perennial.rollout.gate import Decision, find_unreadable, next_look_at, observe_gate
from perennial.rollout.observed import Reading
from perennial_api.modeldeployment.gate_status import Gate, GateDecision

from tests.unit.operator.gate.builders import CANARY, ERRORS, STABLE, START, Scene, analysis, arm, begun

OUTLIERS = {"name": "outliers", "type": "OutlierRate"}
LABELS = {"name": "labels", "type": "Feedback", "feedback": {"maturity": "1m"}}
REVENUE = {
    "name": "revenue",
    "type": "Prometheus",
    "prometheus": {"address": "http://prometheus:9090", "query": "revenue", "min": 0.9},
}


def test_pain_3_first_look_after_the_delay_counts_nothing() -> None:
    scene = Scene(spec=analysis(initialDelay="10s"))
    scene.count(CANARY, requests=500, errors=500).count(STABLE, requests=500)
    scene.look()
    assert scene.now == START + timedelta(seconds=10)
    assert (scene.gate.canary, scene.metric().canary.total) == (0, 0)
    scene.count(CANARY, requests=7).look()
    assert (scene.gate.canary, scene.metric().canary.bad) == (7, 0)


def test_pain_3_what_came_around_a_change_of_weight_is_not_counted() -> None:
    scene = begun(initialDelay="10s")
    scene.count(CANARY, requests=50).look()
    scene.weight_since = scene.wait(120).now
    scene.count(CANARY, requests=40, errors=40).look()
    assert scene.now == scene.weight_since + timedelta(seconds=10)
    assert (scene.gate.canary, scene.metric().canary.bad) == (50, 0)


def test_looks_are_close_together_in_the_first_minute_and_then_keep_the_interval() -> None:
    scene = begun()
    gaps = []
    for _ in range(40):
        before = scene.now
        scene.look()
        gaps.append((scene.now - before).total_seconds())
    assert gaps[:20] == [3.0] * 20
    assert set(gaps[20:]) == {15.0}


def test_shorter_interval_is_kept_in_the_first_minute_too() -> None:
    spec = analysis(interval="1s")
    assert next_look_at(Gate(last_analysis_time=START), spec, START) == START + timedelta(seconds=1)


def test_nothing_is_counted_before_it_is_time() -> None:
    scene = begun()
    scene.count(CANARY, requests=100)
    early = START + timedelta(seconds=2.9)
    got = observe_gate(
        scene.gate, scene.spec, scene.observe(), canary=CANARY, stable=STABLE, weight_since=START, now=early
    )
    assert got == scene.gate


def test_restarted_router_loses_and_doubles_nothing() -> None:
    scene = begun()
    scene.count(CANARY, requests=100, errors=3, slow=4, invalid=5).look()
    scene.restart().count(CANARY, requests=10, errors=1).look()
    assert (scene.gate.canary, scene.metric().canary.bad) == (110, 4)


def test_vanished_router_that_returns_counts_only_what_is_new() -> None:
    scene = begun()
    scene.count(CANARY, requests=100).look()
    gone = scene.routers.pop("router-a")
    scene.look()
    scene.routers["router-a"] = gone
    scene.count(CANARY, requests=1).look()
    assert scene.gate.canary == 101


def test_same_reading_twice_counts_once() -> None:
    scene = begun()
    scene.count(CANARY, requests=100, errors=2, slow=2, invalid=2)
    scene.look()
    scene.look()
    assert (scene.gate.canary, scene.metric().canary.bad) == (100, 2)


def test_metric_whose_bounds_are_edited_starts_anew() -> None:
    scene = begun(ERRORS)
    scene.count(CANARY, requests=1000, errors=18).count(STABLE, requests=1000, errors=10).look()
    assert (scene.metric().canary.total, max(scene.metric().log_e_values) > 0) == (1000, True)
    scene.spec = analysis(ERRORS | {"dryRun": True})
    scene.wait(60).look()
    assert scene.metric().canary.total == 1000
    scene.spec = analysis(ERRORS | {"maxRatio": 3.0})
    scene.wait(60).look()
    assert (scene.metric().canary.total, max(scene.metric().log_e_values)) == (0, 0.0)


class TestClients:
    def test_sticky_split_counts_clients_instead_of_requests(self) -> None:
        scene = begun(by_client=True)
        scene.count(CANARY, requests=5000, errors=900, users=100, failing_users=3)
        scene.count(STABLE, requests=5000, errors=10, users=100, failing_users=4)
        scene.look()
        got = scene.metric()
        assert (got.canary.total, got.canary.bad, got.stable.total, got.stable.bad) == (100, 3, 100, 4)
        assert scene.verdict().decision is not Decision.FAILED

    def test_clients_of_the_first_look_count_since_the_attempt_began(self) -> None:
        scene = Scene(by_client=True)
        scene.count(CANARY, requests=90, users=30, failing_users=2).count(STABLE, requests=90, users=30)
        scene.look()
        assert (scene.gate.canary, scene.metric().canary.total, scene.metric().canary.bad) == (0, 30, 2)

    def test_many_failing_clients_fail_the_canary(self) -> None:
        scene = begun(by_client=True)
        scene.count(CANARY, requests=500, errors=90, users=100, failing_users=45)
        scene.count(STABLE, requests=500, errors=10, users=100, failing_users=3)
        scene.look()
        assert "45.00% of 100 clients met a failure" in scene.verdict().message
        assert scene.verdict().decision is Decision.FAILED

    def test_clients_that_two_routers_meet_are_half_as_many_samples(self) -> None:
        scene = begun(by_client=True, minSamples=100)
        for pod in ("router-a", "router-b"):
            scene.count(CANARY, pod, requests=500, users=60).count(STABLE, pod, requests=500, users=60)
        scene.look()
        assert scene.verdict().reason == "TooFewSamples"
        assert "60 of the 100 clients" in scene.verdict().message
        for pod in ("router-a", "router-b"):
            scene.count(CANARY, pod, users=40)
        scene.wait(60).look()
        assert scene.verdict().decision is Decision.SUCCESSFUL

    def test_breaker_waits_for_twenty_clients_of_each_router(self) -> None:
        scene = begun(by_client=True)
        for pod in ("router-a", "router-b"):
            scene.count(CANARY, pod, requests=50, users=15, failing_users=12).count(STABLE, pod)
        scene.look()
        assert scene.verdict().reason != "Breaker"

    def test_one_client_that_always_fails_trips_no_breaker(self) -> None:
        scene = begun(by_client=True)
        scene.count(CANARY, requests=300, errors=299, users=2, failing_users=1).count(STABLE, users=30)
        scene.look()
        assert scene.verdict().decision is Decision.WAITING

    def test_what_is_counted_does_not_change_in_the_middle(self) -> None:
        scene = begun(by_client=True)
        scene.by_client = False
        scene.look()
        assert scene.gate.by_client


class TestObserver:
    def test_outliers_and_wrong_labels_come_from_the_observers_report(self) -> None:
        scene = begun(OUTLIERS, LABELS)
        scene.count(CANARY, requests=500).count(STABLE, requests=500)
        for name, bad in ((CANARY, 50), (STABLE, 2)):
            counts = {"total": 300, "bad": bad}
            scene.arms[name] = arm(name, START, outliers=counts, labels=counts)
        scene.look()
        for metric in ("outliers", "labels"):
            got = scene.metric(metric)
            assert (got.canary.total, got.canary.bad, got.stable.bad) == (300, 50, 2)
            assert got.decision is GateDecision.FAILED

    def test_report_read_again_counts_nothing(self) -> None:
        scene = begun(OUTLIERS)
        scene.arms[CANARY] = arm(CANARY, START, outliers={"total": 300, "bad": 5})
        scene.look()
        scene.look()
        assert scene.metric("outliers").canary.total == 300

    def test_counts_that_begin_anew_count_in_full(self) -> None:
        scene = begun(OUTLIERS)
        scene.arms[CANARY] = arm(CANARY, START, outliers={"total": 300, "bad": 5})
        scene.look()
        scene.arms[CANARY] = arm(CANARY, START + timedelta(hours=1), outliers={"total": 10, "bad": 1})
        scene.look()
        scene.arms[CANARY] = arm(CANARY, START, outliers={"total": 400, "bad": 9})
        scene.look()
        assert (scene.metric("outliers").canary.total, scene.metric("outliers").canary.bad) == (310, 6)

    def test_counts_of_an_earlier_comparison_only_set_the_mark(self) -> None:
        scene = Scene(spec=analysis(OUTLIERS))
        scene.arms[CANARY] = arm(CANARY, START - timedelta(hours=1), outliers={"total": 900, "bad": 900})
        scene.look()
        scene.arms[CANARY] = arm(CANARY, START - timedelta(hours=1), outliers={"total": 910, "bad": 901})
        scene.look()
        assert (scene.metric("outliers").canary.total, scene.metric("outliers").canary.bad) == (10, 1)

    def test_sticky_split_counts_clients_of_the_report_too(self) -> None:
        scene = begun(OUTLIERS, by_client=True)
        scene.arms[CANARY] = arm(
            CANARY, START, outliers={"total": 900, "bad": 9}, client_outliers={"total": 30, "bad": 1}
        )
        scene.look()
        assert scene.metric("outliers").canary.total == 30

    def test_silent_observer_is_no_pass_and_its_metric_says_so(self) -> None:
        scene = begun(ERRORS, OUTLIERS)
        scene.count(CANARY, requests=1000).count(STABLE, requests=1000).look()
        got = scene.verdict(at_deadline=True)
        assert (got.decision, got.reason, got.metric) == (Decision.INCONCLUSIVE, "NoReading", "outliers")
        assert "the observer has reported none" in scene.metric("outliers").message


class TestPrometheus:
    def read(self, *values: float | None, reason: str = "Unreachable") -> Scene:
        scene = begun(REVENUE)
        scene.count(CANARY, requests=500).count(STABLE, requests=500)
        for value in values:
            text = "" if value is not None else "no answer"
            scene.readings["revenue"] = Reading(value, "" if value is not None else reason, text)
            scene.wait(15).look()
        return scene

    def test_one_number_in_bounds_passes(self) -> None:
        scene = self.read(0.95)
        assert scene.verdict().decision is Decision.SUCCESSFUL
        assert "0.95 is at least 0.9" in scene.verdict().message

    def test_bound_itself_is_good(self) -> None:
        assert self.read(0.9).verdict().decision is Decision.SUCCESSFUL

    def test_one_number_out_of_bounds_waits_and_two_in_a_row_fail(self) -> None:
        once = self.read(0.5).verdict()
        assert (once.decision, once.reason) == (Decision.WAITING, "OutOfBoundsOnce")
        got = self.read(0.5, 0.4).verdict()
        assert (got.decision, got.reason, got.metric) == (Decision.FAILED, "OutOfBounds", "revenue")
        assert "0.4 is not at least 0.9, 2 times in a row" in got.message

    @pytest.mark.parametrize("between", [0.95, None])
    def test_bad_numbers_apart_do_not_fail(self, between: float | None) -> None:
        assert self.read(0.5, between, 0.5).verdict().reason == "OutOfBoundsOnce"

    def test_same_scrape_read_twice_is_one_number(self) -> None:
        scene = self.read(0.5)
        scene.readings["revenue"] = Reading(0.5)
        scene.look()
        assert scene.now < START + timedelta(seconds=30)
        assert scene.verdict().reason == "OutOfBoundsOnce"

    @pytest.mark.parametrize("reason", ["NoSeries", "NotANumber", "Infinite", "SeveralSeries", "Unreachable"])
    def test_pain_2_no_number_is_neither_a_pass_nor_a_rollback(self, reason: str) -> None:
        scene = self.read(None, None, None, reason=reason)
        got = scene.verdict(at_deadline=True)
        assert (got.decision, got.reason, got.metric) == (Decision.INCONCLUSIVE, "NoReading", "revenue")
        assert scene.metric("revenue").reason == reason
        assert find_unreadable(scene.gate, scene.spec) == (
            ("revenue", reason, "revenue can't be read: no answer"),
        )

    def test_good_number_of_the_past_does_not_stand_for_one_that_is_missing(self) -> None:
        assert self.read(0.95, None).verdict().reason == "NoReading"

    def test_metric_that_was_not_asked_yet_is_not_named_as_unreadable(self) -> None:
        scene = begun(REVENUE)
        assert find_unreadable(scene.gate, scene.spec) == ()

    def test_numbers_from_before_a_change_of_weight_are_forgotten(self) -> None:
        scene = self.read(0.5)
        scene.weight_since = scene.wait(60).now
        scene.look()
        assert scene.verdict().reason == "OutOfBoundsOnce"
        scene.wait(15).look()
        assert scene.verdict().reason == "OutOfBounds"

    def test_number_asked_for_before_the_weight_had_settled_is_not_taken(self) -> None:
        scene = self.read(0.5)
        scene.weight_since = scene.wait(60).now
        scene.readings["revenue"] = Reading(0.5, at=scene.now - timedelta(seconds=1))
        scene.look()
        assert scene.verdict().reason == "NoReading"

    def test_same_answer_in_memory_counts_once_however_long_it_stays(self) -> None:
        scene = self.read(0.5)
        scene.readings["revenue"] = Reading(0.5, at=scene.now)
        for _ in range(50):
            scene.look()
        assert scene.verdict().reason == "OutOfBoundsOnce"

    def test_number_in_bounds_without_traffic_passes_nothing(self) -> None:
        scene = begun(REVENUE)
        scene.readings["revenue"] = Reading(1.0)
        scene.look()
        assert scene.verdict(at_deadline=True).reason == "NoTraffic"
