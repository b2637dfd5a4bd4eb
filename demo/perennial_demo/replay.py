"""The stream of requests, and the clock that lets it flow. Pure.

Flights of one airline in one hour are one request, as an airline's system would ask; hours follow each other in event
time at a pace that the story sets.
"""

import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from perennial_bundle import Schema

HOUR_S = 3600.0


@dataclass(frozen=True)
class Request:
    """One request: rows ``first`` to ``last`` (exclusive) of the replayed frame, all of hour ``time_s``."""

    first: int
    last: int
    time_s: float

    def __len__(self) -> int:
        return self.last - self.first


def build_requests(frame: pd.DataFrame, time: str, group: str) -> tuple[pd.DataFrame, list[Request]]:
    """Order the rows by hour and group, and cut them into requests.

    Parameters
    ----------
    frame : DataFrame
        With the columns `time` (float64 epoch seconds) and `group`.

    Returns
    -------
    tuple
        The frame in the order of the requests, and the requests in time order.
    """
    ordered = frame.sort_values([time, group], kind="stable", ignore_index=True)
    times = ordered[time].to_numpy(dtype=np.float64)
    groups = ordered[group].to_numpy()
    changes = np.flatnonzero((np.diff(times) != 0) | (groups[1:] != groups[:-1])) + 1
    bounds = [0, *changes.tolist(), len(ordered)]
    return ordered, [Request(first, last, float(times[first])) for first, last in pairwise(bounds)]


class Bodies:
    """Requests of the Open Inference Protocol, built from columns once converted to plain values."""

    def __init__(self, frame: pd.DataFrame, schema: Schema) -> None:
        self._columns: list[tuple[str, str, list[Any]]] = [
            (column.name, column.datatype, _plain(frame[column.name])) for column in schema.inputs
        ]

    def build(self, request: Request) -> bytes:
        """Body of one request; a missing value is null."""
        inputs = [
            {
                "name": name,
                "datatype": datatype,
                "shape": [len(request)],
                "data": values[request.first : request.last],
            }
            for name, datatype, values in self._columns
        ]
        return json.dumps({"inputs": inputs}).encode()


def _plain(values: "pd.Series[Any]") -> list[Any]:
    plain: list[Any] = values.astype(object).where(values.notna(), None).tolist()
    return plain


@dataclass
class Clock:
    """Event time of the replay, moved by the wall clock at a pace that may change at any moment.

    Parameters
    ----------
    now_s
        Event time, epoch seconds.
    hours_per_s
        Hours of event time in a second; 0 holds it.
    """

    now_s: float
    hours_per_s: float = 0.0

    def advance(self, elapsed_s: float, *, at_most_s: float) -> float:
        """Move on by what `elapsed_s` of wall time is worth, but not beyond event time `at_most_s`; return event time.

        The bound is how the control plane holds the replay: what it hasn't seen yet shouldn't lie days back.
        """
        self.now_s = max(self.now_s, min(self.now_s + elapsed_s * self.hours_per_s * HOUR_S, at_most_s))
        return self.now_s


@dataclass
class Schedule:
    """Requests that are due, in order."""

    requests: Sequence[Request]
    _next: int = 0

    def due(self, now_s: float) -> Iterator[Request]:
        """Requests up to event time `now_s` that have not been given out yet."""
        while self._next < len(self.requests) and self.requests[self._next].time_s <= now_s:
            self._next += 1
            yield self.requests[self._next - 1]

    @property
    def is_done(self) -> bool:
        """Whether all have been given out."""
        return self._next >= len(self.requests)


@dataclass(frozen=True)
class Label:
    """The truth about one predicted row."""

    prediction_id: str
    row: int
    value: int


@dataclass
class LateLabels:
    """Labels that become known some time after their event."""

    delay_s: float
    _waiting: deque[tuple[float, tuple[Label, ...]]] = field(default_factory=deque)

    def learn(self, request: Request, prediction_id: str, truth: npt.NDArray[np.int64]) -> None:
        """Note what will become known of a request's rows; `truth` is int64 (rows of the whole replay,)."""
        values = truth[request.first : request.last].tolist()
        labels = tuple(Label(prediction_id, row, value) for row, value in enumerate(values))
        self._waiting.append((request.time_s + self.delay_s, labels))

    def due(self, now_s: float, at_most: int) -> list[Label]:
        """Labels that are known by event time `now_s`, whole requests of them, about `at_most` at a time."""
        found: list[Label] = []
        while self._waiting and self._waiting[0][0] <= now_s and len(found) < at_most:
            found.extend(self._waiting.popleft()[1])
        return found

    def __len__(self) -> int:
        return sum(len(labels) for _, labels in self._waiting)
