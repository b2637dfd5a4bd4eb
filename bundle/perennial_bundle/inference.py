"""The schema, read off the data and the model.

Whether a column tolerates missing values and unknown categories isn't guessed: the model is given one. What the author
says about a column (`policies.Policy`) goes before what is read off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd

from perennial_bundle.errors import InvalidBundle
from perennial_bundle.policies import (
    MAX_CATEGORY_LENGTH,
    NUMERIC,
    ImputeValue,
    Policies,
    Policy,
    apply_policy,
)
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


class Predicting(Protocol):
    """What can be asked for a prediction, as scikit-learn's models can."""

    def predict(self, features: pd.DataFrame, /) -> Any:
        """Predict rows that hold the features only."""


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
    values: pd.Series[Any], *, role: Literal["Feature", "EventTime", "Passthrough"], policy: Policy
) -> Column:
    """Describe one input column.

    What `policy` leaves open about missing values and unknown categories is settled by `probe_tolerance`.
    """
    name = str(values.name)
    datatype = infer_datatype(values)
    categorical = isinstance(values.dtype, pd.CategoricalDtype)
    if categorical and datatype != "BYTES":
        raise InvalidBundle(f"column {name!r} is a categorical of {datatype}; make its categories strings")
    if role == "Feature" and pd.api.types.is_datetime64_any_dtype(values.dtype):
        raise InvalidBundle(f"column {name!r} is a time; turn it into numbers, or pass event_time={name!r}")
    minimum = maximum = None
    if datatype in NUMERIC:
        finite = values.dropna().to_numpy(dtype=np.float64)
        finite = finite[np.isfinite(finite)]
        if finite.size:
            minimum, maximum = float(finite.min()), float(finite.max())
    categories = _categories(values) if datatype == "BYTES" and role == "Feature" else None
    if categorical and categories is None:
        raise InvalidBundle(f"column {name!r} is a categorical of more than {MAX_CATEGORIES} categories")
    has_missing = bool(values.isna().any())
    column = Column(
        name=name,
        datatype=datatype,
        role=role,
        minimum=minimum,
        maximum=maximum,
        categories=categories,
        missing="Pass" if role == "Passthrough" or (role == "Feature" and has_missing) else "Reject",
        missing_seen=has_missing,
        impute_value=infer_impute_value(datatype, values) if role == "Feature" else None,
        categorical=categorical,
    )
    return apply_policy(column, policy)


