"""Judge a number that Prometheus answers; no answer is neither good nor bad."""

from datetime import datetime, timedelta

from perennial_api.modeldeployment.analysis import PrometheusMetric
from perennial_api.modeldeployment.gate_status import GateDecision, GateMetric

from perennial.rollout.observed import Reading

__all__ = ["NO_READING", "READINGS_TO_FAIL", "judge_reading", "take_reading", "within_bounds"]

NO_READING = "NoReading"
READINGS_TO_FAIL = 2
"""Answers in a row that must be out of bounds: one alone may be a scrape that went wrong."""


def within_bounds(bounds: PrometheusMetric, value: float) -> bool:
    """Whether a number keeps the bounds; the bounds themselves are good."""
    return not (
        (bounds.min is not None and value < bounds.min) or (bounds.max is not None and value > bounds.max)
    )


def take_reading(
    found: GateMetric,
    bounds: PrometheusMetric,
    reading: Reading | None,
    *,
    interval_s: float,
    count_from: datetime,
    now: datetime,
) -> GateMetric:
    """Return the metric's state with the latest answer.

    Answers from before `count_from`, when the weight had settled, are forgotten, since they describe what was
    before. One sooner than an interval after the last is left out: it may well be the same scrape. A missing answer
    breaks a row.
    """
    if found.read_at is not None and found.read_at < count_from:
        found = GateMetric(name=found.name)
    if reading is None:
        return found
    at = reading.at or now
    if at < count_from or (found.read_at is not None and at - found.read_at < timedelta(seconds=interval_s)):
        return found
    if reading.value is None:
        why = f"{found.name} can't be read: {reading.message}"
        return GateMetric(name=found.name, reason=reading.reason or NO_READING, message=why, read_at=at)
    same = found.value is not None and within_bounds(bounds, found.value) == within_bounds(
        bounds, reading.value
    )
    return GateMetric(
        name=found.name, value=reading.value, readings=found.readings + 1 if same else 1, read_at=at
    )


def judge_reading(name: str, bounds: PrometheusMetric, found: GateMetric) -> tuple[GateDecision, str, str]:
    """Return decision, reason and message on the answers so far."""
    if found.value is None:
        why = found.message or f"{name}: Prometheus hasn't been asked yet."
        return GateDecision.INCONCLUSIVE, found.reason or NO_READING, why
    if within_bounds(bounds, found.value):
        return GateDecision.SUCCESSFUL, "WithinBounds", f"{name}: {found.value:g} is {_describe(bounds)}."
    text = f"{name}: {found.value:g} is not {_describe(bounds)}"
    if found.readings < READINGS_TO_FAIL:
        return GateDecision.INCONCLUSIVE, "OutOfBoundsOnce", f"{text}; one more such answer fails."
    return GateDecision.FAILED, "OutOfBounds", f"{text}, {found.readings} times in a row."


def _describe(bounds: PrometheusMetric) -> str:
    if bounds.max is None:
        return f"at least {bounds.min:g}"
    if bounds.min is None:
        return f"at most {bounds.max:g}"
    return f"between {bounds.min:g} and {bounds.max:g}"
