"""Columns of one datatype, read together, with what their policies make of them.

A group reads its columns into one block, puts aside what the policies replace, notes what is to be flagged, and raises
`reading.LookCloser` where a policy refuses: which value is at fault is then found by `columns.examine`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from perennial_bundle.frames import Block
from perennial_bundle.policies import whole_bounds
from perennial_bundle.reading import (
    LookCloser,
    Mask,
    read_bools,
    read_floats,
    read_integers,
    read_strings,
    whole_numbers,
)
from perennial_bundle.rows import FlagAction, FlagKind, Values

if TYPE_CHECKING:
    from perennial_bundle.schema import Column

Matrix = npt.NDArray[Any]
Positions = npt.NDArray[np.intp]


class Notes:
    """What is to be flagged: the column's position, the row, what it is and what became of it."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: list[tuple[int, int, FlagKind, FlagAction]] = []

    def add(self, column: Column, position: int, rows: Sequence[int], kind: FlagKind, imputed: bool) -> None:
        """Note rows of a column, unless they are no news.

        Only features are flagged: the model sees nothing else. A missing value that passes is news only in a column
        that had none in the data given to `save`; there the model has met them, and they may well be most of the rows.
        Whatever is imputed is flagged, since the model isn't given what was sent.
        """
        if column.role != "Feature" or (kind == "Missing" and not imputed and column.missing_seen):
            return
        action: FlagAction = "Imputed" if imputed else "Passed"
        self.found += [(position, row, kind, action) for row in rows]


class Group(Protocol):
    """Columns that are read together."""

    columns: tuple[Column, ...]

    def read(self, values: Sequence[Values], notes: Notes) -> Sequence[Block]:
        """Read values given by column, in the order of `columns`."""

    def read_matrix(self, matrix: Matrix, notes: Notes) -> Sequence[Block]:
        """Read numbers (n, n_columns)."""


def build_groups(columns: Sequence[Column], positions: Mapping[str, int]) -> tuple[Group, ...]:
    """Group columns by their datatype, and features apart from others; `positions` are those in the frame."""
    together: dict[tuple[str, bool], list[Column]] = {}
    for column in columns:
        kind = "categorical" if column.categorical else column.datatype
        together.setdefault((kind, column.role == "Feature"), []).append(column)
    kinds: dict[str, Callable[[tuple[Column, ...], Positions], Group]] = {
        "FP64": Floats,
        "FP32": Floats,
        "INT64": Integers,
        "BOOL": Bools,
        "BYTES": Strings,
    }
    return tuple(
        kinds.get(kind, Categoricals)(tuple(some), np.array([positions[c.name] for c in some], dtype=np.intp))
        for (kind, _), some in together.items()
    )


def _rows(mask: Mask | np.bool_) -> list[int]:
    found: list[int] = np.flatnonzero(mask).tolist()
    return found


class _Numbers:
    """What floats and integers share: their bounds, one for each column."""

    def __init__(self, columns: tuple[Column, ...], positions: Positions) -> None:
        self.columns = columns
        self.positions = positions
        self.dtype = np.dtype(np.float32 if columns[0].datatype == "FP32" else np.float64)
        self.has_bounds = any(c.minimum is not None or c.maximum is not None for c in columns)
        with np.errstate(over="ignore"):
            self.lowest = np.array([-np.inf if c.minimum is None else c.minimum for c in columns], self.dtype)
            self.highest = np.array([np.inf if c.maximum is None else c.maximum for c in columns], self.dtype)

    def settle_range(self, block: Matrix, missing: Mask | None, notes: Notes) -> None:
        """Apply `out_of_range` to a block (n, n_columns), in place."""
        if not self.has_bounds:
            return
        outside = (block < self.lowest) | (block > self.highest)
        if missing is not None:
            outside &= ~missing
        if not outside.any():
            return
        for j in _rows(outside.any(axis=0)):
            column = self.columns[j]
            if column.out_of_range == "Reject":
                raise LookCloser
            imputed = column.out_of_range == "Impute"
            if imputed:
                where = outside[:, j]
                low, high = self.bounds(j)
                block[where, j] = np.where(block[where, j] < self.lowest[j], low, high)
            notes.add(column, int(self.positions[j]), _rows(outside[:, j]), "OutOfRange", imputed)

    def bounds(self, j: int) -> tuple[Any, Any]:
        """What takes the place of a value below and above."""
        return self.lowest[j], self.highest[j]


