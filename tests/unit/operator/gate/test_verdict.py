"""What the gate says on what was counted."""

import pytest
from perennial.rollout.gate import Decision, to_evidence
from perennial_api.modeldeployment.gate_status import Gate, GateDecision

from tests.unit.operator.gate.builders import CANARY, ERRORS, START, Scene, begun, judged

RATE = ERRORS | {"maxRate": 0.01}
SLOW = {"name": "slow", "type": "SlowRate"}


def told(scene: Scene, **how: bool) -> tuple[Decision, str]:
    got = scene.verdict(**how)
    return got.decision, got.reason


def test_equal_canary_that_has_baked_is_successful() -> None:
    scene = judged({"requests": 1000, "errors": 10}, {"requests": 1000, "errors": 10})
    assert told(scene) == (Decision.SUCCESSFUL, "WithinLimits")
    assert "1.00% of 1000 requests failed" in scene.verdict().message


def test_much_worse_canary_fails_with_its_figures_in_the_message() -> None:
    scene = judged({"requests": 1000, "errors": 100}, {"requests": 9000, "errors": 90})
    got = scene.verdict(baked=False)
    assert (got.decision, got.reason, got.metric) == (Decision.FAILED, "RatioExceeded", "errors")
    assert "10.00% of 1000 requests failed" in got.message
    assert "1.00% of 9000 requests" in got.message


def test_failure_comes_before_missing_samples_and_deadline() -> None:
    scene = judged({"requests": 100, "errors": 45}, {"requests": 9000, "errors": 90}, minSamples=10_000)
    assert scene.verdict(at_deadline=True).decision is Decision.FAILED


def test_pain_1_no_traffic_is_neither_a_pass_nor_a_rollback() -> None:
    scene = begun()
    assert told(scene) == (Decision.WAITING, "NoTraffic")
    assert told(scene, at_deadline=True) == (Decision.INCONCLUSIVE, "NoTraffic")
    assert scene.gate.metrics[0].reason == "NoTraffic"


def test_pain_1_no_traffic_passes_nothing_though_every_metric_is_in_dry_run() -> None:
    scene = begun(ERRORS | {"dryRun": True})
    assert told(scene, at_deadline=True) == (Decision.INCONCLUSIVE, "NoTraffic")


def test_gate_that_never_looked_waits() -> None:
    assert told(Scene(gate=Gate())) == (Decision.WAITING, "NoTraffic")


def test_too_few_samples_are_inconclusive_at_the_deadline() -> None:
    scene = judged({"requests": 199}, {"requests": 5000})
    assert told(scene, at_deadline=True) == (Decision.INCONCLUSIVE, "TooFewSamples")
    assert "199 of the 200" in scene.verdict().message


def test_unbaked_canary_waits_and_is_inconclusive_at_the_deadline() -> None:
    scene = judged({"requests": 1000, "errors": 10}, {"requests": 1000, "errors": 10})
    assert told(scene, baked=False) == (Decision.WAITING, "Baking")
    assert told(scene, baked=False, at_deadline=True) == (Decision.INCONCLUSIVE, "Baking")


def test_canary_above_its_own_rate_fails_though_stable_is_as_bad() -> None:
    scene = judged({"requests": 1000, "errors": 50}, {"requests": 1000, "errors": 50}, RATE)
    assert told(scene) == (Decision.FAILED, "RateExceeded")
    assert "more than the 1.00% allowed" in scene.verdict().message


def test_allowed_ratio_lets_a_canary_be_that_much_worse() -> None:
    counts = ({"requests": 2000, "errors": 40}, {"requests": 2000, "errors": 20})
    assert told(judged(*counts, ERRORS | {"maxRatio": 2.0}))[0] is Decision.SUCCESSFUL


def test_needed_evidence_grows_with_the_metrics_that_decide() -> None:
    scene = begun(ERRORS, SLOW, SLOW | {"name": "slow-dry", "dryRun": True})
    assert {item.bound for item in scene.verdict().evidence} == {200.0}


def test_success_reports_the_ratio_that_is_ruled_out() -> None:
    scene = judged({"requests": 20_000, "errors": 200}, {"requests": 20_000, "errors": 200})
    assert "1.5 times the share or more is ruled out" in scene.verdict().message


def test_metric_in_dry_run_is_shown_but_decides_nothing() -> None:
    scene = judged({"requests": 1000, "slow": 500}, {"requests": 1000}, ERRORS, SLOW | {"dryRun": True})
    assert told(scene) == (Decision.SUCCESSFUL, "WithinLimits")
    got = scene.metric("slow")
    assert (got.decision, got.reason) == (GateDecision.FAILED, "RatioExceeded")


@pytest.mark.parametrize(
    ("kind", "counted"), [("ErrorRate", "errors"), ("SlowRate", "slow"), ("InvalidRate", "invalid")]
)
def test_each_type_counts_what_the_routers_call_bad(kind: str, counted: str) -> None:
    metric = {"name": "m", "type": kind}
    worse = judged({"requests": 1000, counted: 100}, {"requests": 1000, counted: 10}, metric)
    assert told(worse) == (Decision.FAILED, "RatioExceeded")
    assert (worse.metric("m").canary.total, worse.metric("m").canary.bad) == (1000, 100)
    others = {"errors", "slow", "invalid"} - {counted}
    unharmed = judged({"requests": 1000} | dict.fromkeys(others, 100), {"requests": 1000}, metric)
    assert told(unharmed) == (Decision.SUCCESSFUL, "WithinLimits")


