"""What the store takes and gives: frozen rows, no SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = [
    "Counts",
    "DeploymentKey",
    "FeedbackCounts",
    "LabelRow",
    "LogCounts",
    "LoggedRow",
    "Placed",
    "PredictionRow",
    "RejectedRow",
    "ShadowRow",
]


@dataclass(frozen=True)
class DeploymentKey:
    """Whose rows: the uid decides, the names are for people and addresses."""

    uid: str
    namespace: str
    name: str


class PredictionRow(NamedTuple):
    """One predicted row on its way into the log. `inputs` and `outputs` are JSON objects by column.

    A tuple, as it is made for every row: a frozen dataclass takes four times as long.

    `flags` is a JSON list of what the schema noticed and let through. It stands beside the inputs, so that no monitor
    and no export takes it for a feature.
    """

    prediction_id: str
    row: int
    revision: str
    event_time: float
    inputs: str
    outputs: str
    client: str | None = None
    flags: str | None = None


class ShadowRow(NamedTuple):
    """One row of a mirrored request's answer."""

    prediction_id: str
    row: int
    revision: str
    outputs: str


@dataclass(frozen=True)
class RejectedRow:
    """A row that doesn't fit, kept apart with the reason."""

    prediction_id: str
    row: int
    revision: str
    reason: str
    inputs: str


@dataclass(frozen=True)
class Placed:
    """Rows with their places in the stream of events.

    Parameters
    ----------
    late_before
        Rows of earlier event times come too late to be awaited; None where nothing has been awaited yet.
    """

    rows: Sequence[PredictionRow]
    late_before: float | None


@dataclass(frozen=True)
class LabelRow:
    """What came true for one predicted row. `label` is JSON."""

    prediction_id: str
    row: int
    label: str


@dataclass(frozen=True)
class LogCounts:
    """What became of a batch of log entries, in rows. `shadow` ones are accepted too, and counted apart.

    Parameters
    ----------
    unsampled
        Left out because more came than `spec.monitoring.maxRowsPerSecond`.
    late
        How many of the accepted came too late to be awaited.
    reasons
        How many were rejected for what.
    """

    accepted: int
    duplicates: int
    rejected: int
    shadow: int = 0
    unsampled: int = 0
    late: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class FeedbackCounts:
    """What became of a batch of labels.

    `kept` of the unknown ones wait for their prediction; none waits for one that is outside the sample. Mistyped ones
    can't be true of any answer of the model: a text where it answers numbers, or the other way round.
    """

    accepted: int
    duplicates: int
    conflicts: int
    unknown: int
    kept: int
    unsampled: int = 0
    mistyped: int = 0


@dataclass(frozen=True)
class Counts:
    """Totals of one deployment since its first row; retention doesn't lower them."""

    predictions: int = 0
    labels: int = 0
    rejected: int = 0
    late: int = 0
    latest_event: float | None = None


@dataclass(frozen=True)
class LoggedRow:
    """One row read back, with its label where it is known."""

    id: int
    event_time: float
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    label: Any = None
    has_label: bool = False
