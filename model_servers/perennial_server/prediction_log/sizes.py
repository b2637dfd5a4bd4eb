"""What a batch costs in memory while it waits, in a time that hardly grows with it. Pure."""

from collections.abc import Sequence
from sys import getsizeof
from typing import Any

import numpy as np
from perennial_bundle.rows import Values

from perennial_server.prediction_log.batch import LoggedBatch

# An Origin with its strings, and its share of the batch's tuples.
REQUEST_BYTES = 512
# The largest number that a 64-bit datatype has, as an object, and its place in a list.
NUMBER_BYTES = 44
PLACE_BYTES = 8
FLAG_BYTES = 96


def estimate_bytes(batch: LoggedBatch) -> int:
    """Estimate the memory that a batch holds, never much below the truth: the queue is bounded by it.

    Arrays know their size, and in a column one number tells that all are, since the batch fits its schema. Only strings
    are looked at one by one.
    """
    size = REQUEST_BYTES * len(batch.sizes) + FLAG_BYTES * len(batch.flags)
    if batch.rows.matrix is not None:
        size += batch.rows.matrix.nbytes
    for values in batch.rows.columns.values():
        size += _estimate_column(values)
    for values in batch.outputs.values():
        size += _estimate_column(values)
    return size


def _estimate_column(values: Values) -> int:
    if isinstance(values, np.ndarray):
        return (
            values.nbytes if values.dtype != object else values.nbytes + _sum_sizes(values.ravel().tolist())
        )
    if not values or type(values[0]) in (float, int, bool):
        return NUMBER_BYTES * len(values)
    return PLACE_BYTES * len(values) + _sum_sizes(values)


def _sum_sizes(values: Sequence[Any]) -> int:
    return sum(map(getsizeof, values))
