"""Whether a mirrored answer says the same as the live one, and how far apart they are. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perennial_observer.monitors.labels.labelled import comparable

__all__ = ["PairResult", "compare_answers"]

# Two builds of one library differ in the last digits.
RELATIVE_TOLERANCE = 1e-6

Answer = Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True)
class PairResult:
    """What came of one pair.

    Parameters
    ----------
    agrees
        Every row has the same ``predict``.
    difference
        Mean absolute difference of the rows' numbers, in the output's unit; None where there are none.
    """

    agrees: bool
    difference: float | None


def compare_answers(shadow: Answer, live: Answer, *, is_regression: bool) -> PairResult | None:
    """Compare two answers to one request, row by row; None if no row is in both.

    Parameters
    ----------
    shadow, live
        Outputs by row number.
    is_regression
        ``predict`` is a number, equal within a millionth; otherwise a class, and ``probability`` is what differs.

    Examples
    --------
    >>> compare_answers({0: {"predict": 1}}, {0: {"predict": 1.0}}, is_regression=False)
    PairResult(agrees=True, difference=None)
    >>> compare_answers({0: {"predict": 2.5}}, {0: {"predict": 2.0}}, is_regression=True)
    PairResult(agrees=False, difference=0.5)
    """
    rows = sorted(shadow.keys() & live.keys())
    if not rows:
        return None
    name = "predict" if is_regression else "probability"
    found = [_difference(shadow[row].get(name), live[row].get(name)) for row in rows]
    numbers = [number for number in found if number is not None]
    agrees = all(
        _agree(shadow[row].get("predict"), live[row].get("predict"), is_regression=is_regression)
        for row in rows
    )
    return PairResult(agrees, sum(numbers) / len(numbers) if numbers else None)


def _agree(one: Any, other: Any, *, is_regression: bool) -> bool:
    if is_regression and _is_number(one) and _is_number(other):
        return math.isclose(one, other, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-12)
    return bool(comparable(one) == comparable(other))


def _difference(one: Any, other: Any) -> float | None:
    """Absolute difference of two numbers; of two vectors the mean over their places."""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        parts = [_difference(a, b) for a, b in zip(one, other, strict=True)]
        numbers = [part for part in parts if part is not None]
        return sum(numbers) / len(numbers) if numbers and len(numbers) == len(parts) else None
    if not (_is_number(one) and _is_number(other)):
        return None
    difference = abs(float(one) - float(other))
    return difference if math.isfinite(difference) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
