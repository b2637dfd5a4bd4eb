"""When an alarm starts a run, and when it has to wait."""

from datetime import timedelta
from typing import Any

import pytest
from perennial.rollout.decision import EventReason
from perennial.rollout.retraining import RetrainingDecision, decide_retraining, run_name
from perennial.rollout.verdicts import Verdict
from perennial_api.modeldeployment.status import RetrainingStatus, RolloutPhase, RolloutStatus

from tests.unit.operator.builders import NOW, UID, report_of, retrained_spec, run_of, spec_of

HEALTHY = RolloutStatus(phase=RolloutPhase.HEALTHY, stable="wine-1")
FOUND = Verdict(True, "RuntimeFound")


def decide(**given: Any) -> RetrainingDecision:
    options: dict[str, Any] = {
        "spec": retrained_spec(),
        "status": None,
        "report": report_of(accuracy="Alarm"),
        "runs": (),
        "rollout": HEALTHY,
        "name": "wine",
        "uid": UID,
        "model_is_stable": True,
        "trainer": FOUND,
        "ended": None,
        "now": NOW,
    } | given
    return decide_retraining(**options)


def test_alarm_of_a_trigger_starts_a_run() -> None:
    start = decide().start
    assert start is not None
    assert (start.monitor, start.breach_id, start.labels) == ("accuracy", "accuracy-1", 1000)
    assert start.name == run_name("wine", UID, "accuracy", "accuracy-1")


@pytest.mark.parametrize("state", ["Ok", "Warning", "Insufficient", "Error"])
def test_anything_but_an_alarm_starts_nothing(state: str) -> None:
    decision = decide(report=report_of(accuracy=state))
    assert decision.start is None
    assert decision.blocked is None


def test_alarm_of_a_monitor_that_is_no_trigger_starts_nothing() -> None:
    assert decide(report=report_of(outliers="Alarm")).start is None


def test_without_retraining_in_the_spec_nothing_starts() -> None:
    assert decide(spec=spec_of()).start is None


def test_same_alarm_never_starts_a_second_run() -> None:
    first = decide()
    later = NOW + timedelta(days=3)
    assert decide(status=first.status, now=later).start is None
    done = run_of(first.start.name, phase="Refused")  # type: ignore[union-attr]
    assert decide(runs=(done,), now=later).start is None, "even when the status was lost"


def test_another_alarm_starts_another_run_after_the_cooldown() -> None:
    first = decide()
    report = report_of(5000, accuracy="Alarm:accuracy-2")
    assert decide(status=first.status, report=report).blocked.reason == "Cooldown"  # type: ignore[union-attr]
    later = decide(status=first.status, report=report, now=NOW + timedelta(hours=2))
    assert later.start is not None
    assert later.start.name != first.start.name  # type: ignore[union-attr]


REPORT = report_of(5000, accuracy="Alarm:accuracy-9")


@pytest.mark.parametrize(
    ("reason", "given"),
    [
        ("Suspended", {"spec": retrained_spec(suspend=True)}),
        ("RunUnderWay", {"runs": (run_of(phase="Running", age=timedelta(days=1)),)}),
        (
            "RolloutUnderWay",
            {"rollout": RolloutStatus(phase=RolloutPhase.PAUSED, stable="wine-1", canary="wine-2")},
        ),
        ("RolloutUnderWay", {"rollout": RolloutStatus(phase=RolloutPhase.PROGRESSING)}),
        (
            "SpecNotServed",
            {
                "rollout": RolloutStatus(phase=RolloutPhase.DEGRADED, stable="wine-1"),
                "model_is_stable": False,
            },
        ),
        (
            "BlockedByMonitor",
            {
                "spec": retrained_spec(blockOn=["outliers"]),
                "report": report_of(5000, accuracy="Alarm:accuracy-9", outliers="Alarm"),
            },
        ),
        ("Cooldown", {"runs": (run_of(phase="Accepted", age=timedelta(minutes=10)),)}),
        (
            "WeeklyLimit",
            {
                "runs": tuple(
                    run_of(f"r{i}", phase="Accepted", breach=f"b{i}", age=timedelta(days=i))
                    for i in (1, 2, 3)
                )
            },
        ),
        ("TooFewLabels", {"runs": (run_of(phase="Accepted", labels=4950, age=timedelta(days=8)),)}),
        (
            "ReportOfOtherRevision",
            {"report": REPORT.model_copy(update={"revision": "wine-0"})},
        ),
        ("RuntimeNotFound", {"trainer": Verdict(False, "RuntimeNotFound", "make one")}),
    ],
)
def test_alarm_waits_and_says_for_what(reason: str, given: dict[str, Any]) -> None:
    decision = decide(**({"report": REPORT} | given))
    assert decision.start is None
    assert decision.blocked is not None
    assert decision.blocked.reason == reason
    assert decision.blocked.message


def test_degraded_rollout_of_the_spec_that_serves_blocks_nothing() -> None:
    degraded = RolloutStatus(phase=RolloutPhase.DEGRADED, stable="wine-1", failed_revision="wine-2")
    assert decide(rollout=degraded, model_is_stable=True).start is not None


def test_cooldown_grows_with_runs_that_brought_nothing_up_to_its_maximum() -> None:
    waits = []
    for unsuccessful in range(6):
        status = RetrainingStatus(unsuccessful=unsuccessful)
        after = decide(status=status).status
        assert after is not None
        assert after.next_allowed_at is not None
        waits.append((after.next_allowed_at - NOW) / timedelta(hours=1))
    assert waits == [1, 2, 4, 8, 12, 12]


@pytest.mark.parametrize(
    ("phase", "want", "event"),
    [
        ("Refused", 1, EventReason.CANDIDATE_REFUSED),
        ("Failed", 1, EventReason.RETRAINING_FAILED),
        ("Accepted", 0, EventReason.CANDIDATE_ACCEPTED),
    ],
)
def test_end_of_a_run_is_counted_and_told_once(phase: str, want: int, event: EventReason) -> None:
    started = decide().status
    name = started.last_run.name  # type: ignore[union-attr]
    ended = decide(status=started, runs=(run_of(name, phase=phase, age=timedelta(0)),))
    assert ended.status.unsuccessful == want  # type: ignore[union-attr]
    assert [n.reason for n in ended.notices] == [event]
    again = decide(status=ended.status, runs=(run_of(name, phase=phase, age=timedelta(0)),))
    assert again.status.unsuccessful == want  # type: ignore[union-attr]
    assert again.notices == ()


def test_promotion_of_a_candidate_resets_the_backoff_and_a_rollback_lengthens_it() -> None:
    status = RetrainingStatus(unsuccessful=3)
    assert decide(status=status, report=None, ended=True).status.unsuccessful == 0  # type: ignore[union-attr]
    assert decide(status=status, report=None, ended=False).status.unsuccessful == 4  # type: ignore[union-attr]


def test_first_trigger_in_the_spec_names_the_run() -> None:
    start = decide(report=report_of(drift="Alarm", accuracy="Alarm")).start
    assert start is not None
    assert start.monitor == "accuracy"


def test_wait_for_the_cooldown_is_known() -> None:
    decision = decide(report=REPORT, runs=(run_of(phase="Accepted", age=timedelta(minutes=10)),))
    assert decision.requeue_after_s == pytest.approx(50 * 60)


def test_names_differ_by_deployment_uid() -> None:
    assert run_name("wine", "uid-1", "m", "b") != run_name("wine", "uid-2", "m", "b")
