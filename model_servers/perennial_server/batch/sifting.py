"""Which rows fit the schema, and why the others don't. Pure.

`Schema.check` takes all rows or names the first fault. So rows are halved until the fault is alone: nearly free where
all is well, and a logarithm of the rows for each one that isn't.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from perennial_bundle import Checked, InvalidInput, Rows, Schema

# Which row it is says the reject itself; alone, every row is the first.
_ROW = re.compile(r"^row 0 ")


@dataclass(frozen=True)
class Reject:
    """A row that doesn't fit: its place, and what the schema says of it."""

    row: int
    column: str
    reason: str
    message: str


@dataclass(frozen=True)
class Sifted:
    """Rows that fit (places, the rows, what the schema made of them; None if there are none), and the rest."""

    fitting: tuple[int, ...]
    rows: Rows
    checked: Checked | None
    rejects: tuple[Reject, ...]


def sift(schema: Schema, rows: Rows) -> Sifted:
    """Part the rows that fit from those that don't."""
    if not rows.n:
        return Sifted((), rows, None, ())
    try:
        return Sifted(tuple(range(rows.n)), rows, schema.check(rows), ())
    except InvalidInput:
        rejects: list[Reject] = []
        _find(schema, rows, 0, rejects)
    bad = {reject.row for reject in rejects}
    fitting = tuple(row for row in range(rows.n) if row not in bad)
    left = take(rows, fitting)
    return Sifted(fitting, left, schema.check(left) if fitting else None, tuple(rejects))


def _find(schema: Schema, rows: Rows, start: int, rejects: list[Reject]) -> None:
    """Add the rows that don't fit to `rejects`."""
    try:
        schema.check(rows)
    except InvalidInput as error:
        if rows.n == 1:
            rejects.append(Reject(start, error.field, error.reason, _ROW.sub("", error.message)))
            return
        middle = rows.n // 2
        _find(schema, rows.cut(0, middle), start, rejects)
        _find(schema, rows.cut(middle, rows.n), start + middle, rejects)


def take(rows: Rows, places: Sequence[int]) -> Rows:
    """Return some rows."""

    def pick(values: Any) -> Any:
        if isinstance(values, np.ndarray):
            return values[list(places)]
        return [values[place] for place in places]

    return Rows(len(places), {name: pick(values) for name, values in rows.columns.items()})