def infer_impute_value(datatype: Datatype, values: pd.Series[Any]) -> ImputeValue | None:
    """Choose what stands for a missing value: the median of numbers, the most frequent string or boolean.

    The median of an even number of values is the lower of the two in the middle, so that it is a value that occurred.
    None where there is nothing to choose from.

    Examples
    --------
    >>> infer_impute_value("INT64", pd.Series([7, 1, 3, 2]))
    2
    >>> infer_impute_value("BYTES", pd.Series(["b", "a", "b", None]))
    'b'
    """
    present = values.dropna()
    if datatype in NUMERIC:
        array = present.to_numpy(dtype=np.int64 if datatype == "INT64" else np.float64)
        array = np.sort(array[np.isfinite(array)])
        return array[(len(array) - 1) // 2].item() if array.size else None
    plain = [bool(value) if datatype == "BOOL" else str(value) for value in present]
    counts = Counter(value for value in plain if isinstance(value, bool) or len(value) <= MAX_CATEGORY_LENGTH)
    # Ties are broken by the value, so that the same data always give the same bundle.
    return min(counts, key=lambda value: (-counts[value], value), default=None)


def _categories(values: pd.Series[Any]) -> tuple[str, ...] | None:
    if isinstance(values.dtype, pd.CategoricalDtype):
        found = [str(category) for category in values.dtype.categories]
    else:
        found = sorted(str(value) for value in values.dropna().unique())
    if len(found) > MAX_CATEGORIES or any(len(category) > MAX_CATEGORY_LENGTH for category in found):
        return None
    return tuple(found)


def infer_inputs(
    frame: pd.DataFrame,
    *,
    features: Collection[str],
    event_time: str | None,
    passthrough: Collection[str],
    policies: Policies,
) -> tuple[Column, ...]:
    """Describe all input columns: features in the model's order, then event time, then passthrough."""
    order = [*features, *([event_time] if event_time is not None else []), *passthrough]
    return tuple(
        infer_column(
            frame[name],
            role="EventTime" if name == event_time else "Passthrough" if name in passthrough else "Feature",
            policy=policies.get(name, {}),
        )
        for name in order
    )


def join_policies(
    policies: Policies, *, enforce_ranges: Collection[str], reject_unknown: Collection[str]
) -> dict[str, Policy]:
    """Add what is said in short to what is said in full, which counts where both say something."""
    joined: dict[str, Policy] = {}
    for name in (*policies, *enforce_ranges, *reject_unknown):
        short: Policy = {}
        if name in enforce_ranges:
            short["out_of_range"] = "Reject"
        if name in reject_unknown:
            short["unknown_category"] = "Reject"
        joined[name] = short | policies.get(name, {})
    return joined


def probe_tolerance(
    model: Predicting, schema: Schema, rows: Mapping[str, Sequence[Any]], policies: Policies
) -> Schema:
    """Find out which columns tolerate a missing value and an unknown category, by giving the model one.

    Parameters
    ----------
    model
        The fitted model.
    schema
        The schema so far.
    rows
        A few valid rows, as columns.
    policies
        What the author has decided: a value that is to pass has to be one that the model takes, and all else isn't
        asked.

    Raises
    ------
    InvalidBundle
        The model can't take what is to pass.
    """
    settled = {column.name: column for column in schema.inputs}
    undecided = [
        c.name for c in schema.features if not c.allow_missing and "missing" not in policies.get(c.name, {})
    ]
    tolerant = undecided
    if undecided and not _survives(model, schema, rows, undecided, None):
        tolerant = [name for name in undecided if _survives(model, schema, rows, [name], None)]
    for name in tolerant:
        settled[name] = settled[name].changed(missing="Pass")
    for column in schema.features:
        is_open = column.categories is not None and "unknown_category" not in policies.get(column.name, {})
        if is_open and not _survives(model, schema, rows, [column.name], UNSEEN_CATEGORY):
            settled[column.name] = settled[column.name].changed(unknown_category="Reject")
    check_passing(model, schema, rows, policies)
    return Schema(inputs=tuple(settled.values()), outputs=schema.outputs)


def check_passing(
    model: Predicting, schema: Schema, rows: Mapping[str, Sequence[Any]], policies: Policies
) -> None:
    """Refuse policies that let a value through which the model can't take.

    Raises
    ------
    InvalidBundle
        Naming the column.
    """
    for column in schema.features:
        policy = policies.get(column.name, {})
        if policy.get("missing") == "Pass" and not _survives(model, schema, rows, [column.name], None):
            raise InvalidBundle(
                f"the model can't take a missing value in {column.name!r}; let missing be Reject or Impute"
            )
        passes = column.datatype == "BYTES" and policy.get("unknown_category") == "Pass"
        if passes and not _survives(model, schema, rows, [column.name], UNSEEN_CATEGORY):
            raise InvalidBundle(
                f"the model can't take an unknown category in {column.name!r}; "
                "let unknown_category be Reject or Impute"
            )


def _survives(
    model: Predicting, schema: Schema, rows: Mapping[str, Sequence[Any]], names: list[str], value: str | None
) -> bool:
    """Tell whether the model answers where the first row has `value` in the named columns."""
    changed = {name: [value, *values[1:]] if name in names else values for name, values in rows.items()}
    lenient = tuple(
        c.changed(missing="Pass", unknown_category="Pass") if c.name in names else c for c in schema.inputs
    )
    frame = Schema(inputs=lenient, outputs=schema.outputs).validate(changed)
    try:
        predicted = np.asarray(model.predict(frame.loc[:, list(schema.feature_names)]))
    except Exception:  # noqa: BLE001  whatever a model raises here means that it doesn't tolerate the value
        return False
    return not (predicted.dtype.kind == "f" and bool(np.isnan(predicted).any()))
