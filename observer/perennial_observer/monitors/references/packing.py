"""A reference's columns in little memory: numbers as arrays, equal texts once. What is read back is what was put in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from perennial_observer.store.references import StoredReference

__all__ = ["PackedNumbers", "pack_column", "pack_columns", "pack_reference"]

# Beyond it not every whole number is a float.
LARGEST_WHOLE = 2**53


class PackedNumbers(Sequence[Any]):
    """Numbers and None, read as the Python objects that they were.

    Parameters
    ----------
    numbers
        float64 (n,), anything where a value is None.
    is_none, is_whole
        bool (n,): which are None, and which were whole numbers and no floats. None where no value is.
    """

    __slots__ = ("_is_none", "_is_whole", "_numbers")

    def __init__(
        self,
        numbers: npt.NDArray[np.float64],
        is_none: npt.NDArray[np.bool_] | None,
        is_whole: npt.NDArray[np.bool_] | None,
    ) -> None:
        self._numbers = numbers
        self._is_none = is_none
        self._is_whole = is_whole

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._unpack())

    @overload
    def __getitem__(self, place: int) -> Any: ...

    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...

    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return self._unpack()[place]
        if self._is_none is not None and self._is_none[place]:
            return None
        number = float(self._numbers[place])
        return int(number) if self._is_whole is not None and self._is_whole[place] else number

    def __eq__(self, other: object) -> bool:
        return list(other) == self._unpack() if isinstance(other, list | PackedNumbers) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as a list's

    def to_floats(self) -> npt.NDArray[np.float64]:
        """Return a copy as float64 (n,), NaN for None."""
        return (
            self._numbers.copy() if self._is_none is None else np.where(self._is_none, np.nan, self._numbers)
        )

    def count(self, value: Any) -> int:
        """Count equal values."""
        if value is None:
            return 0 if self._is_none is None else int(self._is_none.sum())
        return self._unpack().count(value)

    def _unpack(self) -> list[Any]:
        values: list[Any] = self._numbers.tolist()
        if self._is_whole is not None:
            for place in np.flatnonzero(self._is_whole).tolist():
                values[place] = int(values[place])
        if self._is_none is not None:
            for place in np.flatnonzero(self._is_none).tolist():
                values[place] = None
        return values


def pack_reference(reference: StoredReference) -> StoredReference:
    """Pack all columns of a reference."""
    times, labels = reference.event_time, reference.labels
    return replace(
        reference,
        columns=pack_columns(reference.columns),
        outputs=pack_columns(reference.outputs),
        event_time=None if times is None else pack_column(times),
        labels=None if labels is None else pack_column(labels),
    )


def pack_columns(columns: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Pack columns by name."""
    return {name: pack_column(values) for name, values in columns.items()}


def pack_column(values: Sequence[Any]) -> Sequence[Any]:
    """Pack one column; what is neither number nor text stays as it is."""
    kinds = set(map(type, values))
    if kinds <= {float, int, type(None)} and kinds != {type(None)}:
        is_none = np.array([value is None for value in values]) if type(None) in kinds else None
        is_whole = np.array([type(value) is int for value in values]) if int in kinds else None
        if is_whole is None or all(abs(v) <= LARGEST_WHOLE for v in values if type(v) is int):
            numbers = np.array([0.0 if value is None else value for value in values], dtype=np.float64)
            return PackedNumbers(numbers, is_none, is_whole)
    if kinds <= {str, type(None)}:
        texts: dict[Any, Any] = {}
        return [texts.setdefault(value, value) for value in values]
    return values
