"""Two-sample statistics of single columns, each by its test in alibi-detect, in units that don't grow with the sample."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["TESTS", "compare_columns"]

Floats = npt.NDArray[np.float64]

# A two-sample test on fewer values says nothing; the answer for such a column is NaN, which the caller must treat as
# "not tested", never as "no drift".
MIN_VALUES = 2
# Cochran's rule: with fewer expected in a cell the statistic is mostly chance.
LEAST_EXPECTED = 5.0
BOTH = 2
SEED = 0

# What each test takes from alibi_detect.cd.
TESTS = {
    "ks": "KSDrift",
    "cvm": "CVMDrift",
    "chi_square": "ChiSquareDrift",
    "fet": "FETDrift",
    "tabular": "TabularDrift",
}


def compare_columns(
    classes: Mapping[str, Any],
    test: str,
    reference: Floats,
    windows: list[Floats],
    is_category: npt.NDArray[np.bool_],
) -> Floats:
    """Compare every column of every window with the reference's.

    Missing values (NaN) are left out, column by column: alibi-detect answers NaN or p = 0 otherwise.

    Parameters
    ----------
    classes
        alibi-detect's classes by name.
    test
        ``ks`` (distance, 0 to 1), ``cvm`` (mean squared difference of the distribution functions, 0 to 1/3),
        ``chi_square`` (Cramér's V, of codes), ``fet`` (size of Yule's Q, of 0 and 1) or ``tabular`` (``chi_square``
        for categories, ``ks`` for the others).
    reference
        float64 (m, d).
    windows
        float64 (n_i, d) each.
    is_category
        bool (d,): which columns hold codes; only ``tabular`` asks.

    Returns
    -------
    array
        float64 (len(windows), d); NaN where too few values remain, or the test isn't for such a column.
    """
    make = classes[TESTS[test]]
    found = np.full((len(windows), reference.shape[1]), np.nan)
    for column in range(reference.shape[1]):
        known = _finite(reference[:, column])
        compare = _COMPARISONS["categories" if test == "tabular" and is_category[column] else test]
        for i, window in enumerate(windows):
            values = _finite(window[:, column])
            if min(len(known), len(values)) >= MIN_VALUES:
                found[i, column] = compare(make, known, values)
    return found


def _finite(values: Floats) -> Floats:
    kept: Floats = values[np.isfinite(values)]
    return kept


def _statistic(detector: Any, known: npt.NDArray[Any], values: npt.NDArray[Any]) -> float:
    _, statistic = detector.feature_score(known, values)
    return float(statistic[0])


def _ks(make: Any, known: Floats, values: Floats) -> float:
    known, values = known.reshape(-1, 1), values.reshape(-1, 1)
    return _statistic(make(known), known, values)


def _numbers(make: Any, known: Floats, values: Floats) -> float:
    known, values = known.reshape(-1, 1), values.reshape(-1, 1)
    return _statistic(make(known, categories_per_feature={}), known, values)


def _cvm(make: Any, known: Floats, values: Floats) -> float:
    """Anderson's T without its factor mn/(m + n); ties are broken by lot, since SciPy's T takes them for drift."""
    known, values = (side.reshape(-1, 1) for side in _rank_by_lot(known, values))
    m, n = len(known), len(values)
    return max(0.0, _statistic(make(known), known, values)) * (m + n) / (m * n)


def _rank_by_lot(known: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Ranks in the pooled sample, all different. Both sides are sorted first, so that their order doesn't matter."""
    pooled = np.concatenate([np.sort(known), np.sort(values)])
    lot = np.random.default_rng(SEED).random(len(pooled))
    ranks = np.empty(len(pooled))
    ranks[np.lexsort((lot, pooled))] = np.arange(len(pooled))
    return ranks[: len(known)], ranks[len(known) :]


def _chi_square(make: Any, known: Floats, values: Floats) -> float:
    return _cramers_v(make, known, values)


def _categories(make: Any, known: Floats, values: Floats) -> float:
    return _cramers_v(lambda codes: make(codes, categories_per_feature={0: None}), known, values)


def _cramers_v(make: Callable[[npt.NDArray[Any]], Any], known: Floats, values: Floats) -> float:
    """Cramér's V as if both sides were as large: sqrt(chi²/N / 4w(1 - w)), where w is the window's share of all rows."""
    known, values = _join_rare(known, values)
    if len(np.unique(np.concatenate([known, values]))) < BOTH:
        return math.nan
    codes = known.astype(np.int64).reshape(-1, 1)
    statistic = _statistic(make(codes), codes, values.astype(np.int64).reshape(-1, 1))
    total = len(known) + len(values)
    share = len(values) / total
    return min(1.0, math.sqrt(max(0.0, statistic) / total / (4 * share * (1 - share))))


def _join_rare(known: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Make one code of all that would be expected fewer than five times on the smaller side."""
    pooled = np.concatenate([known, values])
    codes, counts = np.unique(pooled, return_counts=True)
    rare = codes[counts * (min(len(known), len(values)) / len(pooled)) < LEAST_EXPECTED]
    if not len(rare):
        return known, values
    joined = codes.min() - 1
    return tuple(np.where(np.isin(side, rare), joined, side) for side in (known, values))  # type: ignore[return-value]


def _fet(make: Any, known: Floats, values: Floats) -> float:
    """Yule's Q without its sign, (r - 1)/(r + 1) of the odds ratio r; NaN for numbers, and for what is too rare."""
    pooled = np.concatenate([known, values])
    if not np.isin(pooled, (0.0, 1.0)).all():
        return math.nan
    share = float(pooled.mean())
    if min(share, 1 - share) * min(len(known), len(values)) < LEAST_EXPECTED:
        return math.nan
    codes = known.astype(np.int64).reshape(-1, 1)
    ratio = _statistic(make(codes, alternative="two-sided"), codes, values.astype(np.int64).reshape(-1, 1))
    return 1.0 if math.isinf(ratio) else abs(ratio - 1) / (ratio + 1)


_COMPARISONS: Mapping[str, Callable[[Any, Floats, Floats], float]] = {
    "ks": _ks,
    "cvm": _cvm,
    "chi_square": _chi_square,
    "fet": _fet,
    "tabular": _numbers,
    "categories": _categories,
}
