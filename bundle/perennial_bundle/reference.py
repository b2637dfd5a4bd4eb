"""The reference sample: rows that the model was fitted on or tested with, and what it said about them.

The observer calibrates its detectors on blocks of it, the server warms up with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perennial_bundle.columns import event_time_seconds
from perennial_bundle.errors import InvalidBundle, InvalidInput
from perennial_bundle.schema import Column, Schema
from perennial_bundle.scoring import Outputs

MAX_REFERENCE_ROWS = 5000
RUN_ROWS = 1000
# What the sample may take in memory. Parquet keeps a value that comes again only once: a file says nothing of it.
MAX_REFERENCE_BYTES = 256 * 2**20
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
        The frame that `Schema.check` builds: what the model is given.
    sent
        The same rows by column as a request would carry them, None where a value is missing: what is logged, and
        hence what live rows are compared with.
    outputs
        What the model answered: arrays (n,) or (n, n_classes).
    labels
        array (n,) of the known truth, or None.
    event_time
        float64 array (n,) of seconds since 1970, or None.
    """

    inputs: pd.DataFrame
    sent: Mapping[str, list[Any]]
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
    table = _read_table(path, schema)
    present = set(table.column_names)
    sent = {c.name: table.column(c.name).to_pylist() for c in schema.inputs if c.name in present}
    try:
        inputs = schema.validate(sent)
        outputs = {
            c.name: _to_array(table.column(OUTPUT_PREFIX + c.name).to_pylist(), c.datatype == "BYTES")
            for c in schema.outputs
            if OUTPUT_PREFIX + c.name in present
        }
        labels = _to_array(table.column(LABEL).to_pylist(), strings=False) if LABEL in present else None
        event_time = np.asarray(table.column(EVENT_TIME), dtype=np.float64) if EVENT_TIME in present else None
    except (InvalidInput, ValueError, TypeError) as error:
        raise InvalidBundle(f"{path.name} breaks the schema: {error}") from error
    return Reference(inputs=inputs, sent=sent, outputs=outputs, labels=labels, event_time=event_time)


def _read_table(path: Path, schema: Schema) -> pa.Table:
    """Read the columns that the schema knows, no more of them than fits into the limits."""
    known = {
        EVENT_TIME,
        LABEL,
        *(c.name for c in schema.inputs),
        *(OUTPUT_PREFIX + c.name for c in schema.outputs),
    }
    try:
        with pq.ParquetFile(path) as file:
            n_rows = file.metadata.num_rows
            if not 0 < n_rows <= MAX_REFERENCE_ROWS:
                raise InvalidBundle(f"{path.name} has {n_rows} rows; 1 to {MAX_REFERENCE_ROWS} are allowed")
            _check_size(path.name, _claimed_bytes(file.metadata))
            types = {field.name: field.type for field in file.schema_arrow if field.name in known}
        for name, kind in types.items():
            if not (
                pa.types.is_string(kind)
                or _is_plain(kind)
                or (pa.types.is_list(kind) and _is_plain(kind.value_type))
            ):
                raise InvalidBundle(f"{path.name}: {name} is {kind}, which no reference sample holds")
        # As dictionaries strings take what they take in the file; only then it is known what they would take outside.
        strings = [name for name, kind in types.items() if pa.types.is_string(kind)]
        table = pq.read_table(path, columns=list(types), read_dictionary=strings, use_threads=False)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise InvalidBundle(f"{path.name} can't be read: {error}") from error
    _check_size(path.name, sum(_plain_bytes(column) for column in table.columns))
    return table


def _is_plain(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _check_size(name: str, size_bytes: int) -> None:
    if size_bytes > MAX_REFERENCE_BYTES:
        raise InvalidBundle(f"{name} would take {size_bytes} bytes; {MAX_REFERENCE_BYTES} are allowed")


def _claimed_bytes(metadata: Any) -> int:
    """Add up what the file says of its columns: what they unpack to, or eight bytes for each value."""
    total = 0
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for index in range(row_group.num_columns):
            column = row_group.column(index)
            total += max(column.total_uncompressed_size, 8 * column.num_values)
    return total


def _plain_bytes(column: pa.ChunkedArray) -> int:
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    return sum(
        int(pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0)
        for chunk in column.chunks
    )


def _to_array(values: Sequence[Any], strings: bool) -> npt.NDArray[Any]:
    if strings or any(isinstance(value, str | None) for value in values):
        return np.array(values, dtype=object)
    return np.asarray(values)
