"""Tensors of the Open Inference Protocol v2, and the rows of a model's schema that they make.

JSON, the binary extension and gRPC all come through here, so that one request means the same on every road. Where all
features are numbers of one datatype the rows are a matrix, however the client has sent them: such rows need no detour
over columns and all of them can be batched together.
"""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from perennial_bundle import Column, Schema
from perennial_bundle.rows import Rows, Values

from perennial_server.errors import RequestError
from perennial_server.protocol.datatypes import (
    ACCEPTED,
    DATATYPES,
    INTEGERS,
    MAX_DIMENSIONS,
    MAX_SIZE,
    MAX_TENSORS,
    NUMBERS,
)
from perennial_server.protocol.raw import decode_raw, encode_raw
from perennial_server.protocol.values import check_integers, convert, to_numbers

__all__ = ["DATATYPES", "Tensor", "build_rows", "decode_raw", "encode_raw"]

Array = npt.NDArray[Any]

# Lists of at least so many numbers become arrays at once: as objects they weigh four times as much in the log's queue.
ARRAY_FROM = 256


class Tensor(NamedTuple):
    """One input of a request; a tuple, since a request of many columns makes many of them.

    Parameters
    ----------
    values
        Flat, row by row: a list as JSON gives it (None is a missing value), or an array of the datatype's dtype.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: list[Any] | Array


def build_rows(tensors: Sequence[Tensor], schema: Schema, *, max_rows: int) -> Rows:
    """Make rows of a request's tensors.

    There is one tensor of shape (n,) or (n, 1) for each column, or, where all features have one datatype other than
    BYTES, one tensor of shape (n, n_features) under a name that isn't a column's; event time and passthrough columns
    may stand beside it. Values are left for `Schema.check`, but for what a tensor's own datatype forbids.

    Raises
    ------
    RequestError
        Status 400, naming the tensor.
    """
    if not 0 < len(tensors) <= MAX_TENSORS:
        raise RequestError(400, f"inputs: has {len(tensors)} tensors; send 1 to {MAX_TENSORS}")
    first = tensors[0]
    n = _count_rows(first, max_rows)
    by_name = schema.by_name
    columns: dict[str, Values] = {}
    whole: Tensor | None = None
    for tensor in tensors:
        _check_shape(tensor, n, first.name)
        column = by_name.get(tensor.name)
        if column is None:
            if whole is not None:
                raise RequestError(400, f"{tensor.name}: all features are given twice, in {whole.name} too")
            whole = tensor
        elif tensor.name in columns:
            raise RequestError(400, f"{tensor.name}: is given twice in inputs")
        else:
            columns[tensor.name] = _read_column(tensor, column)
    if whole is None:
        return _stack(n, columns, schema)
    features = _read_matrix(whole, schema)
    if columns and (twice := [name for name in schema.feature_names if name in columns]):
        raise RequestError(400, f"{twice[0]}: is given twice in inputs, in {whole.name} too")
    if isinstance(features, np.ndarray):
        return Rows(n, columns, features)
    return Rows(n, {**features, **columns})


def _count_rows(tensor: Tensor, max_rows: int) -> int:
    if not tensor.shape:
        raise RequestError(400, f"{tensor.name}: has no shape; it has to be [n] or [n, 1]")
    n = tensor.shape[0]
    if n > max_rows:
        raise RequestError(400, f"{tensor.name}: has {n} rows; at most {max_rows} are allowed at once")
    if n < 1:
        raise RequestError(400, f"{tensor.name}: needs at least one row")
    return n


def _check_shape(tensor: Tensor, n: int, first: str) -> None:
    shape, count = tensor.shape, len(tensor.values)
    if len(shape) == 1:
        want = shape[0]
    elif len(shape) > MAX_DIMENSIONS or any(not 0 <= size <= MAX_SIZE for size in shape):
        raise RequestError(
            400,
            f"{tensor.name}: has shape {list(shape)[:8]}; at most {MAX_DIMENSIONS} sizes from 0 to {MAX_SIZE}",
        )
    else:
        want = math.prod(shape)
    if not shape or shape[0] != n:
        raise RequestError(400, f"{tensor.name}: has shape {list(shape)}; {first} has {n} rows")
    if count != want:
        raise RequestError(400, f"{tensor.name}: data has {count} values; shape {list(shape)} says {want}")


def _check_datatype(tensor: Tensor, want: str) -> None:
    if tensor.datatype not in ACCEPTED[want]:
        raise RequestError(400, f"{tensor.name}: has datatype {tensor.datatype[:64]}; the model wants {want}")


def _read_column(tensor: Tensor, column: Column) -> Values:
    if len(tensor.shape) > 1 and tensor.shape[1:] != (1,):
        raise RequestError(400, f"{tensor.name}: has shape {list(tensor.shape)}; it has to be [n] or [n, 1]")
    if tensor.datatype != column.datatype:
        _check_datatype(tensor, column.datatype)
    values = tensor.values
    if isinstance(values, np.ndarray):
        return convert(tensor.name, values, column.datatype)
    if tensor.datatype in INTEGERS:
        check_integers(tensor.name, tensor.datatype, values)
    if len(values) >= ARRAY_FROM and column.datatype in NUMBERS:
        array = to_numbers(values, column.datatype)
        return values if array is None else array
    return values


def _read_matrix(tensor: Tensor, schema: Schema) -> Array | dict[str, Values]:
    """Read a tensor of all features: a matrix of numbers, or columns where it holds no plain numbers."""
    names, want = schema.feature_names, schema.feature_datatype
    if len(tensor.shape) != 2 or want is None or want == "BYTES":  # noqa: PLR2004
        raise RequestError(
            400, f"{tensor.name}: isn't an input; the inputs are {', '.join(schema.by_name)[:1000]}"
        )
    width = tensor.shape[1]
    if width != len(names):
        raise RequestError(
            400,
            f"{tensor.name}: has shape {list(tensor.shape)}; the model has {len(names)} features: [n, {len(names)}]",
        )
    _check_datatype(tensor, want)
    values = tensor.values
    if isinstance(values, np.ndarray):
        array: Array | None = convert(tensor.name, values, want)
    else:
        if tensor.datatype in INTEGERS:
            check_integers(tensor.name, tensor.datatype, values)
        array = to_numbers(values, want) if want in NUMBERS else None
    if array is not None and want in NUMBERS:
        return array.reshape(-1, width)
    return {name: values[i::width] for i, name in enumerate(names)}


def _stack(n: int, columns: dict[str, Values], schema: Schema) -> Rows:
    """Bring the columns of all features into one matrix, if they are plain numbers of one datatype."""
    datatype = schema.feature_datatype
    if datatype not in NUMBERS:
        return Rows(n, columns)
    names = schema.feature_names
    try:
        parts = [columns[name] for name in names]
    except KeyError:
        # `Schema.check` names the one that is missing.
        return Rows(n, columns)
    matrix: Array | None = None
    kinds = set(map(type, parts))
    if kinds == {list}:
        matrix = to_numbers(list(chain.from_iterable(parts)), datatype)
        if matrix is not None:
            matrix = matrix.reshape(len(parts), n).T
    elif kinds == {np.ndarray}:
        matrix = np.stack(parts, axis=1)
    if matrix is None:
        return Rows(n, columns)
    if len(parts) == len(columns):
        return Rows(n, {}, matrix)
    rest = {name: values for name, values in columns.items() if schema.by_name[name].role != "Feature"}
    return Rows(n, rest, matrix)
