"""A table's columns as the schema takes them: strings of a CSV file become what they say, and times become ISO 8601.

A value that can't be read stays as it is: the schema then refuses the row and names it.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from perennial_bundle import Column, Rows, Schema

# What people write into a CSV file where a number or a truth value is missing.
MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"})
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}


def build_rows(schema: Schema, table: pa.Table) -> Rows:
    """Return the columns that the schema knows; others aren't the model's business."""
    columns = {}
    for column in schema.inputs:
        if column.name in table.column_names:
            columns[column.name] = read_values(column, table.column(column.name))
    return Rows(table.num_rows, columns)


def read_values(column: Column, values: pa.ChunkedArray) -> Any:
    """Return one column's values: an array where none is missing, else a list with None."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _read_strings(column, values)
    if pa.types.is_decimal(kind):
        values = values.cast(pa.float64())
    if pa.types.is_temporal(kind):
        return [None if value is None else value.isoformat() for value in values.to_pylist()]
    is_plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if is_plain and not values.null_count:
        array = values.to_numpy()
        if column.datatype == "INT64" and array.dtype.kind == "f":
            return _as_integers(array.tolist())
        return array
    listed = values.to_pylist()
    return _as_integers(listed) if column.datatype == "INT64" else listed


def _read_strings(column: Column, values: pa.ChunkedArray) -> Any:
    if column.datatype == "BYTES":
        return [value or None for value in values.to_pylist()]
    if column.datatype in {"FP32", "FP64"}:
        try:
            return (
                values.cast(pa.float64()).to_numpy() if not values.null_count else _read_each(column, values)
            )
        except pa.ArrowInvalid:
            return _read_each(column, values)
    return _read_each(column, values)


def _read_each(column: Column, values: pa.ChunkedArray) -> list[Any]:
    return [_read_value(column, value) for value in values.to_pylist()]


def _read_value(column: Column, value: str | None) -> Any:
    text = "" if value is None else value.strip()
    if text in MISSING:
        return None
    if column.datatype == "BOOL":
        return _TRUTHS.get(text.lower(), value)
    try:
        if column.datatype == "INT64":
            return int(text)
        return float(text)
    except ValueError:
        try:
            number = float(text)
        except ValueError:
            return value
        return int(number) if number.is_integer() else number


def _as_integers(values: list[Any]) -> list[Any]:
    """Undo what pandas does to a column of integers in which some are missing."""
    return [
        None if isinstance(value, float) and np.isnan(value)
        else int(value) if isinstance(value, float) and value.is_integer()
        else value
        for value in values
    ]  # fmt: skip


def type_table(schema: Schema, table: pa.Table, rows: Rows) -> pa.Table:
    """Give the columns of a table of strings the types of the schema; all its rows fit."""
    types = {"FP32": pa.float64(), "FP64": pa.float64(), "INT64": pa.int64(), "BOOL": pa.bool_()}
    for column in schema.inputs:
        place = table.schema.get_field_index(column.name)
        if (
            place < 0
            or column.datatype not in types
            or not pa.types.is_string(table.schema.field(place).type)
        ):
            continue
        values = rows.columns[column.name]
        array = pa.array(values, type=types[column.datatype])
        table = table.set_column(place, column.name, array)
    return table
