"""What estimates of performance learn from: labelled rows of the reference, else of the log. Pure.

A reference's labels come first: they are there before any traffic, and the bundle's author chose them. The log's are the
first rows of the revision, in which nothing has drifted yet, once their labels have had time to come.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perennial_api.modeldeployment.monitoring import Labels

from perennial_observer.monitors.labels.labelled import measure_coverage, pick_labelled
from perennial_observer.store.references import StoredReference
from perennial_observer.store.rows import LoggedRow

__all__ = ["MOST_LESSONS", "Lessons", "choose_lessons", "lessons_of"]

# As many as a reference may have; an isotonic curve and a forest gain little from more.
MOST_LESSONS = 5_000


@dataclass(frozen=True)
class Lessons:
    """Labelled rows to learn from.

    Parameters
    ----------
    source
        Where they are from, for messages: `reference` or `log`.
    is_final
        Whether no more will come.
    """

    rows: Sequence[LoggedRow]
    source: str
    is_final: bool


def lessons_of(reference: StoredReference, labels: Labels) -> Lessons | None:
    """Take a reference's labelled rows, if they are as many as `labels.minLabels`."""
    if reference.labels is None:
        return None
    of_rows = zip(reference.labels, _rows(reference.columns), _rows(reference.outputs), strict=False)
    rows = [
        LoggedRow(id=i, event_time=0.0, inputs=inputs, outputs=outputs, label=label, has_label=True)
        for i, (label, inputs, outputs) in enumerate(of_rows)
        if label is not None
    ]
    return Lessons(rows, "reference", is_final=True) if len(rows) >= labels.min_labels else None


def choose_lessons(rows: Sequence[LoggedRow], labels: Labels, *, is_final: bool) -> Lessons | None:
    """Take what is labelled of the log's first rows, if that is enough.

    Where only some are, those that are may be the easy ones: `labels.minCoverage` holds here as for Performance.
    """
    labelled = pick_labelled(rows)
    if len(labelled) < labels.min_labels or measure_coverage(rows, labelled) < labels.min_coverage:
        return None
    return Lessons(labelled, "log", is_final)


def _rows(columns: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Turn columns into rows; ever new empty ones without any."""
    if not columns:
        return iter(dict, None)
    return (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
