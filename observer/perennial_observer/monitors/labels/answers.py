"""What a classifier answered: probabilities, and which class each of them is of. Pure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from perennial_api.modeldeployment.monitoring import PerformanceMetric

from perennial_observer.monitors.labels.labelled import (
    Unusable,
    clip_chances,
    comparable,
    read_numbers,
    read_output,
    sort_classes,
)
from perennial_observer.store.rows import LoggedRow

__all__ = [
    "code_classes",
    "find_classes",
    "find_two_classes",
    "read_predicted",
    "read_probabilities",
    "read_scores",
]

Floats = npt.NDArray[np.float64]
TWO = 2
MOST_SHOWN = 5


def read_probabilities(rows: Sequence[LoggedRow], metric: PerformanceMetric) -> Floats:
    """Read the output `probability` as `read_scores` does.

    Raises
    ------
    Unusable
        It is missing, or no probability.
    """
    return clip_chances(read_scores(rows, metric))


def read_scores(rows: Sequence[LoggedRow], metric: PerformanceMetric) -> Floats:
    """Read the output `probability`, of which only the order may matter: float64 (n,), of the positive class, or (n, k).

    Raises
    ------
    Unusable
        It is missing, or isn't one number, or one for each of the k > 2 classes.
    """
    values = read_output(rows, "probability", metric.value)
    if not any(isinstance(value, list) for value in values):
        return read_numbers(values, "probability")
    widths = {len(value) if isinstance(value, list) else 1 for value in values}
    if len(widths) > 1 or min(widths) < TWO:
        raise Unusable("MetricNotDefined", "the probability values are not one number for each class")
    flat = [chance for value in values for chance in value]
    scores = read_numbers(flat, "probability").reshape(len(rows), -1)
    return scores[:, 1] if scores.shape[1] == TWO else scores


def read_predicted(rows: Sequence[LoggedRow], metric: PerformanceMetric) -> list[Any]:
    """Read the class that was answered.

    Raises
    ------
    Unusable
        It is missing.
    """
    return [comparable(answer) for answer in read_output(rows, "predict", metric.value)]


def find_two_classes(
    values: Sequence[Any], known: Sequence[Any], metric: PerformanceMetric
) -> tuple[Any, ...]:
    """Return the classes of a model that answers one probability, the one that it is of last.

    Parameters
    ----------
    values
        Comparable answers and labels.
    known
        The two in this order, as the bundle has them. Where it is empty they are taken to be sorted, as scikit-learn
        has them, and there is one if all values are alike.

    Raises
    ------
    Unusable
        There are more.
    """
    classes = [comparable(name) for name in known]
    found = classes + [value for value in sort_classes(values) if value not in classes]
    if len(found) > TWO:
        raise Unusable(
            "MetricNotDefined",
            f"the model answers one probability, as for two classes, so {metric.value} isn't defined for"
            f" {len(found)}: {_show(found)}",
        )
    return tuple(found)


def find_classes(
    probabilities: Floats, predicted: Sequence[Any], seen: Sequence[Any], known: Sequence[Any] = ()
) -> tuple[Any, ...]:
    """Tell which class each column of the probabilities is of.

    Parameters
    ----------
    probabilities
        float64 (n, k).
    predicted
        The answers of the same rows.
    seen
        Other values that are classes: the labels.
    known
        The classes in this order, as the bundle has them. Where it is empty they are taken to be sorted, as
        scikit-learn has them.

    Raises
    ------
    Unusable
        There are not k of them. Where they aren't known: not all are among the values yet, or of the answers of a class
        most aren't the most probable one.
    """
    k = probabilities.shape[1]
    classes = [comparable(name) for name in known] or sort_classes([*predicted, *seen])
    if len(classes) != k:
        source = "the model's bundle has" if known else "its answers and labels are of"
        raise Unusable(
            "ClassesUnknown",
            f"the model answers {k} probabilities, and {source} {len(classes)} classes: {_show(classes)}",
        )
    if not known:
        _check_order(probabilities.argmax(axis=1), code_classes(predicted, classes), classes)
    return tuple(classes)


def _check_order(
    likeliest: npt.NDArray[np.int64], answered: npt.NDArray[np.int64], classes: Sequence[Any]
) -> None:
    for place, name in enumerate(classes):
        own = likeliest[answered == place]
        if 2 * np.sum(own == place) <= len(own) and len(own):
            raise Unusable(
                "ClassesUnknown",
                f"the probabilities don't seem to be in the order of the classes ({_show(classes)}): of {len(own)}"
                f" answers {name!r} only {np.sum(own == place)} are the most probable class",
            )


def has_many_classes(rows: Sequence[LoggedRow], known: Sequence[Any]) -> bool:
    """Whether the model has more than two, as its bundle says or else its probabilities."""
    shown = (row.outputs.get("probability") for row in rows)
    return len(known) > TWO or any(isinstance(value, list) and len(value) > TWO for value in shown)


def code_classes(values: Sequence[Any], classes: Sequence[Any]) -> npt.NDArray[np.int64]:
    """Return each value's place among the classes, int64 (n,).

    Raises
    ------
    Unusable
        There is another value.
    """
    places = {name: place for place, name in enumerate(classes)}
    if others := sort_classes(value for value in values if value not in places):
        raise Unusable("ClassesUnknown", f"{_show(others)} is none of the classes {_show(classes)}")
    return np.array([places[value] for value in values], dtype=np.int64)


def _show(classes: Sequence[Any]) -> str:
    more = ", …" if len(classes) > MOST_SHOWN else ""
    return ", ".join(repr(name) for name in classes[:MOST_SHOWN]) + more
