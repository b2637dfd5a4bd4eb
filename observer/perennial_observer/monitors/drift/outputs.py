"""What drift of predictions compares: the logged outputs, as columns. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perennial_bundle import Column

from perennial_observer.monitors.labels.labelled import comparable
from perennial_observer.store.references import StoredReference
from perennial_observer.store.rows import LoggedRow

__all__ = ["Outputs", "choose_outputs"]

# An output of many values, such as a vector, is as many columns; a verdict names no more.
MOST_VALUES = 32
# A class may be spelled as a number; more of them than this are compared as numbers.
MOST_CLASSES = 20


@dataclass(frozen=True)
class Outputs:
    """A reference's outputs as columns, and how to read a logged row in the same way.

    Parameters
    ----------
    columns
        What the encoder is built from; a class is a category whatever its type.
    values
        Of the reference, by column, all of one length.
    """

    columns: tuple[Column, ...]
    values: Mapping[str, Sequence[Any]]
    read: Callable[[LoggedRow], Mapping[str, Any]]


def choose_outputs(reference: StoredReference, only: str | None = None) -> Outputs | None:
    """Spread the reference's outputs over columns; None if it has none.

    Parameters
    ----------
    only
        The one output that counts; None for all that the model answers. What single members of an ensemble answer
        isn't the model's answer.
    """
    columns: list[Column] = []
    sources: dict[str, tuple[str, int | None]] = {}
    for column in reference.schema.outputs:
        values = reference.outputs.get(column.name)
        if values is None or column.role == "Member" or (only is not None and column.name != only):
            continue
        width = next((len(value) for value in values if isinstance(value, list)), None)
        for place in [None] if width is None else range(min(width, MOST_VALUES)):
            name = column.name if place is None else f"{column.name}[{place}]"
            sources[name] = (column.name, place)
            columns.append(Column(name=name, datatype=_datatype(column, values, reference.task)))
    if not columns:
        return None
    categories = {column.name for column in columns if column.datatype == "BYTES"}

    def spread(outputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            name: _read(outputs.get(source), place, is_category=name in categories)
            for name, (source, place) in sources.items()
        }

    answers = zip(*reference.outputs.values(), strict=True)
    rows = [spread(dict(zip(reference.outputs, answer, strict=True))) for answer in answers]
    found = {name: [row[name] for row in rows] for name in sources}
    return Outputs(tuple(columns), found, lambda row: spread(row.outputs))


def _datatype(column: Column, values: Sequence[Any], task: str) -> Any:
    if column.datatype in {"BYTES", "BOOL"}:
        return "BYTES"
    is_class = task == "Classification" and column.datatype.startswith(("INT", "UINT"))
    if is_class and len({value for value in values if isinstance(value, int | float)}) <= MOST_CLASSES:
        return "BYTES"
    return "FP64"


def _read(value: Any, place: int | None, *, is_category: bool) -> Any:
    if place is not None:
        value = value[place] if isinstance(value, list) and place < len(value) else None
    if value is None or is_category:
        return None if value is None else str(comparable(value))
    return float(value) if isinstance(value, int | float) else None
