"""What is wrong with each feature's values, counted, and what share of them may be. Pure."""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from perennial_api.modeldeployment.monitoring import DataQuality, Reaction
from perennial_bundle import Column

from perennial_observer.monitors.quality.chance import upper_share
from perennial_observer.store.references import StoredReference
from perennial_observer.store.rows import LoggedRow

__all__ = ["Count", "Kind", "count_features"]


class Kind(StrEnum):
    """What can be wrong; the value is the verdict's reason."""

    MISSING = "MissingValues"
    UNSEEN = "UnseenCategories"
    RANGE = "OutOfRange"
    TYPE = "WrongType"
    REJECTED = "RowsRejected"
    VOLUME = "LowVolume"


@dataclass(frozen=True)
class Count:
    """How often something is wrong.

    Parameters
    ----------
    feature
        Empty for what concerns whole rows.
    allowed, expected
        Shares: what the monitor allows, and what is to be expected beside it by the reference.
    """

    feature: str
    kind: Kind
    count: int
    of: int
    allowed: float
    expected: float = 0.0


def count_features(
    rows: Sequence[LoggedRow], reference: StoredReference, exclude: Collection[str], spec: DataQuality
) -> list[Count]:
    """Count, feature by feature, all that the monitor looks for; also what isn't wrong at all."""
    counts: list[Count] = []
    for column in reference.schema.features:
        if column.name not in exclude:
            values = [row.inputs.get(column.name) for row in rows]
            counts += _count_values(column, values, reference.columns.get(column.name, ()), spec)
    return counts


def _count_values(
    column: Column, values: Sequence[Any], reference: Sequence[Any], spec: DataQuality
) -> Iterator[Count]:
    missing = values.count(None)
    own = upper_share(reference.count(None), len(reference))
    yield Count(column.name, Kind.MISSING, missing, len(values), spec.max_missing, own)
    known = [value for value in values if value is not None]
    fitting = _choose_fitting(column.datatype, known)
    yield Count(column.name, Kind.TYPE, len(known) - len(fitting), len(values), spec.max_invalid)
    seen = [value for value in reference if value is not None]
    if column.datatype == "BYTES":
        if spec.unseen_categories is Reaction.ALERT:
            yield from _count_unseen(column, fitting, seen, spec.max_odd)
    elif column.datatype != "BOOL" and spec.range is Reaction.ALERT:
        yield from _count_outside(column, fitting, seen, spec.max_odd)


def _choose_fitting(datatype: str, values: Sequence[Any]) -> Sequence[Any]:
    """Keep the values of the datatype. Nearly always the types that occur tell that all are, at a tenth of the cost."""
    kinds = set(map(type, values))
    if datatype == "BYTES" and kinds <= {str}:
        return values
    if datatype in {"FP32", "FP64"} and kinds <= {int, float} and all(map(math.isfinite, values)):
        return values
    return [value for value in values if _fits(datatype, value)]


def _fits(datatype: str, value: Any) -> bool:
    """Whether a value is one of the datatype's; true and 1 are the same, as servers may log either."""
    if datatype == "BYTES":
        return isinstance(value, str)
    if not isinstance(value, bool | int | float) or not math.isfinite(value):
        return False
    if datatype == "BOOL":
        return value in (0, 1)
    return datatype != "INT64" or float(value).is_integer()


def _count_unseen(
    column: Column, values: Sequence[str], seen: Sequence[str], allowed: float
) -> Iterator[Count]:
    """Count the categories that neither the schema nor the reference has.

    A sample alone doesn't hold every category. By Good and Turing the share of those that it lacks is about the share of
    its values that occur once.
    """
    if column.categories is None and not seen:
        return
    lacking = 0.0
    if column.categories is None:
        lacking = sum(times == 1 for times in Counter(seen).values()) / len(seen)
    known = frozenset(seen) | (column.category_set or frozenset())
    unseen = sum(value not in known for value in values)
    yield Count(column.name, Kind.UNSEEN, unseen, len(values), allowed, lacking)


def _count_outside(
    column: Column, values: Sequence[float], seen: Sequence[float], allowed: float
) -> Iterator[Count]:
    """Count the numbers outside of the schema's range, else the reference's.

    A new value is below the smallest, or above the largest, of m others with probability 1 / (m + 1).
    """
    lowest, highest, expected = column.minimum, column.maximum, 0.0
    numbers = _choose_fitting(column.datatype, seen) if lowest is None or highest is None else ()
    if lowest is None and numbers:
        lowest, expected = min(numbers), 1.0 / (len(numbers) + 1)
    if highest is None and numbers:
        highest, expected = max(numbers), expected + 1.0 / (len(numbers) + 1)
    if lowest is None and highest is None:
        return
    # A single-precision column's bounds were rounded to it, so its values must be too.
    dtype = np.float32 if column.datatype == "FP32" else np.float64
    array = np.array(values, dtype=dtype)
    below = array < dtype(-math.inf if lowest is None else lowest)
    above = array > dtype(math.inf if highest is None else highest)
    yield Count(column.name, Kind.RANGE, int(np.sum(below | above)), len(values), allowed, expected)