class Floats(_Numbers):
    """FP32 or FP64: a block of that dtype, NaN where a value is missing."""

    def read(self, values: Sequence[Values], notes: Notes) -> Sequence[Block]:
        """Read values given by column."""
        block = np.empty((len(values[0]), len(self.columns)), dtype=self.dtype)
        with np.errstate(over="ignore"):
            for j, some in enumerate(values):
                block[:, j] = read_floats(some)
        return self._settle(block, notes)

    def read_matrix(self, matrix: Matrix, notes: Notes) -> Sequence[Block]:
        """Read numbers (n, n_columns)."""
        # A copy in any case: the model may write into its frame, and what was sent is still to be logged.
        with np.errstate(over="ignore"):
            return self._settle(np.array(matrix, dtype=self.dtype, order="C"), notes)

    def _settle(self, block: Matrix, notes: Notes) -> Sequence[Block]:
        finite = np.isfinite(block)
        missing = None if finite.all() else np.isnan(block)
        # Infinite as it came, or too large for FP32.
        if missing is not None and not (finite | missing).all():
            raise LookCloser
        self.settle_range(block, None, notes)
        if missing is not None:
            for j in _rows(missing.any(axis=0)):
                column = self.columns[j]
                if column.missing == "Reject":
                    raise LookCloser
                imputed = column.missing == "Impute"
                if imputed:
                    block[missing[:, j], j] = column.impute_value
                notes.add(column, int(self.positions[j]), _rows(missing[:, j]), "Missing", imputed)
        return [Block(block.T, self.positions)]


class Integers(_Numbers):
    """INT64: a block of int64, and a float64 block of its own for each column that lets missing values through."""

    def bounds(self, j: int) -> tuple[Any, Any]:
        """Whole numbers: the nearest within the bounds."""
        return whole_bounds(self.columns[j])

    def read(self, values: Sequence[Values], notes: Notes) -> Sequence[Block]:
        """Read values given by column."""
        block = np.empty((len(values[0]), len(self.columns)), dtype=np.int64)
        missing: Mask | None = None
        for j, some in enumerate(values):
            block[:, j], gone = read_integers(some)
            if gone is not None:
                missing = np.zeros(block.shape, dtype=np.bool_) if missing is None else missing
                missing[:, j] = gone
        return self._settle(block, missing, notes)

    def read_matrix(self, matrix: Matrix, notes: Notes) -> Sequence[Block]:
        """Read numbers (n, n_columns)."""
        return self._settle(*whole_numbers(matrix), notes)

    def _settle(self, block: npt.NDArray[np.int64], missing: Mask | None, notes: Notes) -> Sequence[Block]:
        self.settle_range(block, missing, notes)
        if missing is None:
            return [Block(block.T, self.positions)]
        through: list[int] = []
        for j in _rows(missing.any(axis=0)):
            column = self.columns[j]
            if column.missing == "Reject":
                raise LookCloser
            imputed = column.missing == "Impute"
            if imputed:
                block[missing[:, j], j] = int(column.impute_value or 0)
            else:
                through.append(j)
            notes.add(column, int(self.positions[j]), _rows(missing[:, j]), "Missing", imputed)
        whole = [j for j in range(len(self.columns)) if j not in through]
        with_gaps = np.where(missing[:, through], np.nan, block[:, through])
        blocks = [(block[:, whole], whole), (with_gaps, through)]
        return [Block(part.T, self.positions[chosen]) for part, chosen in blocks if chosen]


