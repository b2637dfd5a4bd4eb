"""The verdict on one window, in words: what moved, how far, beyond what, and how far the threshold can be trusted. Pure."""

from dataclasses import dataclass

import numpy as np

from perennial_observer.detectors.base import Floats
from perennial_observer.monitors.alarms.verdicts import MAX_FEATURES, Assessment
from perennial_observer.monitors.drift.calibrate import Threshold
from perennial_observer.monitors.drift.methods import Method
from perennial_observer.monitors.drift.yardstick import Caveat

__all__ = ["Found", "conclude"]

# A message names the first few; the verdict's features hold more.
NAMED = 5


@dataclass(frozen=True)
class Found:
    """What a window gave.

    Parameters
    ----------
    moved
        float64 (features,): how far each has moved; NaN for those that aren't watched.
    statistic
        What the threshold is for.
    n
        Rows of the window.
    """

    names: tuple[str, ...]
    moved: Floats
    statistic: float
    n: int


def conclude(found: Found, method: Method, threshold: Threshold | None, caveat: Caveat | None) -> Assessment:
    """Compare with the threshold; without one, say why nothing can be said."""
    ranked = _rank(found)
    if threshold is None:
        return Assessment(
            breached=None,
            reason="TooFewReferenceBlocks",
            message=f"the reference is too small for this detector: it has fewer than two blocks to learn a threshold"
            f" from, and a {method.unit} has none by itself; give a larger reference or take KS",
            samples=found.n,
            statistic=found.statistic,
            calibrated=False,
            calibration="TooFewReferenceBlocks",
            features=ranked[:MAX_FEATURES],
        )
    breached = found.statistic > threshold.distance
    calibrated = threshold.calibrated and caveat is None
    parts = [_describe(found, method, threshold.distance, ranked)]
    if caveat is not None:
        parts.append(f"not calibrated: {caveat.reason}: {caveat.message}")
    elif not calibrated:
        parts.append(f"not calibrated: {threshold.message}")
    restless = [name for name, x in zip(found.names, found.moved, strict=True) if np.isnan(x)]
    if restless:
        parts.append(
            f"not watched, since they change within the reference, hold too few values or aren't for this detector: {restless}"
        )
    return Assessment(
        breached=breached,
        reason="ThresholdExceeded" if breached else "WithinThreshold",
        message="; ".join(parts),
        samples=found.n,
        statistic=found.statistic,
        threshold=threshold.distance,
        calibrated=calibrated,
        calibration=threshold.reason if caveat is None else caveat.reason,
        blocks=threshold.blocks,
        false_breach_rate=threshold.false_breach_rate if caveat is None else None,
        features=ranked[:MAX_FEATURES],
    )


def _rank(found: Found) -> tuple[tuple[str, float], ...]:
    pairs = zip(found.names, found.moved.tolist(), strict=True)
    return tuple(sorted(((name, x) for name, x in pairs if np.isfinite(x)), key=lambda pair: -pair[1]))


def _describe(found: Found, method: Method, distance: float, ranked: tuple[tuple[str, float], ...]) -> str:
    breached = found.statistic > distance
    if not method.by_feature:
        first = ", ".join(f"{name} {x:.3f}" for name, x in ranked[:NAMED])
        where = "over" if breached else "within"
        return (
            f"{method.unit} is {found.statistic:.3f}, {where} the threshold {distance:.3f};"
            f" moved most by KS distance: {first}"
        )
    if not breached:
        return f"no feature moved beyond {distance:.3f} ({method.unit}); {ranked[0][0]} by {ranked[0][1]:.3f}"
    over = [name for name, x in ranked if x > distance]
    named = ", ".join(over[:NAMED]) + (f" and {len(over) - NAMED} more" if len(over) > NAMED else "")
    return f"{named} moved by up to {found.statistic:.3f} ({method.unit}), over the threshold {distance:.3f}"
