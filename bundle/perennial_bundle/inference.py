"""The schema, read off the data and the model.

Whether a column tolerates missing values and unknown categories isn't guessed: the model is given one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

from perennial_bundle.errors import InvalidBundle
from perennial_bundle.schema import MAX_CATEGORIES, Column, Datatype, Schema

UNSEEN_CATEGORY = "perennial: a category never seen"
PROBE_ROWS = 8
_INFERRED: Mapping[str, Datatype] = {
    "boolean": "BOOL",
    "integer": "INT64",
    "floating": "FP64",
    "mixed-integer-float": "FP64",
    "string": "BYTES",
    "empty": "BYTES",
}


def infer_datatype(values: pd.Series[Any]) -> Datatype:
    """Name the protocol's datatype of a column's values.

    Raises
    ------
    InvalidBundle
        The column mixes types, or holds a type that a request can't carry.
    """
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return infer_datatype(pd.Series(dtype.categories))
    if pd.api.types.is_bool_dtype(dtype):
        return "BOOL"
    if pd.api.types.is_integer_dtype(dtype):
        return "INT64"
    if pd.api.types.is_float_dtype(dtype):
        return "FP64" if getattr(dtype, "itemsize", 8) > 4 else "FP32"  # noqa: PLR2004
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return "BYTES"
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind not in _INFERRED:
        raise InvalidBundle(
            f"column {values.name!r} holds {kind} values; make it numbers, booleans or strings before fitting"
        )
    return _INFERRED[kind]


def infer_column(
    values: pd.Series[Any],
    *,
    role: Literal["Feature", "EventTime", "Passthrough"],
    enforce_range: bool,
    reject_unknown: bool,
) -> Column:
    """Describe one input column; missing values and unknown categories are settled by `probe_tolerance`."""
    name = str(values.name)
    datatype = infer_datatype(values)
    categorical = isinstance(values.dtype, pd.CategoricalDtype)
    if categorical and datatype != "BYTES":
        raise InvalidBundle(f"column {name!r} is a categorical of {datatype}; make its categories strings")
    if role == "Feature" and pd.api.types.is_datetime64_any_dtype(values.dtype):
        raise InvalidBundle(f"column {name!r} is a time; turn it into numbers, or pass event_time={name!r}")
    minimum = maximum = None
    if datatype in {"INT64", "FP32", "FP64"}:
        finite = values.dropna().to_numpy(dtype=np.float64)
        finite = finite[np.isfinite(finite)]
        if finite.size:
            minimum, maximum = float(finite.min()), float(finite.max())
    categories = _categories(values) if datatype == "BYTES" and role == "Feature" else None
    if categorical and categories is None:
        raise InvalidBundle(f"column {name!r} is a categorical of more than {MAX_CATEGORIES} categories")
    has_missing = bool(values.isna().any())
    return Column(
        name=name,
        datatype=datatype,
        role=role,
        minimum=minimum,
        maximum=maximum,
        out_of_range="Reject" if enforce_range else "Pass",
        categories=categories,
        unknown_category="Reject" if reject_unknown else "Pass",
        missing="Pass" if role == "Passthrough" or (role == "Feature" and has_missing) else "Reject",
        missing_seen=has_missing,
        categorical=categorical,
    )


def _categories(values: pd.Series[Any]) -> tuple[str, ...] | None:
    if isinstance(values.dtype, pd.CategoricalDtype):
        found = [str(category) for category in values.dtype.categories]
    else:
        found = sorted(str(value) for value in values.dropna().unique())
    if len(found) > MAX_CATEGORIES or any(len(category) > 256 for category in found):  # noqa: PLR2004
        return None
    return tuple(found)


def infer_inputs(
    frame: pd.DataFrame,
    *,
    features: Collection[str],
    event_time: str | None,
    passthrough: Collection[str],
    enforce_ranges: Collection[str],
    reject_unknown: Collection[str],
) -> tuple[Column, ...]:
    """Describe all input columns: features in the model's order, then event time, then passthrough."""
    order = [*features, *([event_time] if event_time is not None else []), *passthrough]
    return tuple(
        infer_column(
            frame[name],
            role="EventTime" if name == event_time else "Passthrough" if name in passthrough else "Feature",
            enforce_range=name in enforce_ranges,
            reject_unknown=name in reject_unknown,
        )
        for name in order
    )


def probe_tolerance(model: Any, schema: Schema, rows: Mapping[str, list[Any]]) -> Schema:
    """Find out which columns tolerate a missing value and an unknown category, by giving the model one.

    Parameters
    ----------
    model
        The fitted model.
    schema
        The schema so far.
    rows
        A few valid rows, as columns.
    """
    settled: dict[str, Column] = {}
    missing = [c.name for c in schema.features if not c.allow_missing]
    if missing and _survives(model, schema, rows, missing, None):
        settled.update((n, schema.by_name[n].model_copy(update={"missing": "Pass"})) for n in missing)
    else:
        for name in missing:
            if _survives(model, schema, rows, [name], None):
                settled[name] = schema.by_name[name].model_copy(update={"missing": "Pass"})
    for column in schema.features:
        if column.datatype != "BYTES" or column.unknown_category == "Reject":
            continue
        if not _survives(model, schema, rows, [column.name], UNSEEN_CATEGORY):
            now = settled.get(column.name, column)
            settled[column.name] = now.model_copy(update={"unknown_category": "Reject"})
    return schema.model_copy(update={"inputs": tuple(settled.get(c.name, c) for c in schema.inputs)})


def _survives(
    model: Any, schema: Schema, rows: Mapping[str, list[Any]], names: list[str], value: str | None
) -> bool:
    changed = {name: [value, *values[1:]] if name in names else values for name, values in rows.items()}
    lenient = tuple(
        c.model_copy(update={"missing": "Pass", "unknown_category": "Pass", "out_of_range": "Pass"})
        for c in schema.inputs
    )
    frame = Schema(inputs=lenient, outputs=schema.outputs).validate(changed)
    try:
        predicted = np.asarray(model.predict(frame.loc[:, list(schema.feature_names)]))
    except Exception:  # noqa: BLE001  whatever a model raises here means that it doesn't tolerate the value
        return False
    return not (predicted.dtype.kind == "f" and bool(np.isnan(predicted).any()))
