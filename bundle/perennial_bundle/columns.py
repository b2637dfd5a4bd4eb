"""Values of one column: checked against the schema and turned into the dtype that the model was fitted on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from perennial_bundle.errors import InvalidInput

if TYPE_CHECKING:
    from perennial_bundle.schema import Column

MAX_BYTES_LENGTH = 65_536
_SHOWN_CHARACTERS = 60
_INT64_MIN = -(2**63)
_INT64_MAX = 2**63 - 1


def event_time_seconds(values: Sequence[Any]) -> npt.NDArray[np.float64]:
    """Seconds since 1970 of event times: numbers as they are, strings as ISO 8601 (UTC if without an offset).

    Raises
    ------
    ValueError
        Where a value is neither.
    """
    return np.fromiter((_seconds(value) for value in values), dtype=np.float64, count=len(values))


def _seconds(value: Any) -> float:
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    seconds = float(value)
    if not math.isfinite(seconds):
        raise ValueError("an event time has to be finite")
    return seconds


def build_series(column: Column, values: Sequence[Any]) -> pd.Series[Any]:
    """Build the model's view of one column (dtypes: see `Schema.validate`).

    Raises
    ------
    InvalidInput
        Naming the column.
    """
    plain = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if column.datatype == "BYTES":
        result = _build_strings(column, plain)
    elif column.datatype == "BOOL":
        result = _build_bools(column, plain)
    else:
        result = _build_numbers(column, plain)
    if column.role == "EventTime":
        _check_event_time(column, plain)
    return result


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _missing(column: Column, index: int) -> InvalidInput:
    return InvalidInput(column.name, "MissingValue", f"row {index} is null, which this column doesn't allow")


def _wrong_type(column: Column, index: int, value: Any) -> InvalidInput:
    return InvalidInput(
        column.name, "WrongType", f"row {index} is {_show(value)}, which isn't {column.datatype}"
    )


def _show(value: Any) -> str:
    """Name a value in a message, without repeating a megabyte of it."""
    if isinstance(value, str) and len(value) > _SHOWN_CHARACTERS:
        return f"a string of {len(value)} characters"
    if isinstance(value, bool | float | str | None) or (type(value) is int and value.bit_length() <= 64):  # noqa: PLR2004
        return repr(value)
    return f"a {type(value).__name__}"


def _build_numbers(column: Column, values: list[Any]) -> pd.Series[Any]:
    has_missing = False
    for index, value in enumerate(values):
        if _is_missing(value):
            if not column.allow_missing:
                raise _missing(column, index)
            has_missing = True
        else:
            _check_number(column, index, value)
    dtype: npt.DTypeLike = np.float32 if column.datatype == "FP32" else np.float64
    if column.datatype == "INT64" and not has_missing:
        dtype = np.int64
    if has_missing:
        values = [math.nan if _is_missing(value) else value for value in values]
    with np.errstate(over="ignore"):
        array = np.array(values, dtype=dtype)
    if dtype == np.float32 and np.isinf(array).any():
        raise InvalidInput(
            column.name, "NotFinite", f"row {int(np.isinf(array).argmax())} doesn't fit into FP32"
        )
    _check_range(column, array)
    return pd.Series(array, copy=False)


def _check_number(column: Column, index: int, value: Any) -> None:
    if type(value) not in {int, float}:
        raise _wrong_type(column, index, value)
    if isinstance(value, float):
        if math.isinf(value):
            raise InvalidInput(column.name, "NotFinite", f"row {index} is infinite")
        if column.datatype != "INT64":
            return
        # Clients that know no integers send 3.0.
        if not value.is_integer():
            raise _wrong_type(column, index, value)
    if not _INT64_MIN <= value <= _INT64_MAX:
        raise InvalidInput(column.name, "OutOfRange", f"row {index} doesn't fit into 64 bits")


def _check_range(column: Column, array: npt.NDArray[Any]) -> None:
    if column.out_of_range != "Reject":
        return
    for bad, word, limit in (
        (array < column.minimum if column.minimum is not None else None, "below the minimum", column.minimum),
        (array > column.maximum if column.maximum is not None else None, "above the maximum", column.maximum),
    ):
        if bad is not None and bad.any():
            raise InvalidInput(column.name, "OutOfRange", f"row {int(bad.argmax())} is {word} of {limit:g}")


def _build_bools(column: Column, values: list[Any]) -> pd.Series[Any]:
    has_missing = False
    for index, value in enumerate(values):
        if type(value) is bool:
            continue
        if not _is_missing(value):
            raise _wrong_type(column, index, value)
        if not column.allow_missing:
            raise _missing(column, index)
        has_missing = True
    if has_missing:
        return pd.Series([math.nan if _is_missing(value) else value for value in values], dtype=object)
    return pd.Series(np.array(values, dtype=bool), copy=False)


def _build_strings(column: Column, values: list[Any]) -> pd.Series[Any]:
    known = column.category_set if column.unknown_category == "Reject" else None
    has_missing = False
    for index, value in enumerate(values):
        if type(value) is str:
            if len(value) > MAX_BYTES_LENGTH:
                raise InvalidInput(
                    column.name, "TooLong", f"row {index} has more than {MAX_BYTES_LENGTH} characters"
                )
            if known is not None and value not in known:
                raise InvalidInput(
                    column.name,
                    "UnknownCategory",
                    f"row {index} is {_show(value)}, which the model doesn't know",
                )
        elif _is_missing(value):
            if not column.allow_missing:
                raise _missing(column, index)
            has_missing = True
        else:
            raise _wrong_type(column, index, value)
    if has_missing:
        values = [math.nan if _is_missing(value) else value for value in values]
    if column.categorical:
        codes = pd.Index(column.categories or (), dtype=object).get_indexer(pd.Index(values, dtype=object))
        dtype = pd.CategoricalDtype(list(column.categories or ()))
        return pd.Series(pd.Categorical.from_codes(codes, dtype=dtype))
    return pd.Series(values, dtype=object)


def _check_event_time(column: Column, values: list[Any]) -> None:
    for index, value in enumerate(values):
        if _is_missing(value):
            continue
        try:
            _seconds(value)
        except (ValueError, OverflowError):
            raise InvalidInput(
                column.name,
                "WrongType",
                f"row {index} is {_show(value)}, which isn't an ISO 8601 time or seconds since 1970",
            ) from None
