"""Rows against a schema: the fast way where they are as they should be, the exact way where they aren't."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from perennial_bundle.columns import check_event_time, examine
from perennial_bundle.errors import InvalidInput
from perennial_bundle.frames import Block, build_frame
from perennial_bundle.groups import Group, Notes, build_groups
from perennial_bundle.reading import LookCloser, is_plain_numbers
from perennial_bundle.rows import Checked, Flag, Rows, Values

if TYPE_CHECKING:
    from perennial_bundle.schema import Column

_MAX_LAYOUTS = 64
_MATRIX_DIMENSIONS = 2
_MAX_NAMED = 20


@dataclass(frozen=True)
class Layout:
    """The columns of one request, grouped.

    Parameters
    ----------
    columns
        In the schema's order.
    names
        Of `columns`.
    groups
        All of them.
    matrix_columns
        For each group of features, its columns' places in a matrix of all features; None: all, in order.
    """

    columns: tuple[Column, ...]
    names: pd.Index[Any]
    groups: tuple[Group, ...]
    matrix_columns: Mapping[Group, npt.NDArray[np.intp] | None]


class Checker:
    """Checks rows against the inputs of a schema; see `Schema.check`."""

    def __init__(self, inputs: Sequence[Column]) -> None:
        self._inputs = tuple(inputs)
        self._names = {column.name: column for column in inputs}
        self._features = {c.name: j for j, c in enumerate(c for c in inputs if c.role == "Feature")}
        self._required = {c.name for c in inputs if c.role != "Passthrough"}
        self._passthrough = [c.name for c in inputs if c.role == "Passthrough"]
        self._event_time = next((c for c in inputs if c.role == "EventTime"), None)
        self._layout = lru_cache(maxsize=_MAX_LAYOUTS)(self._build_layout)

    def check(self, rows: Rows) -> Checked:
        """Check rows and build the frame."""
        layout = self._choose_layout(rows)
        self._check_lengths(rows, layout)
        try:
            return self._read(layout, rows)
        except LookCloser:
            return self._read(layout, self._examine(layout, rows))

    def check_columns(self, columns: Mapping[str, Values]) -> Checked:
        """Check rows given as columns, however many the first of them has."""
        first = next((name for name in self._names if name in columns), None)
        return self.check(Rows(0 if first is None else _length(columns[first], first), columns))

    def _build_layout(self, passthrough: tuple[str, ...]) -> Layout:
        columns = tuple(c for c in self._inputs if c.role != "Passthrough" or c.name in passthrough)
        names = [column.name for column in columns]
        groups = build_groups(columns, {name: j for j, name in enumerate(names)})
        matrix_columns: dict[Group, npt.NDArray[np.intp] | None] = {}
        for group in groups:
            if group.columns[0].role == "Feature":
                places = [self._features[column.name] for column in group.columns]
                is_all = len(places) == len(self._features)
                matrix_columns[group] = None if is_all else np.array(places, dtype=np.intp)
        return Layout(columns, pd.Index(names), groups, matrix_columns)

    def _choose_layout(self, rows: Rows) -> Layout:
        columns, matrix = rows.columns, rows.matrix
        if not columns.keys() <= self._names.keys():
            name = next(name for name in columns if name not in self._names)
            some = ", ".join([*self._names][:_MAX_NAMED])
            more = f" and {len(self._names) - _MAX_NAMED} more" if len(self._names) > _MAX_NAMED else ""
            raise InvalidInput(
                str(name)[:256], "UnknownColumn", f"isn't an input; the inputs are {some}{more}"
            )
        required = self._required
        if matrix is not None:
            self._check_matrix(rows, matrix)
            required = required - self._features.keys()
        if not columns.keys() >= required:
            column = next(c for c in self._inputs if c.name in required and c.name not in columns)
            raise InvalidInput(column.name, "MissingColumn", f"is required ({column.datatype})")
        return self._layout(tuple(name for name in self._passthrough if name in columns))

    def _check_matrix(self, rows: Rows, matrix: npt.NDArray[Any]) -> None:
        first = next(iter(self._features))
        if np.ndim(matrix) != _MATRIX_DIMENSIONS or matrix.shape[1] != len(self._features):
            raise InvalidInput(
                first,
                "LengthMismatch",
                f"starts a matrix of shape {list(np.shape(matrix))}; {len(self._features)} columns are needed",
            )
        if twice := self._features.keys() & rows.columns.keys():
            raise InvalidInput(min(twice), "GivenTwice", "is given by itself and in the matrix")

    def _check_lengths(self, rows: Rows, layout: Layout) -> None:
        """Refuse columns of unequal length; the first column's is the one that counts."""
        try:
            lengths = set(map(len, rows.columns.values()))
        except TypeError:
            lengths = set()
        if rows.matrix is not None:
            lengths.add(len(rows.matrix))
        if lengths == {rows.n} and rows.n:
            return
        matrix_rows = 0 if rows.matrix is None else len(rows.matrix)
        found = [
            (c.name, _length(rows.columns[c.name], c.name) if c.name in rows.columns else matrix_rows)
            for c in layout.columns
        ]
        first_name, first = found[0]
        for name, length in found:
            if length != first:
                raise InvalidInput(
                    name, "LengthMismatch", f"has {length} values where the others have {first}"
                )
        if not first:
            raise InvalidInput(first_name, "EmptyInput", "needs at least one row")
        raise InvalidInput(
            first_name, "LengthMismatch", f"has {first} values where {rows.n} rows were announced"
        )

    def _read(self, layout: Layout, rows: Rows) -> Checked:
        columns, matrix, notes = rows.columns, rows.matrix, Notes()
        if matrix is not None and not is_plain_numbers(matrix, _MATRIX_DIMENSIONS):
            raise LookCloser
        blocks: list[Block] = []
        for group in layout.groups:
            if matrix is not None and group in layout.matrix_columns:
                places = layout.matrix_columns[group]
                blocks += group.read_matrix(matrix if places is None else matrix[:, places], notes)
            else:
                blocks += group.read([columns[column.name] for column in group.columns], notes)
        if self._event_time is not None:
            _check_times(self._event_time, columns[self._event_time.name])
        frame = build_frame(blocks, layout.names, rows.n)
        if not notes.found:
            return Checked(frame)
        names = [column.name for column in layout.columns]
        return Checked(
            frame, tuple(Flag(row, names[j], kind, action) for j, row, kind, action in sorted(notes.found))
        )

    def _examine(self, layout: Layout, rows: Rows) -> Rows:
        """Look at all values one by one, in the schema's order; what is returned is read without a doubt."""
        columns: dict[str, Values] = dict(rows.columns)
        if rows.matrix is not None:
            columns.update(zip(self._features, rows.matrix.T, strict=True))
        return Rows(rows.n, {c.name: examine(c, columns[c.name]) for c in layout.columns})


def _check_times(column: Column, values: Values) -> None:
    try:
        check_event_time(column, values)
    except InvalidInput:
        # Another column before it may be at fault, too, and is then named first.
        raise LookCloser from None


def _length(values: Values, name: str) -> int:
    try:
        return len(values)
    except TypeError:
        raise InvalidInput(name, "WrongType", "isn't a list of values") from None
