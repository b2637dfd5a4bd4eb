"""Rows on their way into a model, and what the schema noticed about them.

A server batches rows of many requests: `Rows` are cheap to join and to cut, and nothing of them is checked before
`Schema.check`, so that one check serves a whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

Values = Sequence[Any] | npt.NDArray[Any]
FlagKind = Literal["Missing", "OutOfRange", "UnknownCategory"]
FlagAction = Literal["Imputed", "Passed"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows by column, or with all features in one matrix.

    Parameters
    ----------
    n
        How many rows.
    columns
        Name to n values: a list as JSON gives them (None is a missing value) or a one-dimensional array.
    matrix
        Numbers (n, n_features), the features in the schema's order; then `columns` holds none of them.
    """

    n: int
    columns: Mapping[str, Values] = field(default_factory=dict)
    matrix: npt.NDArray[Any] | None = None

    def layout(self) -> tuple[Any, ...]:
        """What two `Rows` must share to be joined: their columns, and the matrix's dtype and width."""
        matrix = None if self.matrix is None else (self.matrix.dtype, self.matrix.shape[1])
        return (matrix, *sorted(self.columns))

    def cut(self, start: int, stop: int) -> Rows:
        """Return rows from `start` up to `stop`."""
        return Rows(
            n=stop - start,
            columns={name: values[start:stop] for name, values in self.columns.items()},
            matrix=None if self.matrix is None else self.matrix[start:stop],
        )


def join(parts: Sequence[Rows], *, order: Literal["C", "F"] = "C") -> Rows:
    """Join rows of one layout, in order.

    Parameters
    ----------
    parts
        At least one.
    order
        Of the joined matrix in memory: by rows (C), or by columns (F), for who takes it apart into columns. A single
        part stays as it is.

    Examples
    --------
    >>> join([Rows(1, {"x": [1.0]}), Rows(2, {"x": [2.0, None]})]).columns["x"]
    [1.0, 2.0, None]
    """
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Values] = {}
    for name in parts[0].columns:
        values = [part.columns[name] for part in parts]
        if all(isinstance(some, np.ndarray) for some in values):
            columns[name] = np.concatenate(values)
        else:
            columns[name] = [value for some in values for value in _plain(some)]
    matrices = [part.matrix for part in parts if part.matrix is not None]
    matrix = _join_matrices(matrices, order) if matrices else None
    return Rows(sum(part.n for part in parts), columns, matrix)


def _join_matrices(matrices: Sequence[npt.NDArray[Any]], order: Literal["C", "F"]) -> npt.NDArray[Any]:
    n = sum(len(matrix) for matrix in matrices)
    joined = np.empty((n, matrices[0].shape[1]), matrices[0].dtype, order=order)
    return np.concatenate(matrices, out=joined)


def _plain(values: Values) -> Sequence[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else values


@dataclass(frozen=True, slots=True)
class Flag:
    """A value that isn't as the model knows it, and that was let through all the same, as the schema says."""

    row: int
    column: str
    kind: FlagKind
    action: FlagAction


@dataclass(frozen=True, slots=True)
class Checked:
    """Rows that fit the schema.

    Parameters
    ----------
    frame
        What `Bundle.predict` takes; dtypes as `Schema.check` says.
    flags
        In the order of the schema's columns, then of the rows.
    """

    frame: pd.DataFrame
    flags: tuple[Flag, ...] = ()

    @property
    def imputed_rows(self) -> frozenset[int]:
        """Rows of which the model is given other values than were sent."""
        return frozenset(flag.row for flag in self.flags if flag.action == "Imputed")
