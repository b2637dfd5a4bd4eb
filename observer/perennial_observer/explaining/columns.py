"""How one column of a window differs from the reference's: a distance and a pair of histograms. Pure."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from perennial_observer.explaining.findings import Histogram

__all__ = ["build_histogram", "measure_distance"]

Floats = npt.NDArray[np.float64]

MAX_BINS = 20
MAX_LABEL = 64
OTHER = "(other)"
# Bins span these quantiles; what lies outside is counted in the outermost ones, so that one wild value doesn't press all
# others into a single bin.
INNER = (0.01, 0.99)


def measure_distance(reference: Sequence[Any], window: Sequence[Any]) -> float:
    """Distance of two samples, 0 to 1, the missing share included; 0 where there is nothing to compare."""
    if not reference or not window:
        return 0.0
    missing = abs(_missing(reference) - _missing(window))
    before, after = _numbers(reference), _numbers(window)
    if before is None or after is None:
        shares = _shares(reference), _shares(window)
        moved = sum(abs(shares[0].get(k, 0.0) - shares[1].get(k, 0.0)) for k in {*shares[0], *shares[1]})
        return (moved + missing) / 2
    if not len(before) or not len(after):
        return missing
    return max(missing, _kolmogorov(before, after))


def build_histogram(name: str, reference: Sequence[Any], window: Sequence[Any]) -> Histogram:
    """Count both samples in the same bins, at most `MAX_BINS`."""
    before, after = _numbers(reference), _numbers(window)
    if before is None or after is None:
        labels, shares = _count_categories(reference, window)
    else:
        labels, shares = _count_numbers(before, after, len(reference), len(window))
    return Histogram(
        name=name,
        labels=labels,
        reference=shares[0],
        window=shares[1],
        reference_missing=_missing(reference),
        window_missing=_missing(window),
    )


def _missing(values: Sequence[Any]) -> float:
    return sum(value is None for value in values) / len(values) if values else 0.0


def _numbers(values: Sequence[Any]) -> Floats | None:
    """Return the values that are there as numbers, without NaN and infinity; None if one is a text or a flag."""
    known = [value for value in values if value is not None]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        return None
    numbers: Floats = np.array(known, dtype=np.float64)
    return numbers[np.isfinite(numbers)]


def _text(value: Any) -> str:
    return str(value)[:MAX_LABEL]


def _shares(values: Sequence[Any]) -> dict[str, float]:
    counts = Counter(_text(value) for value in values if value is not None)
    return {key: count / len(values) for key, count in counts.items()}


def _kolmogorov(before: Floats, after: Floats) -> float:
    before, after = np.sort(before), np.sort(after)
    both = np.concatenate([before, after])
    below = np.searchsorted(before, both, side="right") / len(before)
    return float(np.max(np.abs(below - np.searchsorted(after, both, side="right") / len(after))))


_Counted = tuple[tuple[str, ...], tuple[tuple[float, ...], tuple[float, ...]]]


def _count_categories(reference: Sequence[Any], window: Sequence[Any]) -> _Counted:
    before, after = _shares(reference), _shares(window)
    # The categories that moved most, then by name, so that the same samples always give the same bins.
    ranked = sorted({*before, *after}, key=lambda key: (-max(before.get(key, 0.0), after.get(key, 0.0)), key))
    named = ranked if len(ranked) <= MAX_BINS else ranked[: MAX_BINS - 1]
    rest = ranked[len(named) :]
    labels = (*named, OTHER) if rest else tuple(named)
    shares = tuple(
        (
            *(found.get(key, 0.0) for key in named),
            *((sum(found.get(key, 0.0) for key in rest),) if rest else ()),
        )
        for found in (before, after)
    )
    return labels, (shares[0], shares[1])


def _count_numbers(before: Floats, after: Floats, n_reference: int, n_window: int) -> _Counted:
    both = np.concatenate([before, after])
    if not len(both):
        return (), ((), ())
    ends = [np.quantile(part, INNER) for part in (before, after) if len(part)]
    low, high = float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
    if low == high:
        low, high = float(both.min()), float(both.max())
    distinct = np.unique(both)
    if len(distinct) <= MAX_BINS:
        labels = tuple(f"{value:.6g}" for value in distinct)
        counts = [
            [np.count_nonzero(part == value) / max(n, 1) for value in distinct]
            for part, n in ((before, n_reference), (after, n_window))
        ]
        return labels, (tuple(counts[0]), tuple(counts[1]))
    edges = np.linspace(low, high, MAX_BINS + 1)
    labels = tuple(f"{a:.6g} to {b:.6g}" for a, b in pairwise(edges))
    pair = tuple(
        tuple(
            float(x) / max(n, 1)
            for x in np.bincount(
                np.clip(np.searchsorted(edges, part, side="right") - 1, 0, MAX_BINS - 1), minlength=MAX_BINS
            )
        )
        for part, n in ((before, n_reference), (after, n_window))
    )
    return labels, (pair[0], pair[1])
