"""Some requests of a batch, as a batch of their own. Pure."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
from perennial_bundle import Flag, Rows
from perennial_bundle.rows import Values

from perennial_server.prediction_log.batch import LoggedBatch


def pick(batch: LoggedBatch, requests: Sequence[int]) -> LoggedBatch:
    """Return the batch of these requests (indices, rising), with its rows and flags counted anew."""
    if len(requests) == len(batch.sizes):
        return batch
    ends = list(accumulate(batch.sizes))
    rows = [row for i in requests for row in range(ends[i] - batch.sizes[i], ends[i])]
    places = {row: place for place, row in enumerate(rows)} if batch.flags else {}
    matrix = batch.rows.matrix
    return LoggedBatch(
        time_s=batch.time_s,
        origins=tuple(batch.origins[i] for i in requests),
        sizes=tuple(batch.sizes[i] for i in requests),
        rows=Rows(
            len(rows),
            {name: _pick_values(values, rows) for name, values in batch.rows.columns.items()},
            None if matrix is None else matrix[rows],
        ),
        outputs={name: values[rows] for name, values in batch.outputs.items()},
        flags=tuple(
            Flag(places[flag.row], flag.column, flag.kind, flag.action)
            for flag in batch.flags
            if flag.row in places
        ),
    )


def halve(batch: LoggedBatch) -> tuple[LoggedBatch, LoggedBatch]:
    """Cut a batch of at least two requests in the middle."""
    middle = len(batch.sizes) // 2
    return pick(batch, range(middle)), pick(batch, range(middle, len(batch.sizes)))


def _pick_values(values: Values, rows: list[int]) -> Sequence[Any] | npt.NDArray[Any]:
    return values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]
