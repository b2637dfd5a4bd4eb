"""Values of one column, looked at one by one: slower than `reading`, and able to say which value is at fault."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from perennial_bundle.errors import InvalidInput
from perennial_bundle.policies import INT64_MAX, INT64_MIN
from perennial_bundle.reading import MAX_BYTES_LENGTH, as_list

if TYPE_CHECKING:
    from perennial_bundle.rows import Values
    from perennial_bundle.schema import Column

_SHOWN_CHARACTERS = 60
# FP32 is compared after it was rounded, as the model gets it.
_RANGE_DTYPES: dict[str, npt.DTypeLike] = {"INT64": np.int64, "FP32": np.float64, "FP64": np.float64}


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


def examine(column: Column, values: Values) -> list[Any]:
    """Look at the values of one column one by one, which `reading` does only where some value is unusual.

    Returns
    -------
    list
        The values as they are usually given: None where one is missing, whole floats of an INT64 as integers,
        integers of an FP32 or FP64 as floats.

    Raises
    ------
    InvalidInput
        Naming the column and the first row at fault.
    """
    plain = as_list(values)
    if column.datatype == "BYTES":
        result = _examine_strings(column, plain)
    elif column.datatype == "BOOL":
        result = _examine_bools(column, plain)
    else:
        result = _examine_numbers(column, plain)
    check_event_time(column, result)
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


def _examine_numbers(column: Column, values: list[Any]) -> list[Any]:
    plain: list[Any] = []
    convert = int if column.datatype == "INT64" else float
    for index, value in enumerate(values):
        if _is_missing(value):
            if column.missing == "Reject":
                raise _missing(column, index)
            plain.append(None)
        else:
            _check_number(column, index, value)
            plain.append(convert(value))
    present = [(index, value) for index, value in enumerate(plain) if value is not None]
    array = np.array([value for _, value in present], dtype=_RANGE_DTYPES[column.datatype])
    with np.errstate(over="ignore"):
        array = array.astype(np.float32) if column.datatype == "FP32" else array
    if np.isinf(array).any():
        raise InvalidInput(
            column.name, "NotFinite", f"row {present[int(np.isinf(array).argmax())][0]} doesn't fit into FP32"
        )
    _check_range(column, array, [index for index, _ in present])
    return plain


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
    if not INT64_MIN <= value <= INT64_MAX:
        raise InvalidInput(column.name, "OutOfRange", f"row {index} doesn't fit into 64 bits")


def _check_range(column: Column, array: npt.NDArray[Any], rows: list[int]) -> None:
    if column.out_of_range != "Reject":
        return
    for bad, word, limit in (
        (array < column.minimum if column.minimum is not None else None, "below the minimum", column.minimum),
        (array > column.maximum if column.maximum is not None else None, "above the maximum", column.maximum),
    ):
        if bad is not None and bad.any():
            raise InvalidInput(
                column.name, "OutOfRange", f"row {rows[int(bad.argmax())]} is {word} of {limit:g}"
            )


def _examine_bools(column: Column, values: list[Any]) -> list[Any]:
    plain: list[Any] = []
    for index, value in enumerate(values):
        if type(value) is bool:
            plain.append(value)
        elif not _is_missing(value):
            raise _wrong_type(column, index, value)
        elif column.missing == "Reject":
            raise _missing(column, index)
        else:
            plain.append(None)
    return plain


def _examine_strings(column: Column, values: list[Any]) -> list[Any]:
    known = column.category_set if column.unknown_category == "Reject" else None
    plain: list[Any] = []
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
            plain.append(value)
        elif not _is_missing(value):
            raise _wrong_type(column, index, value)
        elif column.missing == "Reject":
            raise _missing(column, index)
        else:
            plain.append(None)
    return plain


def check_event_time(column: Column, values: Values) -> None:
    """Refuse strings of an EventTime that aren't times; any number is one.

    Raises
    ------
    InvalidInput
        Naming the column and the first row at fault.
    """
    if column.role != "EventTime" or column.datatype != "BYTES":
        return
    for index, value in enumerate(values):
        if value is None:
            continue
        try:
            _seconds(value)
        except (ValueError, OverflowError):
            raise InvalidInput(
                column.name,
                "WrongType",
                f"row {index} is {_show(value)}, which isn't an ISO 8601 time or seconds since 1970",
            ) from None
