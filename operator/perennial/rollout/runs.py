"""Read what a retraining Job left behind, and decide how far its run is."""

from dataclasses import dataclass
from datetime import datetime

from perennial_api.retrainingrun import (
    RetrainingPhase,
    RetrainingResult,
    RetrainingRun,
    RetrainingRunStatus,
    Verdict,
)
from pydantic import ValidationError

from perennial.rollout.failures import read_termination

__all__ = ["JobView", "assess_run"]


@dataclass(frozen=True, slots=True)
class JobView:
    """A retraining Job.

    Attributes
    ----------
    succeeded, failed
        Whether it has ended, and how. Neither while it runs.
    termination_message
        What its latest container wrote on ending; empty where nothing was found.
    reason, message
        The Job controller's words on a failure.
    """

    name: str
    succeeded: bool = False
    failed: bool = False
    termination_message: str = ""
    reason: str = ""
    message: str = ""
    finished_at: datetime | None = None


def assess_run(run: RetrainingRun, job: JobView | None, now: datetime) -> RetrainingRunStatus:
    """Return the run's next status; a final one never changes.

    A pending run without Job is still to get one. A running one whose Job has vanished failed: a Job is made once.
    """
    status = run.status
    if status.phase.is_final:
        return status
    if job is None:
        if status.phase is RetrainingPhase.PENDING:
            return status
        return _ended(
            status, RetrainingPhase.FAILED, "JobDeleted", "The Job was deleted before it ended.", now
        )
    if status.start_time is None:
        status = status.model_copy(update={"start_time": now})
    if not (job.succeeded or job.failed):
        return status.model_copy(
            update={
                "phase": RetrainingPhase.RUNNING,
                "reason": "JobRunning",
                "message": "The trainer is at work.",
            }
        )
    at = job.finished_at or now
    if job.failed:
        failure = read_termination(job.termination_message)
        reason, message = failure or (
            job.reason or "JobFailed",
            job.message or "The trainer failed; see its pod's log.",
        )
        return _ended(status, RetrainingPhase.FAILED, reason, message, at)
    return _read_result(status, job, at)


def _read_result(status: RetrainingRunStatus, job: JobView, at: datetime) -> RetrainingRunStatus:
    try:
        result = RetrainingResult.model_validate_json(job.termination_message)
    except ValidationError as error:
        message = f"The trainer's result can't be read: {error.errors()[0]['msg']}"
        return _ended(status, RetrainingPhase.FAILED, "InvalidResult", message, at)
    if result.verdict is Verdict.ACCEPTED and result.candidate_uri is None:
        message = "The trainer accepted a candidate but gave no candidate_uri."
        return _ended(status, RetrainingPhase.FAILED, "InvalidResult", message, at)
    phase = RetrainingPhase.ACCEPTED if result.verdict is Verdict.ACCEPTED else RetrainingPhase.REFUSED
    ended = _ended(status, phase, result.reason, result.message, at)
    return ended.model_copy(update={"result": result})


def _ended(
    status: RetrainingRunStatus, phase: RetrainingPhase, reason: str, message: str, at: datetime
) -> RetrainingRunStatus:
    return status.model_copy(
        update={"phase": phase, "reason": reason, "message": message[:4096], "completion_time": at}
    )
