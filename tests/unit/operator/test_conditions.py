"""What users read in the status."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from perennial.rollout.conditions import Facts, Problem, assess_conditions
from perennial.rollout.decision import EventReason, ExperimentPlan
from perennial.rollout.observed import Failure, RouterView
from perennial.rollout.status import build_status, monitor_notices
from perennial_api.conditions import Condition
from perennial_api.labels import ConditionType
from perennial_api.modeldeployment.status import ModelDeploymentStatus
from perennial_api.modeldeployment.warmup_status import WarmUp

from tests.unit.operator.builders import NOW, report_of, retrained_spec, run_of, spec_of
from tests.unit.operator.world import World, blue_green, challenged, revision, rollout_spec, settled


def facts_of(world: World, **changes: Any) -> Facts:
    decision = world.decide()
    facts = Facts(spec_of(), world.observe(), decision, None, (), None)
    return replace(facts, **changes)


def conditions(facts: Facts, previous: tuple[Condition, ...] = ()) -> dict[str, tuple[str, str]]:
    found = assess_conditions(facts, previous, 3, NOW)
    assert all(c.observed_generation == 3 and c.message for c in found)
    return {c.type: (c.status.value, c.reason) for c in found}


def test_settled_deployment_is_ready_and_routed() -> None:
    got = conditions(facts_of(settled(rollout_spec())))
    assert got["Ready"] == ("True", "Serving")
    assert got["RouteReady"] == ("True", "Applied")
    assert got["Progressing"] == ("False", "Completed")
    assert "CanaryReady" not in got


def test_without_a_router_nothing_is_ready() -> None:
    world = settled(rollout_spec())
    world.routers.clear()
    got = conditions(facts_of(world))
    assert got["Ready"] == ("False", "NoReadyRouter")
    assert got["RouteReady"] == ("False", "NoReadyRouter")


@pytest.mark.parametrize(
    ("router", "reason"),
    [
        (RouterView("b", ready=True), "RouterUnreachable"),
        (RouterView("b", ready=True, reachable=True, state="Pending"), "RoutePending"),
        (
            RouterView("b", ready=True, reachable=True, state="Quarantined", message="bad port"),
            "RouteQuarantined",
        ),
    ],
)
def test_router_that_lags_is_told_while_the_others_serve(router: RouterView, reason: str) -> None:
    world = settled(rollout_spec())
    world.routers["b"] = router
    got = conditions(facts_of(world))
    assert got["RouteReady"] == ("False", reason)
    assert got["Ready"] == ("True", "Serving")


def test_server_that_cannot_start_gives_its_own_reason() -> None:
    failure = Failure("BundleNotFound", "push it")
    world = World(
        rollout_spec(), {"wine-1": revision("wine-1", ready_endpoints=0, failure=failure)}, "wine-1"
    )
    got = conditions(facts_of(world))
    assert got["Ready"] == ("False", "BundleNotFound")
    assert got["CanaryReady"] == ("False", "BundleNotFound")


def test_failing_canary_leaves_ready_alone() -> None:
    world = challenged(rollout_spec(20))
    failure = Failure("DigestMismatch", "other bytes")
    world.revisions["wine-2"] = replace(world.revisions["wine-2"], ready_endpoints=0, failure=failure)
    got = conditions(facts_of(world))
    assert got["Ready"][0] == "True"
    assert got["CanaryReady"] == ("False", "DigestMismatch")
    assert got["Progressing"] == ("True", "WaitingForPods")


def test_reason_of_a_rollback_stays_on_canary_ready() -> None:
    world = challenged(rollout_spec(20, "60s"), requests_per_turn=500, error_share={"wine-2": 0.6})
    previous: tuple[Condition, ...] = ()
    for _ in range(20):
        facts = facts_of(world)
        previous = assess_conditions(facts, previous, 3, NOW)
        world.turn()
    got = {c.type: c.reason for c in previous}
    assert got["CanaryReady"] in {"Breaker", "RatioExceeded"}


def test_unhonourable_spec_is_the_reason_everywhere_while_nothing_serves() -> None:
    world = World(rollout_spec(), {}, None)
    problem = Problem(ConditionType.INVALID_SPEC, "RuntimeNotFound", "make one")
    got = conditions(facts_of(world, problems=(problem,)))
    assert {got[t] for t in ("Ready", "Progressing")} == {("False", "RuntimeNotFound")}
    assert got["InvalidSpec"] == ("True", "RuntimeNotFound")


def test_monitors_become_conditions_by_their_type() -> None:
    report = report_of(drift="Alarm", accuracy="Ok", outliers="Insufficient")
    got = conditions(facts_of(settled(rollout_spec()), spec=retrained_spec(), report=report))
    assert got["Monitored"] == ("True", "Reporting")
    assert got["DriftDetected"] == ("True", "Told")
    assert got["PerformanceDegraded"] == ("False", "WithinThreshold")
    assert got["OutliersDetected"] == ("Unknown", "Told")
    assert got["RetrainingBlocked"] == ("False", "NoAlarmWaiting")


@pytest.mark.parametrize(
    ("monitor", "want"),
    [
        ({"name": "answers", "type": "PredictionDrift"}, "DriftDetected"),
        ({"name": "concept", "type": "Concept"}, "PerformanceDegraded"),
        ({"name": "quality", "type": "DataQuality"}, "DataQualityDegraded"),
        (
            {
                "name": "estimate",
                "type": "EstimatedPerformance",
                "estimatedPerformance": {"method": "CBPE", "metric": "accuracy", "min": 0.8},
            },
            "EstimatedPerformanceDegraded",
        ),
        (
            {"name": "service", "type": "ServiceLevel", "serviceLevel": {"availability": 0.99}},
            "ServiceLevelDegraded",
        ),
        (
            {"name": "own", "type": "Custom", "custom": {"entryPoint": "team.checks:mean", "max": 1.0}},
            "CustomAlarm",
        ),
        ({"name": "fair", "type": "Fairness", "fairness": {"slices": ["old", "new"]}}, "UnfairnessDetected"),
    ],
)
def test_alarm_of_any_monitor_is_a_condition(monitor: dict[str, Any], want: str) -> None:
    slices = [{"name": "old", "where": "age > 60"}, {"name": "new", "where": "age <= 60"}]
    spec = spec_of("a", monitoring={"monitors": [monitor], "slices": slices})
    report = report_of(**{monitor["name"]: "Alarm"})
    got = conditions(facts_of(settled(rollout_spec()), spec=spec, report=report))
    assert got[want] == ("True", "Told")


def test_run_under_way_is_a_condition() -> None:
    facts = facts_of(settled(rollout_spec()), spec=retrained_spec(), runs=(run_of(phase="Running"),))
    assert conditions(facts)["Retraining"] == ("True", "Running")


def test_time_of_a_condition_changes_with_its_status_only() -> None:
    world = settled(rollout_spec())
    first = assess_conditions(facts_of(world), (), 3, NOW)
    later = assess_conditions(facts_of(world), first, 4, NOW + timedelta(hours=1))
    assert {c.last_transition_time for c in later} == {NOW}
    world.routers.clear()
    last = {c.type: c for c in assess_conditions(facts_of(world), later, 4, NOW + timedelta(hours=2))}
    assert last["Ready"].last_transition_time == NOW + timedelta(hours=2)
    assert last["Progressing"].last_transition_time == NOW


def status_of(report: Any, previous: ModelDeploymentStatus, *, refresh: bool) -> ModelDeploymentStatus:
    facts = facts_of(settled(rollout_spec()), spec=retrained_spec(), report=report)
    return build_status(
        facts, previous, None, generation=3, url="http://x", refresh_monitors=refresh, now=NOW
    )


def with_statistic(value: float, **states: str) -> Any:
    report = report_of(**states)
    moved = tuple(v.model_copy(update={"statistic": value}) for v in report.monitors)
    return report.model_copy(update={"monitors": moved})


def test_statistics_are_copied_now_and_then_and_states_at_once() -> None:
    first = status_of(with_statistic(0.1, drift="Ok"), ModelDeploymentStatus(), refresh=False)
    assert first.monitors[0].statistic == 0.1
    same = status_of(with_statistic(0.2, drift="Ok"), first, refresh=False)
    assert same.monitors[0].statistic == 0.1
    refreshed = status_of(with_statistic(0.2, drift="Ok"), first, refresh=True)
    assert refreshed.monitors[0].statistic == 0.2
    alarmed = status_of(with_statistic(0.3, drift="Alarm"), first, refresh=False)
    assert alarmed.monitors[0].statistic == 0.3
    assert alarmed.monitors_summary == "Alarm: drift"


def test_alarms_are_told_when_raised_and_when_cleared_only() -> None:
    ok, alarm = report_of(drift="Ok"), report_of(drift="Alarm")
    assert [n.reason for n in monitor_notices(alarm, ok.monitors)] == [EventReason.ALARM_RAISED]
    assert monitor_notices(alarm, alarm.monitors) == ()
    assert [n.reason for n in monitor_notices(ok, alarm.monitors)] == [EventReason.ALARM_CLEARED]
    assert monitor_notices(None, alarm.monitors) == ()


def test_last_failure_stays_until_a_rollout_ends_well() -> None:
    world = challenged(rollout_spec(20))
    failure = Failure("DigestMismatch", "other bytes", 1)
    world.revisions["wine-2"] = replace(world.revisions["wine-2"], ready_endpoints=0, failure=failure)
    previous = ModelDeploymentStatus()

    def turn() -> ModelDeploymentStatus:
        facts = facts_of(world)
        world.turn(seconds=300)
        return build_status(facts, previous, None, generation=1, url="", refresh_monitors=False, now=NOW)

    for _ in range(5):
        previous = turn()
    assert previous.model_status is not None
    assert previous.model_status.transition_status.value == "BlockedByFailedLoad"
    world.revisions["wine-2"] = replace(world.revisions["wine-2"], failure=None)
    previous = turn()
    assert previous.model_status is not None
    assert previous.model_status.last_failure_info is not None
    world.target = "wine-1"
    previous = turn()
    assert previous.model_status is not None
    assert previous.model_status.last_failure_info is None


def test_aborted_rollout_is_rolled_back_and_no_failed_load() -> None:
    world = challenged(rollout_spec(20, None), requests_per_turn=1000)
    world.run(5)
    world.say("Abort")
    facts = facts_of(world)
    got = build_status(
        facts, ModelDeploymentStatus(), None, generation=1, url="", refresh_monitors=False, now=NOW
    )
    assert got.model_status is not None
    assert got.model_status.transition_status.value == "RolledBack"


def test_pause_says_why_and_what_to_do() -> None:
    world = challenged(rollout_spec(20, None), requests_per_turn=1000)
    assert conditions(facts_of(world))["Paused"] == ("False", "NotPaused")
    world.run(5)
    facts = facts_of(world)
    assert conditions(facts)["Paused"] == ("True", "CanaryPauseStep")
    (told,) = (c for c in assess_conditions(facts, (), 3, NOW) if c.type == "Paused")
    assert "kubectl perennial promote wine" in told.message
    world.say("Pause")
    assert conditions(facts_of(world))["Paused"] == ("True", "Held")


def test_each_kind_of_waiting_has_a_reason_of_its_own() -> None:
    preview = challenged(blue_green(autoPromotion=False))
    preview.run(3)
    assert conditions(facts_of(preview))["Paused"] == ("True", "BlueGreenPause")
    quiet = challenged(rollout_spec(20, progressDeadline="1m"))
    quiet.run(70)
    assert conditions(facts_of(quiet))["Paused"] == ("True", "InconclusiveAnalysis")
    waiting = challenged(rollout_spec(20), experiment=ExperimentPlan({"wine-1": 100}))
    waiting.run(2)
    assert conditions(facts_of(waiting))["Paused"] == ("True", "WaitingForExperiment")


def test_aborted_revision_says_so() -> None:
    world = challenged(rollout_spec(20, None), requests_per_turn=1000)
    world.run(5)
    world.say("Abort")
    decision = replace(world.decide(), outcome=world.outcome)
    got = conditions(facts_of(world, decision=decision))
    assert got["CanaryReady"] == ("False", "Aborted")
    assert got["Progressing"] == ("False", "RolledBack")


def test_latency_of_a_warm_up_is_a_condition() -> None:
    world = challenged(rollout_spec(20, None), warm_up_required=True)
    world.turn()
    assert "WithinLatencyBudget" not in conditions(facts_of(world))
    world.warm_up = WarmUp(revision="wine-2", time=world.now, within_budget=False, message="p99 90 ms of 50")
    world.turn()
    assert conditions(facts_of(world))["WithinLatencyBudget"] == ("False", "TooSlow")


def test_metric_that_cannot_be_read_is_named() -> None:
    analysis = {
        "metrics": [
            {"name": "errors", "type": "ErrorRate"},
            {"name": "labels", "type": "Feedback", "feedback": {"maturity": "1s"}},
        ],
        "bake": "5s",
    }
    spec = spec_of(rollout={"analysis": analysis}, logger={"mode": "All"})
    world = challenged(rollout_spec(20, None, **analysis), requests_per_turn=1000)
    world.run(5)
    assert conditions(facts_of(world, spec=spec))["Analyzable"] == ("False", "NoReport")
    report = report_of(drift="Ok")
    assert conditions(facts_of(world, spec=spec, report=report))["Analyzable"] == ("True", "Readable")
    assert "Analyzable" not in conditions(facts_of(settled(rollout_spec())))


def test_router_that_holds_a_step_up_is_told_without_a_failed_load() -> None:
    world = challenged(rollout_spec(20, None), requests_per_turn=1000)
    world.routers_follow = False
    world.routers["router-b"] = RouterView("router-b", ready=True)
    world.run(15, seconds=60)
    facts = facts_of(world)
    status = build_status(
        facts, ModelDeploymentStatus(), None, generation=1, url="", refresh_monitors=False, now=NOW
    )
    assert status.model_status is not None
    assert status.model_status.transition_status.value == "InProgress"
    assert conditions(facts)["Progressing"] == ("True", "Shifting")
