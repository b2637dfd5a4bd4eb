"""Labelled rows as one Parquet file, in order of event time, a few thousand in memory at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from perennial_bundle import Schema

from perennial_observer.store.log import find_deployment_id
from perennial_observer.store.reads import LabelledRow, distinct_labels, iterate_labelled
from perennial_observer.store.references import read_latest_reference
from perennial_observer.store.rows import DeploymentKey
from perennial_observer.store.store import Store

__all__ = ["write_export"]

# Classes are few; more different labels than this are numbers or free text, whose type the first ones tell.
LABELS_LOOKED_AT = 10_000

_ARROW = {
    "BOOL": pa.bool_(),
    "INT64": pa.int64(),
    "FP32": pa.float32(),
    "FP64": pa.float64(),
    "BYTES": pa.string(),
}


def write_export(store: Store, key: DeploymentKey, path: Path, *, since: float, until: float) -> int:
    """Write rows with event time in [since, until) to `path`; return how many.

    The columns are ``prediction_id``, ``row``, ``event_time`` (float64 seconds), ``revision``, ``label``, then the
    inputs of the latest reference's schema; a column that a row lacks is null.
    """
    with store.read() as connection:
        deployment_id = find_deployment_id(connection, key.uid)
        reference = read_latest_reference(connection, key.uid)
        samples: list[str] = []
        if deployment_id is not None:
            samples = distinct_labels(connection, deployment_id, since, until, LABELS_LOOKED_AT)
        schema = _build_schema(
            reference.schema if reference else None, [orjson.loads(text) for text in samples]
        )
        rows = 0
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            if deployment_id is not None:
                for part in iterate_labelled(connection, deployment_id, since, until):
                    writer.write_batch(_build_batch(part, schema))
                    rows += len(part)
    return rows


def _build_schema(schema: Schema | None, labels: Sequence[Any]) -> pa.Schema:
    fields = [
        pa.field("prediction_id", pa.string()),
        pa.field("row", pa.int64()),
        pa.field("event_time", pa.float64()),
        pa.field("revision", pa.string()),
        pa.field("label", _label_type(labels)),
    ]
    taken = {field.name for field in fields}
    columns = schema.inputs if schema is not None else ()
    fields += [pa.field(c.name, _ARROW[c.datatype]) for c in columns if c.name not in taken]
    return pa.schema(fields)


def _label_type(labels: Sequence[Any]) -> pa.DataType:
    """Narrowest type that holds every label: labels of one truth may be spelled 1, 1.0 and true."""
    if any(isinstance(label, str) for label in labels):
        return pa.string()
    if labels and all(isinstance(label, bool) for label in labels):
        return pa.bool_()
    if labels and all(isinstance(label, bool | int) for label in labels):
        return pa.int64()
    return pa.float64()


def _build_batch(rows: Sequence[LabelledRow], schema: pa.Schema) -> pa.RecordBatch:
    label_type = schema.field("label").type
    arrays = [
        pa.array([row.prediction_id for row in rows], pa.string()),
        pa.array([row.row for row in rows], pa.int64()),
        pa.array([row.event_time for row in rows], pa.float64()),
        pa.array([row.revision for row in rows], pa.string()),
        pa.array([_convert(orjson.loads(row.label), label_type) for row in rows], label_type),
    ]
    inputs = [orjson.loads(row.inputs) for row in rows]
    arrays += [
        pa.array([_convert(item.get(field.name), field.type) for item in inputs], field.type)
        for field in list(schema)[len(arrays) :]
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _convert(value: Any, kind: pa.DataType) -> Any:
    """Fit a JSON value into a column; what doesn't fit (a row logged before its schema was known) is null."""
    if value is None:
        return None
    if pa.types.is_string(kind):
        return value if isinstance(value, str) else orjson.dumps(value).decode()
    if not isinstance(value, bool | int | float):
        return None
    if pa.types.is_boolean(kind):
        return bool(value)
    if pa.types.is_integer(kind):
        return int(value) if float(value).is_integer() else None
    return float(value)
