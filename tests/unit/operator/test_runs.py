"""What a retraining Job left behind."""

import json
from typing import Any

import pytest
from perennial.rollout.runs import JobView, assess_run
from perennial_api.retrainingrun import RetrainingPhase

from tests.unit.operator.builders import NOW, run_of, uri

RESULT = {
    "verdict": "Accepted",
    "reason": "ChallengerNoWorse",
    "message": "better",
    "candidate_uri": uri("b"),
    "metric": "roc_auc",
    "champion_score": 0.66,
    "challenger_score": 0.73,
    "difference_lower": 0.05,
    "train_rows": 90000,
    "train_from": "2026-01-01T00:00:00Z",
    "data_digest": f"sha256:{'0' * 64}",
}


def job(message: str = "", **changes: Any) -> JobView:
    return JobView("wine-run-1", termination_message=message, **changes)


def test_pending_run_without_job_stays_pending() -> None:
    assert assess_run(run_of(), None, NOW).phase is RetrainingPhase.PENDING


def test_run_with_a_job_at_work_is_running() -> None:
    status = assess_run(run_of(), job(), NOW)
    assert (status.phase, status.start_time) == (RetrainingPhase.RUNNING, NOW)


def test_result_of_an_accepted_candidate_is_kept_whole() -> None:
    status = assess_run(
        run_of(phase="Running"), job(json.dumps(RESULT), succeeded=True, finished_at=NOW), NOW
    )
    assert status.phase is RetrainingPhase.ACCEPTED
    assert status.result is not None
    assert (status.result.candidate_uri, status.result.challenger_score) == (uri("b"), 0.73)
    assert status.completion_time == NOW


def test_refusal_keeps_its_reason() -> None:
    refusal = {"verdict": "Refused", "reason": "TooFewLabels", "message": "more labels"}
    status = assess_run(run_of(phase="Running"), job(json.dumps(refusal), succeeded=True), NOW)
    assert (status.phase, status.reason, status.message) == (
        RetrainingPhase.REFUSED,
        "TooFewLabels",
        "more labels",
    )


@pytest.mark.parametrize(
    "message",
    ["", "not JSON", "{}", "[]", json.dumps(RESULT | {"candidate_uri": None}), '{"verdict": "Maybe"}'],
)
def test_result_that_cannot_be_read_fails_the_run(message: str) -> None:
    status = assess_run(run_of(phase="Running"), job(message, succeeded=True), NOW)
    assert (status.phase, status.reason) == (RetrainingPhase.FAILED, "InvalidResult")


def test_failed_trainer_is_quoted() -> None:
    said = json.dumps({"reason": "ExportUnavailable", "message": "no answer"})
    status = assess_run(run_of(phase="Running"), job(said, failed=True, reason="BackoffLimitExceeded"), NOW)
    assert (status.phase, status.reason, status.message) == (
        RetrainingPhase.FAILED,
        "ExportUnavailable",
        "no answer",
    )


def test_failed_trainer_that_said_nothing_gets_the_jobs_reason() -> None:
    status = assess_run(run_of(phase="Running"), job("", failed=True, reason="DeadlineExceeded"), NOW)
    assert status.reason == "DeadlineExceeded"


def test_job_that_vanished_fails_the_run() -> None:
    assert assess_run(run_of(phase="Running"), None, NOW).reason == "JobDeleted"


def test_ended_run_never_changes() -> None:
    run = run_of(phase="Refused", reason="TooFewLabels")
    assert assess_run(run, job(json.dumps(RESULT), succeeded=True), NOW) == run.status
