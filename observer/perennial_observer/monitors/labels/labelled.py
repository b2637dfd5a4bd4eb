"""Labels of a window: which rows carry one, whether they are enough, and what they are as classes or numbers. Pure.

Everything that measures right and wrong (Performance, Concept, Fairness, what estimates learn from) reads them by this.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from perennial_api.modeldeployment.monitoring import Concept, Labels, Monitor, MonitorType

from perennial_observer.monitors.alarms.verdicts import Assessment, assess_too_few
from perennial_observer.store.rows import LoggedRow

__all__ = [
    "Unusable",
    "assess_shortage",
    "assess_unusable",
    "clip_chances",
    "comparable",
    "maturity_s",
    "measure_coverage",
    "pick_labelled",
    "read_numbers",
    "read_output",
    "sort_classes",
]

# Beyond it squares of errors and their sums have no float any more.
LARGEST = 1e100
# A model that computes in float32 answers probabilities that are so far beyond 0 or 1.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Unusable(Exception):
    """What is there can't be judged."""

    reason: str
    message: str


def maturity_s(monitor: Monitor) -> float:
    """How long a window of the monitor waits for its labels, in seconds of event time; 0 for one that needs none."""
    if monitor.performance is not None:
        return monitor.performance.labels.maturity.seconds
    if monitor.type is MonitorType.CONCEPT:
        return (monitor.concept or Concept()).labels.maturity.seconds
    if monitor.fairness is not None and monitor.fairness.metric.needs_labels:
        return monitor.fairness.labels.maturity.seconds
    return 0.0


def pick_labelled(rows: Sequence[LoggedRow]) -> list[LoggedRow]:
    """Return the rows that have a label."""
    return [row for row in rows if row.has_label and row.label is not None]


def measure_coverage(rows: Sequence[LoggedRow], labelled: Sequence[LoggedRow]) -> float:
    """Return the share of rows that have a label; 0 of none."""
    return len(labelled) / len(rows) if rows else 0.0


def assess_shortage(
    rows: Sequence[LoggedRow], labelled: Sequence[LoggedRow], spec: Labels, *, min_samples: int
) -> Assessment | None:
    """Say what a window lacks to be judged by its labels; None if nothing."""
    if len(rows) < min_samples:
        return assess_too_few(len(rows), min_samples, samples=len(labelled))
    coverage = measure_coverage(rows, labelled)
    if len(labelled) < spec.min_labels:
        lack = Unusable("TooFewLabels", f"{len(labelled)} labels, labels.minLabels is {spec.min_labels}")
    elif coverage < spec.min_coverage:
        lack = Unusable(
            "LowLabelCoverage",
            f"{coverage:.0%} of the mature rows have a label, labels.minCoverage is {spec.min_coverage:.0%}",
        )
    else:
        return None
    return assess_unusable(lack, len(labelled), coverage)


def assess_unusable(why: Unusable, samples: int, coverage: float | None = None) -> Assessment:
    """Say that a window can't be judged, and why."""
    return Assessment(
        breached=None, reason=why.reason, message=why.message, samples=samples, coverage=coverage
    )


def comparable(value: Any) -> Any:
    """Make 1, 1.0 and true the same class: clients and models spell a label differently."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | float | str) else str(value)


def sort_classes(values: Iterable[Any]) -> list[Any]:
    """Sort different classes as scikit-learn does, so that the last of two is the positive one."""
    return sorted(set(values), key=_class_order)


def _class_order(value: Any) -> tuple[bool, float, str]:
    return (True, 0.0, value) if isinstance(value, str) else (False, float(value), "")


def read_output(rows: Sequence[LoggedRow], name: str, who: str) -> list[Any]:
    """Return one output of each row.

    Parameters
    ----------
    who
        What needs it, for the message.

    Raises
    ------
    Unusable
        A row lacks it.
    """
    if any(row.outputs.get(name) is None for row in rows):
        raise Unusable("OutputMissing", f"{who} needs the output {name!r}, which the log doesn't hold")
    return [row.outputs[name] for row in rows]


def read_numbers(values: Sequence[Any], what: str) -> npt.NDArray[np.float64]:
    """Read single finite numbers, float64 (n,).

    Raises
    ------
    Unusable
        There is anything else among them. A text isn't a number, even where it could be read as one.
    """
    numbers = [value for value in values if isinstance(value, int | float) and abs(value) <= LARGEST]
    if len(numbers) < len(values):
        raise Unusable("MetricNotDefined", f"the {what} values are not single finite numbers")
    return np.array(numbers, dtype=np.float64)


def clip_chances(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Bring probabilities that are rounded beyond 0 or 1 back, float64 (n,).

    Raises
    ------
    Unusable
        There is one that no rounding explains.
    """
    if values.min(initial=0.0) < -ROUNDING or values.max(initial=1.0) > 1.0 + ROUNDING:
        raise Unusable(
            "MetricNotDefined",
            f"probabilities must be between 0 and 1; they are between {values.min():g} and {values.max():g}",
        )
    return np.clip(values, 0.0, 1.0)
