"""Rows into the JSON that an image understands, and its answer into outputs. Pure.

R has no single values: its `[0.5]` where others say `0.5`, and `[[0], [1]]` where they say `[0, 1]`, are read as such.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd
from perennial_bundle import Column, Outputs
from perennial_bundle.scoring import select_features

from perennial_server.adapting.declaration import Declaration

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
MAX_SHOWN = 100


class AnswerMismatch(ValueError):
    """The model's answer isn't what its adapter declares."""


def write_request(declaration: Declaration, frame: pd.DataFrame) -> bytes:
    """Write the features of checked rows; what is missing is null."""
    features = select_features(declaration.columns, frame)
    columns = {str(name): values.tolist() for name, values in features.items()}
    form = declaration.request
    payload: Any = columns
    if form.shape == "Rows":
        payload = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    elif form.shape == "Matrix":
        payload = list(zip(*columns.values(), strict=True))
    return orjson.dumps(payload if form.field is None else {form.field: payload})


def read_answer(declaration: Declaration, body: bytes, n_rows: int) -> Outputs:
    """Read the outputs of `n_rows` rows.

    Raises
    ------
    AnswerMismatch
        Saying where the answer isn't as declared.
    """
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise AnswerMismatch(f"the answer isn't JSON: {error}; it begins with {body[:MAX_SHOWN]!r}") from None
    form = declaration.response
    if form.field is not None:
        if not isinstance(answer, dict) or form.field not in answer:
            raise AnswerMismatch(f"the answer has no field {form.field!r} (response.field): {_show(answer)}")
        answer = answer[form.field]
    take = _TAKERS[form.shape]
    return {
        column.name: _convert(column, _flatten(column, take(answer, column, n_rows), n_rows))
        for column in declaration.columns.outputs
    }


def _take_column(answer: Any, column: Column, _: int) -> Any:
    if not isinstance(answer, dict) or column.name not in answer:
        raise AnswerMismatch(
            f"the answer has no column {column.name!r} (response.shape Columns): {_show(answer)}"
        )
    return answer[column.name]


def _take_rows(answer: Any, column: Column, _: int) -> Any:
    rows = [answer] if isinstance(answer, dict) else answer
    if not isinstance(rows, list) or not all(isinstance(row, dict) and column.name in row for row in rows):
        raise AnswerMismatch(
            f"the answer isn't a list of objects with {column.name!r} (response.shape Rows): {_show(answer)}"
        )
    return [row[column.name] for row in rows]


def _take_list(answer: Any, _: Column, __: int) -> Any:
    return answer


_TAKERS: dict[str, Callable[[Any, Column, int], Any]] = {
    "Columns": _take_column,
    "Rows": _take_rows,
    "List": _take_list,
}


def _flatten(column: Column, values: Any, n_rows: int) -> list[Any]:
    """Bring an output's values into a list of one for each row."""
    if not isinstance(values, list):
        if n_rows > 1 or isinstance(values, dict):
            raise AnswerMismatch(f"{column.name} isn't a list of {n_rows} values: {_show(values)}")
        values = [values]
    if len(values) != n_rows:
        raise AnswerMismatch(f"{column.name} has {len(values)} values for {n_rows} rows")
    return [value[0] if isinstance(value, list) and len(value) == 1 else value for value in values]


def _convert(column: Column, values: Sequence[Any]) -> npt.NDArray[Any]:
    dtype, is_one = _KINDS[column.datatype]
    for row, value in enumerate(values):
        if not is_one(value):
            raise AnswerMismatch(f"{column.name} is {column.datatype}, and row {row} has {_show(value)}")
    return np.array(values, dtype=dtype)


def _is_number(value: Any) -> bool:
    return type(value) in {int, float}


def _is_whole(value: Any) -> bool:
    return _is_number(value) and INT64_MIN <= value <= INT64_MAX and float(value).is_integer()


_KINDS: dict[str, tuple[npt.DTypeLike, Callable[[Any], bool]]] = {
    "BOOL": (np.bool_, lambda value: type(value) is bool),
    "INT64": (np.int64, _is_whole),
    "FP32": (np.float32, _is_number),
    "FP64": (np.float64, _is_number),
    "BYTES": (np.object_, lambda value: type(value) is str),
}


def _show(value: Any) -> str:
    text = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
