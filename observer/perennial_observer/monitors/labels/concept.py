"""The concept monitor: whether the stream of a model's errors has changed for the worse. Pure.

ADWIN (Bifet and Gavaldà 2007) reads one error after the other, 0 or 1 for a class, an absolute error as a share of a
usual one for a number, and finds that their mean has changed. When it does, the place is dated by the largest CUSUM
(Page 1954) of the errors since the last change, and ADWIN starts anew behind it, so that it finds the next.

Nothing is remembered between windows: each time, the stretch of the log before the window is read again. So a restart
changes nothing, a window that is judged twice gets the same verdict, and a change is news for as long as the stretch
reaches back to it. After that the new level is the usual one: the alarm ends, and a further rise is found against it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
from perennial_api.modeldeployment.monitoring import Concept, MonitorSettings
from river.drift import ADWIN

from perennial_observer.monitors.alarms.verdicts import Assessment
from perennial_observer.monitors.labels.chance import chance_of_breach, deviations
from perennial_observer.monitors.labels.labelled import (
    Unusable,
    assess_shortage,
    assess_unusable,
    comparable,
    measure_coverage,
    pick_labelled,
    read_numbers,
    read_output,
)
from perennial_observer.store.rows import LoggedRow

__all__ = ["Change", "assess_concept", "find_rise", "history_rows"]

Floats = npt.NDArray[np.float64]

# How far back a window looks, in full windows and at most in rows: the change is news for so long.
HISTORY_WINDOWS = 10
MOST_HISTORY_ROWS = 20_000
# A number's errors are read as shares of twice the 95 % quantile of the first ones: a few wild ones don't set the scale.
SCALE_ROWS = 1_000
SCALE_QUANTILE, SCALE_FACTOR = 0.95, 2.0
# Fewer rows on one side of a change are chance.
MIN_SIDE = 10


@dataclass(frozen=True)
class Change:
    """A rise of the mean error.

    Parameters
    ----------
    began
        Position in the stream of the first error of the new level.
    since
        Position of the first error of the old level.
    """

    began: int
    since: int


def history_rows(window_size: int) -> int:
    """How many rows before a window belong to its judgement."""
    return min(HISTORY_WINDOWS * window_size, MOST_HISTORY_ROWS)


def assess_concept(
    rows: Sequence[LoggedRow],
    history: Sequence[LoggedRow],
    spec: Concept,
    settings: MonitorSettings,
    *,
    is_regression: bool,
) -> Assessment:
    """Judge one window: a breach while its errors are above the level before a rise, by more than chance.

    Parameters
    ----------
    rows
        All rows of the window, labelled or not, in order of event time.
    history
        The rows before it, in the same order; those without a usable label are left out.
    """
    labelled = pick_labelled(rows)
    lack = assess_shortage(rows, labelled, spec.labels, min_samples=settings.window.min_samples)
    if lack is not None:
        return lack
    coverage = measure_coverage(rows, labelled)
    before = _pick_usable(history, is_regression=is_regression)
    try:
        errors = _read_errors([*before, *labelled], is_regression=is_regression)
    except Unusable as why:
        return assess_unusable(why, len(labelled), coverage)
    times = [row.event_time for row in (*before, *labelled)]
    rise = find_rise(_scale(errors) if is_regression else errors, spec.delta)
    fresh = errors[len(before) :]
    what = "mean absolute error" if is_regression else "share of wrong answers"
    level = float(np.mean(fresh))
    common = {"samples": len(labelled), "coverage": coverage, "statistic": level}
    if rise is None:
        return Assessment(
            breached=False,
            reason="NoChange",
            message=f"the {what} is {level:.4g}; ADWIN finds no rise in the latest {len(errors)} labels",
            **common,
        )
    old, new = errors[rise.since : rise.began], errors[rise.began :]
    latest = errors[max(rise.began, len(before)) :]
    bound = _upper_bound(old, latest, chance_of_breach(rows, settings))
    breached = len(latest) >= MIN_SIDE and float(np.mean(latest)) > bound
    when = datetime.fromtimestamp(int(times[rise.began]), tz=UTC).isoformat()
    story = f"the {what} rose from {np.mean(old):.4g} to {np.mean(new):.4g} about {when}"
    return Assessment(
        breached=breached,
        reason="ErrorRose" if breached else "ErrorBack",
        message=f"{story}; in this window it is {np.mean(latest):.4g}"
        + ("" if breached else ", no more than chance above what it was"),
        threshold=bound,
        **{**common, "statistic": float(np.mean(latest))},
    )


def find_rise(errors: Floats, delta: float) -> Change | None:
    """Find the rise of the mean that still stands at the end of the stream.

    A second rise on top of a first leaves the level before the first as the one to get back to; a fall to less than half
    of the way back ends a rise.

    Parameters
    ----------
    errors
        float64 (n,), from 0 to 1, the oldest first.
    delta
        ADWIN's.

    Examples
    --------
    >>> find_rise(np.repeat([0.0, 1.0], 500), 0.002)
    Change(began=500, since=0)
    >>> find_rise(np.repeat([1.0, 0.0], 500), 0.002) is None
    True
    """
    standing: Change | None = None
    start = 0
    detector = ADWIN(delta=delta)
    for i, error in enumerate(errors):
        detector.update(float(error))
        if not detector.drift_detected:
            continue
        cut = _date(errors[start : i + 1])
        if cut is None:
            continue
        before, after = (
            float(np.mean(errors[start : start + cut])),
            float(np.mean(errors[start + cut : i + 1])),
        )
        if after > before:
            standing = standing or Change(began=start + cut, since=start)
        elif standing is not None:
            old = float(np.mean(errors[standing.since : standing.began]))
            standing = None if after <= (old + before) / 2 else standing
        start += cut
        detector = ADWIN(delta=delta)
        for known in errors[start : i + 1]:
            detector.update(float(known))
    return standing


def _date(errors: Floats) -> int | None:
    """Where the mean of a stretch changed: the cut with the largest CUSUM in units of its own spread."""
    n = len(errors)
    if n < 2 * MIN_SIDE:
        return None
    cuts = np.arange(1, n)
    walk = np.abs(np.cumsum(errors - errors.mean())[:-1]) / np.sqrt(cuts * (n - cuts) / n)
    inside = slice(MIN_SIDE - 1, n - MIN_SIDE)
    return int(np.argmax(walk[inside])) + MIN_SIDE


def _upper_bound(old: Floats, latest: Floats, p: float) -> float:
    """What the latest rows' mean exceeds with probability `p` if the old level still held (Welch's standard error)."""
    error = np.sqrt(np.var(old) / len(old) + np.var(latest) / len(latest))
    return float(np.mean(old) + deviations(p) * error)


def _pick_usable(rows: Sequence[LoggedRow], *, is_regression: bool) -> list[LoggedRow]:
    """Leave out what can't be read: it was a reason not to judge its own window, and is none against this one."""
    labelled = pick_labelled(rows)
    if _can_read(labelled, is_regression=is_regression):
        return labelled
    return [row for row in labelled if _can_read([row], is_regression=is_regression)]


def _can_read(rows: Sequence[LoggedRow], *, is_regression: bool) -> bool:
    try:
        _read_errors(rows, is_regression=is_regression)
    except Unusable:
        return False
    return True


def _read_errors(rows: Sequence[LoggedRow], *, is_regression: bool) -> Floats:
    answers = read_output(rows, "predict", "the stream of errors")
    if is_regression:
        labels = read_numbers([row.label for row in rows], "label")
        return np.abs(labels - read_numbers(answers, "predict"))
    wrong = (comparable(row.label) != comparable(x) for row, x in zip(rows, answers, strict=True))
    return np.fromiter(wrong, dtype=np.float64, count=len(rows))


def _scale(errors: Floats) -> Floats:
    usual = SCALE_FACTOR * float(np.quantile(errors[:SCALE_ROWS], SCALE_QUANTILE))
    # A model that was never off has no usual error; the largest of all then is the unit.
    unit = usual or float(errors.max()) or 1.0
    return np.minimum(errors / unit, 1.0)
