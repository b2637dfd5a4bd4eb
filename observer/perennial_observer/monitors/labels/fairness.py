"""The fairness monitor: how far a rate differs between slices of one window. Pure.

A difference of two shares is judged by Newcombe's interval (1998, Statistics in Medicine 17, method 10), which holds for
small slices and for shares near 0 and 1 too. A window breaches where some pair's difference is above `maxDifference` by
more than chance: between ten slices some pair always differs. Slices that overlap share rows, which makes their true
interval narrower than this one: the monitor then errs towards silence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from perennial_api.modeldeployment.monitoring import Fairness, FairnessMetric, MonitorSettings
from perennial_api.where import Condition
from scipy.stats import norm

from perennial_observer.monitors.alarms.verdicts import Assessment, assess_too_few
from perennial_observer.monitors.labels.chance import chance_of_breach
from perennial_observer.monitors.labels.labelled import (
    Unusable,
    assess_shortage,
    assess_unusable,
    comparable,
    measure_coverage,
    pick_labelled,
    read_output,
    sort_classes,
)
from perennial_observer.monitors.windows.slices import choose_rows
from perennial_observer.store.rows import LoggedRow

__all__ = ["Rate", "assess_fairness", "newcombe_interval"]

Bools = npt.NDArray[np.bool_]
# A rate of fewer rows says nothing of its slice.
MIN_SLICE_ROWS = 30
TWO = 2
SHOWN_P = 0.025


@dataclass(frozen=True)
class Rate:
    """A share of a slice's rows."""

    name: str
    hits: int
    rows: int

    @property
    def share(self) -> float:
        """From 0 to 1; 0 of none."""
        return self.hits / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class _Pair:
    higher: Rate
    lower: Rate

    @property
    def difference(self) -> float:
        return self.higher.share - self.lower.share

    def interval(self, p: float) -> tuple[float, float]:
        return newcombe_interval(self.higher, self.lower, p)


def assess_fairness(
    rows: Sequence[LoggedRow],
    spec: Fairness,
    settings: MonitorSettings,
    slices: Mapping[str, Condition],
    classes: Sequence[Any],
) -> Assessment:
    """Judge one window by the largest difference between two slices.

    Parameters
    ----------
    rows
        All rows of the window, labelled or not.
    slices
        Conditions of at least `spec.slices`.
    classes
        Classes that the reference knows, in any order; those of the window are added.
    """
    used: Sequence[LoggedRow] = rows
    coverage = None
    if spec.metric.needs_labels:
        used = pick_labelled(rows)
        lack = assess_shortage(rows, used, spec.labels, min_samples=settings.window.min_samples)
        if lack is not None:
            return lack
        coverage = measure_coverage(rows, used)
    elif len(rows) < settings.window.min_samples:
        return assess_too_few(len(rows), settings.window.min_samples)
    try:
        counted, hits = _count(used, spec.metric, classes)
    except Unusable as why:
        return assess_unusable(why, len(used), coverage)
    inputs = [row.inputs for row in used]
    members = {name: choose_rows(slices[name], inputs) & counted for name in spec.slices}
    rates = [Rate(name, int((chosen & hits).sum()), int(chosen.sum())) for name, chosen in members.items()]
    verdict = _judge(rates, spec, chance_of_breach(rows, settings))
    return verdict.model_copy(update={"samples": len(used), "coverage": coverage})


