"""Stop a canary that fails most of its requests, before any statistics."""

from collections.abc import Iterable

from perennial_api.modeldeployment.analysis import Metric, MetricType
from perennial_api.modeldeployment.gate_status import Gate, MetricCounts

from perennial.rollout.gate.collect import count_routers

__all__ = ["BREAKER_REQUESTS", "BREAKER_SHARE", "BREAKER_TIMES", "trip"]

BREAKER_SHARE = 0.5
BREAKER_REQUESTS = 20
BREAKER_TIMES = 3.0
"""With two, chance alone would trip it in one of a hundred rollouts where both revisions fail every third request."""


def trip(gate: Gate, metrics: Iterable[Metric]) -> tuple[str, str] | None:
    """Return the name of the metric and why the breaker trips, or None.

    It looks at the requests since the weight last changed. Where the canary's share is not more than three times
    what maxRatio allows it beside the stable revision's, the cause is not the canary alone; where the stable revision
    has no traffic there is nothing that could excuse the canary. An ErrorRate in dry run switches it off. Where a
    client keeps its revision, one client that always fails is no gross failure: clients are counted then.
    """
    errors = [metric for metric in metrics if metric.type is MetricType.ERROR_RATE]
    if errors and all(metric.dry_run for metric in errors):
        return None
    deciding = next((metric for metric in errors if not metric.dry_run), None)
    name, max_ratio = (deciding.name, deciding.max_ratio) if deciding else ("", 1.0)
    canary, stable, counted = gate.recent_canary, gate.recent_stable, "requests"
    least = BREAKER_REQUESTS
    if gate.by_client:
        found = next((m for m in gate.metrics if m.name == name), None)
        if found is None:
            return None
        canary, stable, counted = found.canary, found.stable, "clients"
        least *= count_routers(gate.routers)
    if canary.total < least or canary.bad <= BREAKER_SHARE * canary.total:
        return None
    if _share(canary) <= BREAKER_TIMES * max_ratio * _share(stable):
        return None
    against = f"{stable.bad} of {stable.total}" if stable.total else "none, for want of traffic,"
    text = f"{canary.bad} of {canary.total} {counted} to the canary failed, and {against} to the stable revision."
    return name, text


def _share(counts: MetricCounts) -> float:
    return counts.bad / counts.total if counts.total else 0.0
