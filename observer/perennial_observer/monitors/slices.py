"""Which rows belong to a slice, by its condition. Pure."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from perennial_api.where import All, AnyOf, Comparison, Condition, Constant, IsIn, IsMissing, Not, Operator

__all__ = ["choose_rows"]

Row = Mapping[str, Any]

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
