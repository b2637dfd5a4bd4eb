"""Values of a column into arrays, at the speed of C where all of them are what they usually are.

Nothing here says what is wrong. Where anything is unusual, `LookCloser` is raised, and `columns.examine` reads the
values again one by one: it names the first that is at fault, or finds that they only looked odd.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from perennial_bundle.policies import INT64_MAX

MAX_BYTES_LENGTH = 65_536
_TWO_TO_63 = float(2**63)
_MAX_ITEM_BYTES = 8
_NUMBER_KINDS = "iuf"
_FLOATS = frozenset({float, type(None)})
_INTEGERS = frozenset({int, type(None)})
_STRINGS = frozenset({str, type(None)})
_NUMBERS = frozenset({int, float, type(None)})

Mask = npt.NDArray[np.bool_]


class LookCloser(Exception):
    """Some value is unusual, or is to be refused."""


def is_plain_numbers(values: Any, dimensions: int) -> TypeGuard[npt.NDArray[Any]]:
    """Tell whether values are an array of real numbers that all fit into 64 bits.

    A subclass of an array is looked at closer, since its mask or unit would be lost.
    """
    return (
        type(values) is np.ndarray
        and values.ndim == dimensions
        and values.dtype.kind in _NUMBER_KINDS
        and values.dtype.itemsize <= _MAX_ITEM_BYTES
        and not (values.dtype == np.uint64 and bool((values > INT64_MAX).any()))
    )


def as_list(values: Sequence[Any] | npt.NDArray[Any]) -> list[Any]:
    """Return the values as Python has them."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    return values if type(values) is list else list(values)


def read_floats(values: Sequence[Any] | npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Read numbers: array (n,), NaN where one is missing. Infinities are left for the caller to find."""
    if is_plain_numbers(values, 1):
        return values
    plain = as_list(values)
    types = set(map(type, plain))
    if types <= _FLOATS:
        return np.array(plain, dtype=np.float64)
    if not types <= _NUMBERS:
        raise LookCloser
    try:
        array = np.array(plain, dtype=np.float64)
    except OverflowError:
        raise LookCloser from None
    if (np.abs(array) >= _TWO_TO_63).any():
        raise LookCloser
    return array


def read_integers(
    values: Sequence[Any] | npt.NDArray[Any],
) -> tuple[npt.NDArray[np.int64], Mask | None]:
    """Read whole numbers: int64 array (n,), and where they are missing (zero stands there) or None."""
    if is_plain_numbers(values, 1):
        return whole_numbers(values)
    plain = as_list(values)
    types = set(map(type, plain))
    if types <= _INTEGERS:
        missing = None
        if len(types) > 1 or None in plain[:1]:
            missing = np.fromiter((value is None for value in plain), np.bool_, len(plain))
            plain = [0 if value is None else value for value in plain]
        try:
            return np.array(plain, dtype=np.int64), missing
        except OverflowError:
            raise LookCloser from None
    if types <= _FLOATS:
        return whole_numbers(np.array(plain, dtype=np.float64))
    raise LookCloser


def whole_numbers(array: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], Mask | None]:
    """Turn numbers of any shape into int64, as `read_integers` does."""
    if array.dtype.kind != "f":
        return array.astype(np.int64), None
    array = array.astype(np.float64, copy=False)
    missing = np.isnan(array)
    has_missing = bool(missing.any())
    if has_missing:
        array = np.where(missing, 0.0, array)
    # Infinities equal their own floor: it is their size that gives them away.
    if not (array == np.floor(array)).all() or not (np.abs(array) < _TWO_TO_63).all():
        raise LookCloser
    return array.astype(np.int64), missing if has_missing else None


def read_bools(values: Sequence[Any] | npt.NDArray[Any]) -> tuple[npt.NDArray[np.bool_], Mask | None]:
    """Read booleans: array (n,), and where they are missing (False stands there) or None."""
    plain = as_list(values)
    types = set(map(type, plain))
    if types == {bool}:
        return np.array(plain, dtype=np.bool_), None
    if not types <= {bool, type(None)}:
        raise LookCloser
    missing = np.fromiter((value is None for value in plain), np.bool_, len(plain))
    return np.array([value is True for value in plain], dtype=np.bool_), missing


def read_strings(values: Sequence[Any] | npt.NDArray[Any]) -> tuple[list[Any], Mask | None]:
    """Read strings: a new list of n, and where they are missing (None stands there) or None."""
    plain = as_list(values)
    types = set(map(type, plain))
    if not types <= _STRINGS:
        raise LookCloser
    if type(None) not in types:
        if max(map(len, plain)) > MAX_BYTES_LENGTH:
            raise LookCloser
        return list(plain), None
    if any(value is not None and len(value) > MAX_BYTES_LENGTH for value in plain):
        raise LookCloser
    return list(plain), np.fromiter((value is None for value in plain), np.bool_, len(plain))
