"""From a window that breached, and what is known beside it, to an explanation. Pure; ``explainer.py`` reads for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from perennial_api.modeldeployment.monitoring import Slice
from perennial_api.where import parse_where

from perennial_observer.explaining.change_point import find_start
from perennial_observer.explaining.columns import build_histogram, measure_distance
from perennial_observer.explaining.findings import Effect, Explanation, Histogram, Movement, SliceShift
from perennial_observer.monitors.alarms.verdicts import Assessment, utc_text
from perennial_observer.monitors.windows.slices import choose_rows

__all__ = ["Estimate", "Evidence", "PastWindow", "explain", "render_explanation"]

MAX_COLUMNS = 20
MAX_HISTOGRAMS = 5
MAX_SLICES = 5
MAX_SENTENCE = 512
# Shares of slices that differ by less aren't worth a word.
MIN_SHIFT = 0.01

Row = Mapping[str, Any]


@dataclass(frozen=True)
class PastWindow:
    """What is needed of an earlier window."""

    start: float
    statistic: float


@dataclass(frozen=True)
class Estimate:
    """The windows of a monitor that estimates performance, the oldest first."""

    monitor: str
    metric: str
    windows: Sequence[PastWindow]


@dataclass(frozen=True)
class Evidence:
    """What an explanation is made of.

    Parameters
    ----------
    columns
        Names of the columns that may be told about, those with a reference.
    reference, window
        Rows by column, on the side that the monitor looks at: inputs or outputs.
    history
        The monitor's latest windows on this revision, this one the last.
    reference_inputs, window_inputs
        Rows by input column, which conditions of slices are about.
    """

    columns: Sequence[str]
    reference: Sequence[Row]
    window: Sequence[Row]
    history: Sequence[PastWindow] = ()
    reference_inputs: Sequence[Row] = ()
    window_inputs: Sequence[Row] = ()
    slices: Sequence[Slice] = ()
    estimate: Estimate | None = None


def explain(assessment: Assessment, evidence: Evidence) -> Explanation:
    """Tell what moved, how, since when, for whom, and what it may cost."""
    movements = _rank_columns(assessment, evidence)
    started = _find_start(assessment, evidence.history)
    return Explanation(
        columns=movements,
        histograms=_draw(movements[:MAX_HISTOGRAMS], evidence),
        started=started,
        slices=_compare_slices(evidence),
        effect=_estimate_effect(evidence.estimate, started),
    )


def render_explanation(explanation: Explanation) -> str:
    """Say it in a sentence or two, for those who read a status or a message."""
    parts = []
    if explanation.started is not None:
        parts.append(f"since {utc_text(explanation.started)}")
    if explanation.columns:
        moved = ", ".join(f"{m.name} ({m.distance:.2f})" for m in explanation.columns[:3])
        parts.append(f"moved most: {moved}")
    if explanation.slices:
        shift = explanation.slices[0]
        parts.append(f"slice {shift.name} went from {shift.reference:.0%} to {shift.window:.0%} of the rows")
    if explanation.effect is not None:
        effect = explanation.effect
        parts.append(f"estimated {effect.metric} went from {effect.before:.3g} to {effect.now:.3g}")
    return "; ".join(parts)[:MAX_SENTENCE]


def _rank_columns(assessment: Assessment, evidence: Evidence) -> tuple[Movement, ...]:
    """Take the monitor's own ranking of columns where it has one, else measure each."""
    known = set(evidence.columns)
    own = [Movement(name=name, distance=x) for name, x in assessment.features if name in known]
    if own:
        return tuple(own[:MAX_COLUMNS])
    measured = [
        Movement(name=name, distance=measure_distance(*_samples(name, evidence))) for name in evidence.columns
    ]
    ranked = sorted(measured, key=lambda movement: (-movement.distance, movement.name))
    return tuple(movement for movement in ranked[:MAX_COLUMNS] if movement.distance > 0)


def _samples(name: str, evidence: Evidence) -> tuple[list[Any], list[Any]]:
    return [row.get(name) for row in evidence.reference], [row.get(name) for row in evidence.window]


def _draw(movements: Sequence[Movement], evidence: Evidence) -> tuple[Histogram, ...]:
    if not evidence.reference or not evidence.window:
        return ()
    return tuple(build_histogram(m.name, *_samples(m.name, evidence)) for m in movements)


def _find_start(assessment: Assessment, history: Sequence[PastWindow]) -> float | None:
    if assessment.statistic is None or assessment.threshold is None:
        return None
    upwards = assessment.statistic > assessment.threshold
    index = find_start([window.statistic for window in history], upwards=upwards)
    return None if index is None else history[index].start


def _compare_slices(evidence: Evidence) -> tuple[SliceShift, ...]:
    before_after = evidence.reference_inputs, evidence.window_inputs
    if not all(before_after):
        return ()
    shifts = []
    for found in evidence.slices:
        condition = parse_where(found.where)
        before, now = (float(np.mean(choose_rows(condition, rows))) for rows in before_after)
        if abs(now - before) >= MIN_SHIFT:
            shifts.append(SliceShift(name=found.name, reference=before, window=now))
    shifts.sort(key=lambda shift: (-abs(shift.window - shift.reference), shift.name))
    return tuple(shifts[:MAX_SLICES])


def _estimate_effect(estimate: Estimate | None, started: float | None) -> Effect | None:
    """Set the latest estimate beside the median of those before the change; nothing without a `before`."""
    if estimate is None or started is None:
        return None
    before = [window.statistic for window in estimate.windows if window.start < started]
    now = estimate.windows[-1] if estimate.windows else None
    if not before or now is None or now.start < started:
        return None
    return Effect(monitor=estimate.monitor, metric=estimate.metric, before=median(before), now=now.statistic)
