"""Say what a warm-up means: its figures, and whether the latency budget is kept."""

from datetime import datetime

from perennial_api.modeldeployment.warmup_status import WarmUp

from perennial.rollout.warmup.measurement import Measurement, quantile

__all__ = ["LARGEST_ERROR_SHARE", "LEAST_REQUESTS", "MARGIN", "assess_warm_up", "skip_warm_up"]

MARGIN = 1.25
"""By what the measured p99 is multiplied before it is compared with the budget.

A p99 of 200 requests is uncertain: its standard error is ``sqrt(p (1 - p) / n) / f(q)`` (David and Nagaraja, Order
Statistics, 3rd edition, section 10.2), which is 13 % of it for log-normal latencies with a sigma of 0.5. Times 1.25 it
lies above the true p99 in at least 95 % of warm-ups for exponential latencies, and for log-normal ones with a sigma up to
0.6; a test simulates it.
"""
LEAST_REQUESTS = 20
"""Fewer answers can't show that a budget is kept; that it isn't they can."""
LARGEST_ERROR_SHARE = 0.5
"""Where more of the requests fail, the latency of the rest says nothing about the model."""


def assess_warm_up(revision: str, measured: Measurement, budget_ms: float | None, at: datetime) -> WarmUp:
    """Return the figures of a warm-up with the verdict.

    Parameters
    ----------
    budget_ms
        `server.latencyBudget` in milliseconds, or None where there is none.
    at
        When it was measured.
    """
    if not measured.latencies_ms:
        text = f"None of {measured.requests} sample requests was answered{_because(measured)}"
        return WarmUp(revision=revision, time=at, requests=0, errors=measured.errors, message=text)
    p50_ms = quantile(measured.latencies_ms, 0.5)
    p99_ms = quantile(measured.latencies_ms, 0.99)
    within = _is_within(measured, p50_ms, p99_ms, budget_ms)
    return WarmUp(
        revision=revision,
        time=at,
        requests=len(measured.latencies_ms),
        errors=measured.errors,
        p50_ms=round(p50_ms, 3),
        p99_ms=round(p99_ms, 3),
        within_budget=within,
        message=_say(revision, measured, (p50_ms, p99_ms), budget_ms, within),
    )


def skip_warm_up(revision: str, why: str, at: datetime) -> WarmUp:
    """Return that a revision couldn't be measured, which is no fault of it."""
    return WarmUp(revision=revision, time=at, message=f"The latency of {revision} was not measured: {why}")


def _is_within(measured: Measurement, p50_ms: float, p99_ms: float, budget_ms: float | None) -> bool | None:
    if budget_ms is None or measured.errors > LARGEST_ERROR_SHARE * measured.requests:
        return None
    if p50_ms > budget_ms:
        return False
    if len(measured.latencies_ms) < LEAST_REQUESTS:
        return None
    return p99_ms * MARGIN <= budget_ms


def _say(
    revision: str,
    measured: Measurement,
    quantiles_ms: tuple[float, float],
    budget_ms: float | None,
    within: bool | None,
) -> str:
    p50_ms, p99_ms = quantiles_ms
    answered = len(measured.latencies_ms)
    text = f"{revision} answered {answered} sample requests with a p50 of {_ms(p50_ms)} and a p99 of {_ms(p99_ms)}"
    if budget_ms is not None:
        with_margin = f"{_ms(p99_ms * MARGIN)} with a margin of {MARGIN - 1:.0%}"
        place = {True: "within", False: "above", None: "not to be compared with"}[within]
        text += f", {with_margin}: {place} the latency budget of {_ms(budget_ms)}"
    text += "."
    if measured.errors:
        text += f" {measured.errors} more failed{_because(measured)}"
    if within is None and budget_ms is not None and answered < LEAST_REQUESTS:
        text += f" Fewer than {LEAST_REQUESTS} answers can't show that the budget is kept."
    return text


def _ms(latency_ms: float) -> str:
    return f"{latency_ms:.3g} ms" if latency_ms < 100 else f"{latency_ms:.0f} ms"  # noqa: PLR2004 - three digits


def _because(measured: Measurement) -> str:
    return f": {measured.first_error}." if measured.first_error else "."
