"""Which requests the year of flights becomes, and how well each model did on them. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import roc_auc_score

from perennial_demo.flights import EVENT_TIME, FEATURES, LABEL

LABEL_DELAY_S = 24 * 3600.0
STRINGS = ("origin", "carrier", "dest", EVENT_TIME)
INTEGERS = ("distance", "hour", "weekday")
LEAST_ROWS = 500


@dataclass(frozen=True)
class Request:
    """The flights that leave one airport in one hour."""

    time_s: float
    body: dict[str, Any]
    labels: tuple[int, ...]
    first_scores: tuple[float, ...]


def build_requests(flights: pd.DataFrame, first_scores: npt.NDArray[np.float64]) -> Iterator[Request]:
    """Yield one request per airport and hour, in time order.

    Parameters
    ----------
    flights
        Rows of `load_flights` in time order.
    first_scores
        float64 (n_rows,): what the model that is never retrained says of each row.
    """
    scored = flights.assign(first_score=first_scores)
    for _, group in scored.groupby(["time_s", "origin"], sort=True):
        yield Request(
            time_s=float(group["time_s"].iloc[0]),
            body={"inputs": [_build_tensor(name, group[name].tolist()) for name in (*FEATURES, EVENT_TIME)]},
            labels=tuple(group[LABEL].tolist()),
            first_scores=tuple(group["first_score"].tolist()),
        )


def _build_tensor(name: str, values: list[Any]) -> dict[str, Any]:
    shape = [len(values)]
    if name in STRINGS:
        return {"name": name, "datatype": "BYTES", "shape": shape, "data": values}
    if name in INTEGERS:
        return {"name": name, "datatype": "INT64", "shape": shape, "data": values}
    data = [None if math.isnan(value) else value for value in values]
    return {"name": name, "datatype": "FP64", "shape": shape, "data": data}


@dataclass
class RollingAuc:
    """AUC of the served model beside that of the model never retrained, over the latest labelled rows."""

    size: int = 10_000
    _rows: deque[tuple[int, float, float]] = field(default_factory=deque)

    def add(self, label: int, served: float, first: float) -> None:
        """Add one labelled row with both models' scores."""
        self._rows.append((label, served, first))
        if len(self._rows) > self.size:
            self._rows.popleft()

    def clear(self) -> None:
        """Begin anew, as after a promotion."""
        self._rows.clear()

    def compute(self) -> tuple[float, float] | None:
        """Return (served, never retrained), or None before there are both classes and enough rows."""
        rows = list(self._rows)
        labels = [label for label, _, _ in rows]
        if len(labels) < LEAST_ROWS or len(set(labels)) == 1:
            return None
        served = roc_auc_score(labels, [score for _, score, _ in rows])
        first = roc_auc_score(labels, [score for _, _, score in rows])
        return float(served), float(first)
