"""A request that the model is known to answer, made of its reference sample: to warm up, and to measure latency with.

`GET /sample` hands one out, so it holds no whole reference row (each column's values come from other rows), and nothing
at all of the columns that never leave the server.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from perennial_bundle import Bundle, Column

from perennial_server.prediction_log.reference import plain_values

MAX_SAMPLE_ROWS = 64


def build_rows(bundle: Bundle, n_rows: int) -> dict[str, list[Any]]:
    """Return the first reference rows as columns. Never to be sent anywhere."""
    inputs = bundle.reference().inputs.iloc[:n_rows]
    return {str(name): plain_values(inputs[name]) for name in inputs}


def build_mixed_rows(bundle: Bundle, n_rows: int, exclude: frozenset[str]) -> dict[str, list[Any]]:
    """Return rows that look like the reference and are none of its rows.

    Parameters
    ----------
    n_rows
        How many, at most as many as the reference has.
    exclude
        Columns that get a stand-in instead of a value.
    """
    inputs = bundle.reference().inputs
    rows: dict[str, list[Any]] = {}
    for index, column in enumerate(bundle.schema.inputs):
        if column.name in exclude:
            if column.role != "Passthrough":
                rows[column.name] = [stand_in(column)] * n_rows
        elif column.name in inputs:
            values = plain_values(inputs[column.name])
            rows[column.name] = [values[(index + row) % len(values)] for row in range(n_rows)]
    return rows


def stand_in(column: Column) -> Any:
    """Return a value that the schema allows and that says nothing about the data."""
    if column.allow_missing:
        return None
    if column.datatype == "BOOL":
        return False
    if column.datatype == "BYTES":
        if column.role == "EventTime":
            return "1970-01-01T00:00:00Z"
        return column.categories[0] if column.categories else "-"
    lowest = column.minimum if column.out_of_range == "Reject" and column.minimum is not None else 0.0
    return int(lowest) if column.datatype == "INT64" else lowest


def render_request(bundle: Bundle, rows: Mapping[str, list[Any]]) -> bytes:
    """Write columns as the body of a v2 inference request."""
    datatypes = {column.name: column.datatype for column in bundle.schema.inputs}
    inputs = [
        {"name": name, "datatype": datatypes[name], "shape": [len(values)], "data": values}
        for name, values in rows.items()
    ]
    return orjson.dumps({"inputs": inputs})
