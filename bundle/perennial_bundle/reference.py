"""The reference sample: rows that the model was fitted on or tested with, and what it said about them.

The observer calibrates its detectors on blocks of it, the server warms up with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from perennial_bundle.columns import event_time_seconds
from perennial_bundle.errors import InvalidBundle, InvalidInput
from perennial_bundle.schema import Column, Schema
from perennial_bundle.scoring import Outputs

MAX_REFERENCE_ROWS = 5000
RUN_ROWS = 1000
EVENT_TIME = "__event_time__"
LABEL = "__label__"
OUTPUT_PREFIX = "__output__"
_ARROW = {
    "BOOL": pa.bool_(),
    "INT64": pa.int64(),
    "FP32": pa.float32(),
    "FP64": pa.float64(),
    "BYTES": pa.string(),
}


@dataclass(frozen=True)
class Reference:
    """The reference sample, n rows in time order.

    Parameters
    ----------
    inputs
        The frame that `Schema.validate` builds.
    outputs
        What the model answered: arrays (n,) or (n, n_classes).
    labels
        array (n,) of the known truth, or None.
    event_time
        float64 array (n,) of seconds since 1970, or None.
    """

    inputs: pd.DataFrame
    outputs: Outputs
    labels: npt.NDArray[Any] | None
    event_time: npt.NDArray[np.float64] | None


def choose_rows(
    n_rows: int, max_rows: int = MAX_REFERENCE_ROWS, run_rows: int = RUN_ROWS
) -> npt.NDArray[np.int64]:
    """Choose which of n time-ordered rows make the reference sample: int64 array of positions, ascending.

    Single rows spread evenly would lose the dependence between neighbours that a live window has, and the last
    rows alone would lose the slow changes; so it takes runs of consecutive rows, spread evenly.

    Examples
    --------
    >>> choose_rows(10, max_rows=4, run_rows=2).tolist()
    [0, 1, 8, 9]
    """
    if n_rows <= max_rows:
        return np.arange(n_rows, dtype=np.int64)
    run_rows = min(run_rows, max_rows)
    n_runs = max_rows // run_rows
    starts = np.linspace(0, n_rows - run_rows, n_runs).astype(np.int64) if n_runs > 1 else [n_rows - run_rows]
    return np.unique(np.concatenate([np.arange(s, s + run_rows, dtype=np.int64) for s in starts]))


def plain_values(column: Column, values: pd.Series[Any]) -> list[Any]:
    """Turn a column of the author's frame into the values that a request would carry.

    Raises
    ------
    InvalidBundle
        A value that the column's datatype can't carry.
    """
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        stamps = values.dt.tz_localize("UTC") if values.dt.tz is None else values.dt.tz_convert("UTC")
        return [None if pd.isna(stamp) else stamp.isoformat() for stamp in stamps]
    plain = values.astype(object).where(values.notna(), None).tolist()
    convert = {"BYTES": str, "BOOL": bool, "INT64": int, "FP32": float, "FP64": float}[column.datatype]
    try:
        return [None if value is None else convert(value) for value in plain]
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidBundle(f"column {column.name!r} can't be {column.datatype}: {error}") from error


def write_reference(
    path: Path,
    schema: Schema,
    columns: dict[str, list[Any]],
    outputs: Outputs,
    labels: list[Any] | None,
) -> None:
    """Write ``reference.parquet``; the inputs are plain values, as a request would carry them."""
    arrays = {c.name: pa.array(columns[c.name], type=_ARROW[c.datatype]) for c in schema.inputs}
    if schema.event_time is not None:
        arrays[EVENT_TIME] = pa.array(event_time_seconds(columns[schema.event_time.name]))
    if labels is not None:
        arrays[LABEL] = pa.array(labels)
    for column in schema.outputs:
        values = outputs[column.name].tolist()
        kind = _ARROW[column.datatype]
        arrays[OUTPUT_PREFIX + column.name] = pa.array(
            values, type=pa.list_(kind) if outputs[column.name].ndim > 1 else kind
        )
    pq.write_table(pa.table(arrays), path, compression="zstd")


def read_reference(path: Path, schema: Schema) -> Reference:
    """Read ``reference.parquet`` and check it against the schema.

    Raises
    ------
    InvalidBundle
        It isn't Parquet, has too many rows, or breaks the schema.
    """
    try:
        with pq.ParquetFile(path) as file:
            n_rows = file.metadata.num_rows
            if not 0 < n_rows <= MAX_REFERENCE_ROWS:
                raise InvalidBundle(f"{path.name} has {n_rows} rows; 1 to {MAX_REFERENCE_ROWS} are allowed")
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise InvalidBundle(f"{path.name} can't be read: {error}") from error
    present = set(table.column_names)
    try:
        inputs = schema.validate(
            {c.name: table.column(c.name).to_pylist() for c in schema.inputs if c.name in present}
        )
    except InvalidInput as error:
        raise InvalidBundle(f"{path.name} breaks the schema: {error}") from error
    outputs = {
        c.name: _to_array(table.column(OUTPUT_PREFIX + c.name).to_pylist(), c.datatype == "BYTES")
        for c in schema.outputs
        if OUTPUT_PREFIX + c.name in present
    }
    labels = _to_array(table.column(LABEL).to_pylist(), strings=False) if LABEL in present else None
    event_time = np.asarray(table.column(EVENT_TIME), dtype=np.float64) if EVENT_TIME in present else None
    return Reference(inputs=inputs, outputs=outputs, labels=labels, event_time=event_time)


def _to_array(values: Sequence[Any], strings: bool) -> npt.NDArray[Any]:
    if strings or any(isinstance(value, str | None) for value in values):
        return np.array(values, dtype=object)
    return np.asarray(values)