def _judge(rates: Sequence[Rate], spec: Fairness, p: float) -> Assessment:
    small = [rate for rate in rates if rate.rows < MIN_SLICE_ROWS]
    pairs = [
        _Pair(*sorted(pair, key=lambda rate: -rate.share))
        for pair in combinations([rate for rate in rates if rate not in small], TWO)
    ]
    # Each pair is a chance to be wrong (Bonferroni).
    sure = {pair: pair.interval(p / len(pairs))[0] for pair in pairs}
    over = [pair for pair in pairs if sure[pair] > spec.max_difference]
    if not over and small:
        of = {
            FairnessMetric.TRUE_POSITIVE_RATE: " with a positive label",
            FairnessMetric.FALSE_POSITIVE_RATE: " with a negative label",
        }.get(spec.metric, "")
        named = ", ".join(f"{rate.name} ({rate.rows})" for rate in small)
        return assess_unusable(
            Unusable(
                "SliceTooSmall",
                f"a slice needs {MIN_SLICE_ROWS} rows{of} in the window to be compared, and there are fewer in {named}",
            ),
            0,
        )
    pair = max(over, key=sure.__getitem__) if over else max(pairs, key=lambda pair: pair.difference)
    lower, upper = pair.interval(SHOWN_P)
    if over:
        reason, words = "DifferenceExceeded", f"above maxDifference {spec.max_difference:g}"
    elif pair.difference > spec.max_difference:
        reason = "WithinNoise"
        words = f"above maxDifference {spec.max_difference:g}, but by no more than chance explains"
    else:
        reason, words = "WithinDifference", f"not above maxDifference {spec.max_difference:g}"
    return Assessment(
        breached=bool(over),
        reason=reason,
        message=f"{spec.metric.value} is {pair.higher.share:.3f} in {pair.higher.name} ({pair.higher.rows} rows) and"
        f" {pair.lower.share:.3f} in {pair.lower.name} ({pair.lower.rows} rows): a difference of"
        f" {pair.difference:.3f} ({lower:.3f} to {upper:.3f}), {words}",
        samples=0,
        statistic=pair.difference,
        threshold=spec.max_difference,
        lower=lower,
        upper=upper,
        features=tuple((rate.name, rate.share) for rate in rates if rate not in small),
    )


def newcombe_interval(one: Rate, other: Rate, p: float) -> tuple[float, float]:
    """Interval of the difference of two independent shares, which it misses on each side with probability `p`.

    Newcombe's method 10: from each share's Wilson interval (l, u),
    lower = d - √((p₁ - l₁)² + (u₂ - p₂)²), upper = d + √((u₁ - p₁)² + (p₂ - l₂)²).

    Examples
    --------
    >>> tuple(round(x, 4) for x in newcombe_interval(Rate("a", 56, 70), Rate("b", 48, 80), 0.025))
    (0.0524, 0.3339)
    """
    (low_1, high_1), (low_2, high_2) = _wilson(one, p), _wilson(other, p)
    difference = one.share - other.share
    lower = difference - float(np.hypot(one.share - low_1, high_2 - other.share))
    upper = difference + float(np.hypot(high_1 - one.share, other.share - low_2))
    return lower, upper


def _wilson(rate: Rate, p: float) -> tuple[float, float]:
    # By the formula and not by scipy's, whose confidence level loses a small p in rounding.
    z = float(norm.isf(p))
    centre = (rate.share + z**2 / (2 * rate.rows)) / (1 + z**2 / rate.rows)
    half = (
        z
        / (1 + z**2 / rate.rows)
        * np.sqrt(rate.share * (1 - rate.share) / rate.rows + z**2 / (4 * rate.rows**2))
    )
    return centre - float(half), centre + float(half)


def _count(rows: Sequence[LoggedRow], metric: FairnessMetric, classes: Sequence[Any]) -> tuple[Bools, Bools]:
    """Which rows the rate is a share of, and which of them are hits: bool (n,) each.

    Raises
    ------
    Unusable
        The metric isn't defined for what is there.
    """
    answers = [comparable(answer) for answer in read_output(rows, "predict", metric.value)]
    labels = [comparable(row.label) for row in rows] if metric.needs_labels else []
    everything = np.ones(len(rows), dtype=np.bool_)
    if metric is FairnessMetric.ACCURACY:
        return everything, _equal(answers, labels)
    known = sort_classes([*(comparable(label) for label in classes), *answers, *labels])
    if len(known) != TWO:
        shown = ", ".join(repr(label) for label in known[:5])
        raise Unusable(
            "SingleClass" if len(known) < TWO else "MetricNotDefined",
            f"{metric.value} needs two classes, of which the last in order is the positive one, and there are"
            f" {len(known)}: {shown}; accuracy takes any number",
        )
    positive = _equal(answers, [known[-1]] * len(rows))
    if metric is FairnessMetric.POSITIVE_RATE:
        return everything, positive
    is_true = _equal(labels, [known[-1]] * len(rows))
    return (is_true if metric is FairnessMetric.TRUE_POSITIVE_RATE else ~is_true), positive


def _equal(one: Sequence[Any], other: Sequence[Any]) -> Bools:
    return np.fromiter((a == b for a, b in zip(one, other, strict=True)), dtype=np.bool_, count=len(one))
