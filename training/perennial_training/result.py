"""What a run reports: one small JSON in the container's termination message.

The kubelet keeps at most 4,096 bytes of it, and the operator reads nothing else, so the message is cut to fit.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

MAX_RESULT_BYTES = 4_000

Verdict = Literal["Accepted", "Refused"]
Reason = Literal[
    "ChallengerNoWorse", "ChallengerWorse", "TooFewLabels", "TooFewEffectiveSamples", "SingleClass"
]


class Figures(BaseModel):
    """What a run measured; what it didn't reach is None.

    Times are ISO 8601 in UTC; ``difference_lower`` is oriented so that positive means better.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    champion_score: float | None = None
    challenger_score: float | None = None
    difference_lower: float | None = None
    train_rows: int | None = None
    test_rows: int | None = None
    effective_samples: float | None = None
    train_from: str | None = None
    train_to: str | None = None
    test_from: str | None = None
    test_to: str | None = None
    data_digest: str | None = None


class Result(Figures):
    """The verdict over a candidate and the figures behind it."""

    verdict: Verdict
    reason: Reason
    message: str
    metric: str
    candidate_uri: str | None = None


class Failure(BaseModel):
    """Why a Job ended without a verdict."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: str
    message: str


def write_termination_log(path: Path, report: Result | Failure) -> None:
    """Write the report for the kubelet to pick up, its message shortened until the whole fits."""
    text = report.model_dump_json()
    while len(text.encode()) > MAX_RESULT_BYTES and report.message:
        report = report.model_copy(update={"message": report.message[: len(report.message) // 2]})
        text = report.model_dump_json()
    path.write_text(text, encoding="utf-8")


def isoformat(epoch_s: float) -> str:
    """ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
