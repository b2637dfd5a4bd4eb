"""A bundle's schema for people: as a table, and as the changes that they type."""

import json
import re
from collections.abc import Sequence
from typing import Any

from perennial_bundle.errors import InvalidBundle
from perennial_bundle.policies import POLICY_FIELDS, Policy
from perennial_bundle.schema import Column, Schema

_CHANGE = re.compile(rf"(?P<name>.+)\.(?P<field>{'|'.join(POLICY_FIELDS)})=(?P<value>.*)", re.DOTALL)
_HEADS = ("input", "datatype", "role", "missing", "out_of_range", "unknown_category", "impute_value", "known")
_MAX_KNOWN_CHARACTERS = 40


def read_changes(texts: Sequence[str], schema: Schema) -> dict[str, Policy]:
    """Read changes such as ``age.missing=Impute``; a value is JSON, or else a string.

    Raises
    ------
    InvalidBundle
        One of them has another form.
    """
    changes: dict[str, Any] = {}
    for text in texts:
        match = _CHANGE.fullmatch(text)
        if match is None:
            raise InvalidBundle(
                f"{text!r} isn't COLUMN.FIELD=VALUE; the fields are {', '.join(POLICY_FIELDS)}"
            )
        name, field, value = match["name"], match["field"], match["value"]
        column = schema.by_name.get(name)
        is_text = field == "impute_value" and column is not None and column.datatype == "BYTES"
        changes.setdefault(name, {})[field] = value if is_text else _read_value(value)
    return changes


def _read_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def render_schema(schema: Schema) -> str:
    """Write the inputs as a table, one line each."""
    rows = [_HEADS, *(_render(column) for column in schema.inputs)]
    widths = [max(len(row[j]) for row in rows) for j in range(len(_HEADS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _render(column: Column) -> tuple[str, ...]:
    has_range = column.minimum is not None or column.maximum is not None
    return (
        column.name,
        column.datatype,
        column.role,
        column.missing,
        column.out_of_range if has_range else "-",
        column.unknown_category if column.categories is not None else "-",
        "-" if column.impute_value is None else str(column.impute_value),
        _render_known(column),
    )


def _render_known(column: Column) -> str:
    """What the data given to `save` held: categories, or the range."""
    if column.categories is not None:
        text = ", ".join(column.categories)
        if len(text) <= _MAX_KNOWN_CHARACTERS:
            return text or "-"
        return f"{len(column.categories)} categories"
    if column.minimum is None and column.maximum is None:
        return "-"
    low = "" if column.minimum is None else f"{column.minimum:g}"
    high = "" if column.maximum is None else f"{column.maximum:g}"
    return f"{low} to {high}".strip()