class TestBreaker:
    def test_gross_failure_trips_it_before_any_statistics(self) -> None:
        scene = judged({"requests": 20, "errors": 11}, {"requests": 20, "errors": 3})
        got = scene.verdict()
        assert (got.decision, got.reason, got.metric) == (Decision.FAILED, "Breaker", "errors")
        assert "11 of 20 requests to the canary failed" in got.message

    def test_it_needs_no_stable_traffic(self) -> None:
        assert told(judged({"requests": 20, "errors": 11}, {})) == (Decision.FAILED, "Breaker")

    @pytest.mark.parametrize(("requests", "errors"), [(19, 19), (20, 10)])
    def test_it_needs_twenty_requests_and_more_than_half_failed(self, requests: int, errors: int) -> None:
        scene = judged({"requests": requests, "errors": errors}, {})
        assert scene.verdict().reason != "Breaker"

    def test_it_leaves_a_canary_alone_where_stable_fails_a_third_as_often(self) -> None:
        scene = judged({"requests": 20, "errors": 12}, {"requests": 200, "errors": 40})
        assert scene.verdict().reason != "Breaker"

    def test_it_leaves_a_canary_alone_that_may_fail_more_often(self) -> None:
        metric = ERRORS | {"maxRatio": 2.0}
        counts = {"requests": 20, "errors": 12}, {"requests": 200, "errors": 20}
        assert told(judged(*counts, metric)) != (Decision.FAILED, "Breaker")
        assert told(judged(*counts)) == (Decision.FAILED, "Breaker")

    def test_it_forgets_what_was_before_the_weight_changed(self) -> None:
        scene = judged({"requests": 15, "errors": 15}, {})
        scene.weight_since = scene.wait(60).now
        scene.look()
        scene.count(CANARY, requests=15, errors=1).look()
        assert scene.verdict().reason != "Breaker"

    def test_errors_in_dry_run_switch_it_off(self) -> None:
        scene = judged({"requests": 300, "errors": 300}, {}, ERRORS | {"dryRun": True}, SLOW)
        assert told(scene)[0] is Decision.SUCCESSFUL

    def test_it_stands_beside_metrics_that_count_something_else(self) -> None:
        assert told(judged({"requests": 20, "errors": 20}, {}, SLOW)) == (Decision.FAILED, "Breaker")


class TestWithoutStableTraffic:
    """A canary at 100 %, and BlueGreen after the switch."""

    def test_only_max_rate_and_breaker_judge_and_the_message_says_so(self) -> None:
        scene = judged({"requests": 1000, "errors": 5}, {}, RATE)
        assert told(scene) == (Decision.SUCCESSFUL, "WithinLimits")
        assert "so maxRate (1.00%) was tested" in scene.verdict().message

    def test_max_rate_fails_it(self) -> None:
        assert told(judged({"requests": 1000, "errors": 60}, {}, RATE)) == (Decision.FAILED, "RateExceeded")

    def test_without_max_rate_nothing_is_said_to_be_tested(self) -> None:
        assert "so nothing was tested" in judged({"requests": 1000, "errors": 5}, {}).verdict().message


class TestEvidence:
    """Pain 12: one can always say why."""

    def test_pain_12_every_metric_leaves_its_figures_and_reason(self) -> None:
        scene = judged(
            {"requests": 1000, "errors": 100, "slow": 1}, {"requests": 1000, "errors": 10}, ERRORS, SLOW
        )
        got = to_evidence(scene.verdict(), GateDecision.FAILED, 2, START)
        assert [item.metric for item in got] == ["slow", "errors"]
        assert [item.decision for item in got] == [GateDecision.SUCCESSFUL, GateDecision.FAILED]
        last = got[-1]
        assert (last.canary.total, last.canary.bad, last.stable.bad, last.step_index) == (1000, 100, 10, 2)
        assert last.e_value is not None
        assert last.bound == 200.0
        assert last.e_value >= last.bound
        assert last.reason == "RatioExceeded"
        assert "10.00% of 1000 requests failed" in last.message

    def test_pain_12_a_promotion_says_what_was_ruled_out(self) -> None:
        scene = judged({"requests": 20_000, "errors": 200}, {"requests": 20_000, "errors": 200})
        (got,) = to_evidence(scene.verdict(), GateDecision.SUCCESSFUL, 0, START)
        assert (got.decision, got.reason) == (GateDecision.SUCCESSFUL, "WithinLimits")
        assert "ruled out" in got.message

    def test_what_waits_for_the_bake_is_inconclusive_in_each_metric(self) -> None:
        scene = judged({"requests": 1000}, {"requests": 1000})
        verdict = scene.verdict(baked=False, at_deadline=True)
        (got,) = to_evidence(verdict, GateDecision.INCONCLUSIVE, 0, START)
        assert (got.decision, got.reason) == (GateDecision.INCONCLUSIVE, "Baking")

    def test_breaker_is_told_of_the_metric_that_counts_errors(self) -> None:
        scene = judged({"requests": 20, "errors": 20}, {})
        (got,) = to_evidence(scene.verdict(), GateDecision.FAILED, 0, START)
        assert (got.metric, got.decision, got.reason) == ("errors", GateDecision.FAILED, "Breaker")

    def test_dry_run_is_marked_and_keeps_its_own_verdict(self) -> None:
        scene = judged({"requests": 1000, "slow": 500}, {"requests": 1000}, ERRORS, SLOW | {"dryRun": True})
        slow = to_evidence(scene.verdict(), GateDecision.SUCCESSFUL, 0, START)[0]
        assert (slow.metric, slow.dry_run, slow.decision) == ("slow", True, GateDecision.FAILED)
