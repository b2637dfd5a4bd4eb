"""Which rows belong to a slice, by its condition: of a window, and of the reference that it is compared with. Pure."""

import hashlib
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt
from perennial_api.modeldeployment.monitoring import Monitor, Monitoring
from perennial_api.where import (
    All,
    AnyOf,
    Comparison,
    Condition,
    Constant,
    IsIn,
    IsMissing,
    Not,
    Operator,
    columns_of,
    parse_where,
)
from perennial_bundle import Schema

from perennial_observer.errors import ObserverError
from perennial_observer.store.references import StoredReference
from perennial_observer.store.rows import LoggedRow

__all__ = [
    "UnknownFeature",
    "check_columns",
    "choose_rows",
    "find_condition",
    "find_conditions",
    "slice_reference",
    "slice_rows",
]

Row = Mapping[str, Any]
Columns = Mapping[str, Sequence[Any]]


class UnknownFeature(ObserverError):
    """A condition or a monitor names a column that no logged row can have; the user edits it."""


_CALLS: Mapping[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQUAL: operator.eq,
    Operator.UNEQUAL: operator.ne,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
}


def choose_rows(condition: Condition, rows: Sequence[Row]) -> npt.NDArray[np.bool_]:
    """Tell which rows fulfil a condition, bool (n,).

    A comparison with a missing value, or of a number with a text, is false, and so is its opposite spelled ``!=``: a
    row belongs to a slice by what is known of it.
    """
    return np.fromiter((_holds(condition, row) for row in rows), dtype=np.bool_, count=len(rows))


def find_condition(monitoring: Monitoring, monitor: Monitor) -> Condition | None:
    """Read the condition of the monitor's slice; None if it looks at all rows."""
    if monitor.slice is None:
        return None
    where = next(found.where for found in monitoring.slices if found.name == monitor.slice)
    return parse_where(where)


def find_conditions(monitoring: Monitoring, monitor: Monitor) -> dict[str, Condition]:
    """Read the conditions of the slices that the monitor compares with each other, by name."""
    if monitor.fairness is None:
        return {}
    named = set(monitor.fairness.slices)
    return {found.name: parse_where(found.where) for found in monitoring.slices if found.name in named}


def check_columns(condition: Condition, schema: Schema, exclude: Collection[str] = ()) -> None:
    """Refuse a condition that could never hold because its column isn't logged.

    Parameters
    ----------
    exclude
        Columns that the logger leaves out.

    Raises
    ------
    UnknownFeature
        Naming them.
    """
    columns = columns_of(condition)
    unknown = sorted(columns - set(schema.by_name))
    if unknown:
        raise UnknownFeature(
            f"the slice's condition names {', '.join(unknown)}, which the model's schema doesn't have: correct where"
        )
    hidden = sorted(columns & set(exclude))
    if hidden:
        raise UnknownFeature(
            f"the slice's condition names {', '.join(hidden)}, which logger.exclude keeps out of the log: remove it there"
        )


def slice_rows(condition: Condition | None, rows: Sequence[LoggedRow]) -> Sequence[LoggedRow]:
    """Keep a window's rows that fulfil a condition on their inputs; all without one."""
    if condition is None:
        return rows
    return list(compress(rows, choose_rows(condition, [row.inputs for row in rows])))


def slice_reference(condition: Condition | None, reference: StoredReference) -> StoredReference:
    """Keep the reference's rows that belong to the slice; its digest becomes one of its own."""
    if condition is None:
        return reference
    chosen = _choose(condition, reference.columns)
    times, labels = reference.event_time, reference.labels
    return replace(
        reference,
        digest=hashlib.sha256(f"{reference.digest}/{condition!r}".encode()).hexdigest(),
        columns=_keep(chosen, reference.columns),
        outputs=_keep(chosen, reference.outputs),
        event_time=None if times is None else list(compress(times, chosen)),
        labels=None if labels is None else list(compress(labels, chosen)),
    )


def _choose(condition: Condition, columns: Columns) -> npt.NDArray[np.bool_]:
    n = len(next(iter(columns.values()), ()))
    names = [name for name in columns_of(condition) if name in columns]
    rows: list[Row] = [{} for _ in range(n)]
    if names:
        values = zip(*(columns[name] for name in names), strict=True)
        rows = [dict(zip(names, row, strict=True)) for row in values]
    return choose_rows(condition, rows)


def _keep(chosen: npt.NDArray[np.bool_], columns: Columns) -> dict[str, list[Any]]:
    return {name: list(compress(values, chosen)) for name, values in columns.items()}


def _holds(condition: Condition, row: Row) -> bool:
    match condition:
        case All(parts):
            return all(_holds(part, row) for part in parts)
        case AnyOf(parts):
            return any(_holds(part, row) for part in parts)
        case Not(part):
            return not _holds(part, row)
        case IsMissing(column):
            return row.get(column) is None
        case IsIn(column, choices):
            value = row.get(column)
            return any(_comparable(value, choice) and value == choice for choice in choices)
        case Comparison(column, sign, constant):
            value = row.get(column)
            return _comparable(value, constant) and _CALLS[sign](value, constant)


def _comparable(value: Any, constant: Constant) -> bool:
    if value is None:
        return False
    return isinstance(value, str) == isinstance(constant, str)
