"""The threshold of a drift statistic, from blocks of the reference that were held out. Pure.

Each block is compared with the rest of the reference, so a block's statistic holds what lies between neighbouring rows
(hours of the same weather) and not just what chance does to independent ones. Calibrating the maximum over features
bounds the false alarms of the whole family at once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, stdtrit

__all__ = [
    "MIN_BLOCKS",
    "Threshold",
    "block_bounds",
    "bonferroni_distance",
    "calibrate_threshold",
    "choose_block_rows",
    "find_restless",
]

Floats = npt.NDArray[np.float64]

# Below so many blocks their spread says too little.
MIN_BLOCKS = 10
# Of fewer nothing is known at all; a statistic without a known distribution can't be judged then.
FEWEST_BLOCKS = 2
# Windows larger than the reference's fifth are calibrated on blocks of that fifth.
SMALLEST_NUMBER_OF_BLOCKS = 5
# What few blocks can be widened by; rarer false breaches than that gives need more blocks.
MOST_STANDARD_DEVIATIONS = 3.0
# `p` is found by iteration: 1/20 comes as 0.0499999999999, and must not ask for a 21st block.
TOLERANCE = 1e-6
# Neither scale has a place for 0 or for the end itself.
SMALLEST_SHARE = 1e-3
# A feature with a block this far from the rest of the reference (a calendar column) could hardly alarm itself, and its
# threshold would hide all others.
RESTLESS_DISTANCE = 0.9


@dataclass(frozen=True)
class Threshold:
    """Value beyond which a window breaches, and how far it can be trusted.

    Parameters
    ----------
    blocks
        How many blocks it was learnt from.
    false_breach_rate
        Probability that a window like the blocks exceeds it, as far as they tell; None if they are smaller than it.
    """

    distance: float
    calibrated: bool
    reason: str
    message: str
    blocks: int = 0
    false_breach_rate: float | None = None


def block_bounds(n_rows: int, block_rows: int) -> list[tuple[int, int]]:
    """Cut `n_rows` in time order into whole blocks: (start, end) each; a remainder at the front is left out.

    Examples
    --------
    >>> block_bounds(10, 4)
    [(2, 6), (6, 10)]
    """
    if block_rows <= 0 or n_rows // block_rows < 2:  # noqa: PLR2004  one block has no rest to be compared with
        return []
    first = n_rows % block_rows
    return [(start, start + block_rows) for start in range(first, n_rows, block_rows)]


def choose_block_rows(n_reference: int, n_window: int) -> int:
    """Rows of one block: a window's, or fewer where the reference would hold too few such blocks.

    Smaller blocks differ more from the rest than a window would, so the threshold errs towards caution; not where the
    reference's rows are thinned, whose blocks may take longer than a window does.

    Examples
    --------
    >>> choose_block_rows(5000, 250), choose_block_rows(5000, 7000)
    (250, 1000)
    """
    return min(n_window, n_reference // SMALLEST_NUMBER_OF_BLOCKS)


def find_restless(distances: Floats) -> npt.NDArray[np.bool_]:
    """Which features move so much within the reference that they say nothing about drift.

    Parameters
    ----------
    distances
        float64 (blocks, features); NaN where a feature was not tested.
    """
    if not len(distances):
        return np.zeros(distances.shape[1], dtype=np.bool_)
    restless: npt.NDArray[np.bool_] = np.nan_to_num(distances, nan=0.0).max(axis=0) >= RESTLESS_DISTANCE
    return restless


def bonferroni_distance(p: float, n_features: int, n_reference: int, n_window: int) -> float:
    """KS distance whose asymptotic two-sided p-value is ``p / n_features``: sqrt(-ln(p/2d)/2 · (m+n)/mn).

    Examples
    --------
    >>> round(bonferroni_distance(0.05, 1, 1000, 1000), 4)
    0.0607
    """
    share = (n_reference + n_window) / (n_reference * n_window)
    return float(min(1.0, np.sqrt(-np.log(p / (2 * max(1, n_features))) / 2 * share)))


def calibrate_threshold(
    statistics: Sequence[float],
    p: float,
    *,
    same_size: bool,
    min_effect: float,
    fallback_distance: float | None,
    highest: float | None = 1.0,
) -> Threshold | None:
    """Choose the threshold for a per-window false-breach probability `p`.

    With at least 1/p blocks it is the smallest block that a window exceeds with at most `p`. With fewer it is the
    largest block, or what the next of so many normal values exceeds with `p` if that is more, on a scale without ends
    and at most mean + 3 sd. That keeps `p` as far as a normal spread tells, and no promise stands on it. Where the
    statistic has Bonferroni's distance it is never below that while there are hardly any blocks. Never below
    `min_effect`: a shift too small to matter is no drift.

    Parameters
    ----------
    same_size
        Whether the blocks have a window's size; smaller ones are cautious but promise no rate.
    fallback_distance
        What stands in while there are hardly any blocks; None for a statistic whose distribution nobody knows.
    highest
        Largest value that the statistic can have; infinite where there is none, None where chance often gives exactly
        0, which has no logarithm.

    Returns
    -------
    Threshold
        None if there are hardly any blocks and nothing stands in: then nothing can be said.
    """
    blocks = np.sort(np.asarray(statistics, dtype=np.float64))
    needed = _round_up(1.0 / p)
    n = len(blocks)
    if same_size and n >= needed:
        # A window exceeds the k-th smallest of b exchangeable blocks with probability 1 - k/(b + 1).
        place = _round_up((n + 1) * (1.0 - p))
        distance = max(float(blocks[place - 1]), min_effect)
        return Threshold(
            distance, True, "Calibrated", f"{n} blocks of the reference", n, 1.0 - place / (n + 1)
        )
    if n < FEWEST_BLOCKS and fallback_distance is None:
        return None
    distance, how = float(blocks.max()) if n else 0.0, "the widest of them or their spread decides"
    # Smaller blocks than a window are wider as it is.
    if n >= MIN_BLOCKS or fallback_distance is None or (same_size and n > FEWEST_BLOCKS):
        distance = max(distance, _widen(blocks, p, highest))
    if n < MIN_BLOCKS and fallback_distance is not None:
        distance, how = max(distance, fallback_distance), f"a Bonferroni test, {how}"
    what = "blocks of a window's size" if same_size else "blocks, smaller than a window"
    return Threshold(
        max(distance, min_effect),
        calibrated=False,
        reason="TooFewReferenceBlocks",
        message=f"the reference holds {n} {what}, falseAlarmEvery needs {needed}; {how}",
        blocks=n,
        false_breach_rate=1.0 / (n + 1) if same_size and n >= MIN_BLOCKS else None,
    )


def _widen(blocks: Floats, p: float, highest: float | None) -> float:
    """What another block exceeds with `p` if they are normal: mean + t sd sqrt(1 + 1/n), at most mean + 3 sd.

    On the logit scale where the statistic has an upper end and on the logarithm's where it has none. Student's t with
    n - 1 degrees, since the spread of a few blocks is itself uncertain (the prediction interval of a normal sample).
    """
    n = len(blocks)
    deviations = min(float(stdtrit(n - 1, 1.0 - p)) * math.sqrt(1.0 + 1.0 / n), MOST_STANDARD_DEVIATIONS)
    if highest is None:
        return float(blocks.mean() + deviations * blocks.std(ddof=1))
    if math.isinf(highest):
        on_log = np.log(np.maximum(blocks, SMALLEST_SHARE))
        return float(np.exp(on_log.mean() + deviations * on_log.std(ddof=1)))
    on_logit = logit(np.clip(blocks / highest, SMALLEST_SHARE, 1 - SMALLEST_SHARE))
    return highest * float(expit(on_logit.mean() + deviations * on_logit.std(ddof=1)))


def _round_up(number: float) -> int:
    return math.ceil(number - TOLERANCE)