class _Single:
    """What is read column by column."""

    def __init__(self, columns: tuple[Column, ...], positions: Positions) -> None:
        self.columns = columns
        self.positions = positions
        self.places = [positions[j : j + 1] for j in range(len(columns))]

    def read(self, values: Sequence[Values], notes: Notes) -> Sequence[Block]:
        """Read values given by column."""
        return [self.read_one(j, some, notes) for j, some in enumerate(values)]

    def read_matrix(self, matrix: Matrix, notes: Notes) -> Sequence[Block]:
        """Read numbers (n, n_columns), which can be right only where all are missing."""
        return self.read(list(matrix.T), notes)

    def read_one(self, j: int, values: Values, notes: Notes) -> Block:
        """Read one column."""
        raise NotImplementedError

    def settle_missing(self, j: int, missing: Mask | None, notes: Notes) -> bool:
        """Note what is missing, and tell whether it is imputed."""
        if missing is None:
            return False
        column = self.columns[j]
        if column.missing == "Reject":
            raise LookCloser
        imputed = column.missing == "Impute"
        notes.add(column, int(self.positions[j]), _rows(missing), "Missing", imputed)
        return imputed


class Bools(_Single):
    """BOOL: bool, or object with NaN where missing values are let through."""

    def read_one(self, j: int, values: Values, notes: Notes) -> Block:
        """Read one column."""
        array, missing = read_bools(values)
        if missing is None:
            return Block(array.reshape(1, -1), self.places[j])
        if self.settle_missing(j, missing, notes):
            array[missing] = self.columns[j].impute_value
            return Block(array.reshape(1, -1), self.places[j])
        gaps = array.astype(object)
        gaps[missing] = np.nan
        return Block(gaps.reshape(1, -1), self.places[j])


class Strings(_Single):
    """BYTES: object, NaN where a value is missing."""

    def read_one(self, j: int, values: Values, notes: Notes) -> Block:
        """Read one column."""
        plain = self.read_plain(j, values, notes)
        block = np.empty((1, len(plain)), dtype=object)
        block[0] = plain
        return Block(block, self.places[j])

    def read_plain(self, j: int, values: Values, notes: Notes) -> list[Any]:
        """Read one column as the model is to have it, NaN where a value is missing."""
        plain, missing = read_strings(values)
        column = self.columns[j]
        if column.category_set is not None:
            unknown = set(plain) - column.category_set
            unknown.discard(None)
            if unknown:
                self._settle_unknown(j, plain, unknown, notes)
        if missing is not None:
            gap = column.impute_value if self.settle_missing(j, missing, notes) else np.nan
            plain = [gap if value is None else value for value in plain]
        return plain

    def _settle_unknown(self, j: int, plain: list[Any], unknown: set[str], notes: Notes) -> None:
        column = self.columns[j]
        if column.unknown_category == "Reject":
            raise LookCloser
        rows = [row for row, value in enumerate(plain) if value in unknown]
        imputed = column.unknown_category == "Impute"
        if imputed:
            for row in rows:
                plain[row] = column.impute_value
        notes.add(column, int(self.positions[j]), rows, "UnknownCategory", imputed)


class Categoricals(Strings):
    """BYTES that the model was fitted on as a pandas categorical; what it doesn't know is missing to it."""

    def __init__(self, columns: tuple[Column, ...], positions: Positions) -> None:
        super().__init__(columns, positions)
        known = [column.categories or () for column in columns]
        self._codes = [{category: code for code, category in enumerate(some)} for some in known]
        self._dtypes = [pd.CategoricalDtype(list(some)) for some in known]

    def read_one(self, j: int, values: Values, notes: Notes) -> Block:
        """Read one column."""
        codes = self._codes[j]
        plain = self.read_plain(j, values, notes)
        found = np.fromiter((codes.get(value, -1) for value in plain), np.int32, len(plain))
        return Block(pd.Categorical.from_codes(found, dtype=self._dtypes[j], validate=False), self.places[j])
