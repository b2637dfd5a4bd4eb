"""What the routers' counters say about the load of a revision.

One reading of the requests under way is noise, and counters of finished requests tell a rate only by two readings. So
a few readings are kept in memory. They may be lost: until there are enough of them again nothing scales.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from perennial_api.modeldeployment.server import ScaleMetric

from perennial.rollout.observed import RouterCounters, RouterView

__all__ = ["Load", "Sample", "measure_load"]


@dataclass(frozen=True, slots=True)
class Sample:
    """All routers at one moment of a monotonic clock."""

    at_s: float
    routers: tuple[RouterView, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every router that takes traffic, at least one, has answered."""
        ready = [router for router in self.routers if router.ready]
        return bool(ready) and all(router.reachable for router in ready)


@dataclass(frozen=True, slots=True)
class Load:
    """A revision's load in the metric's unit; where a router's part is missing, it is at least that much."""

    value: float
    is_complete: bool = True


def measure_load(
    metric: ScaleMetric, samples: Sequence[Sample], revision: str, *, least_span_s: float
) -> Load | None:
    """Return the mean load over the samples, or None while they span less than `least_span_s`.

    Parameters
    ----------
    metric
        Concurrency (requests under way) or Rps (finished requests a second).
    samples
        The latest ones, oldest first.
    """
    if not samples:
        return None
    span_s = samples[-1].at_s - samples[0].at_s
    if span_s <= 0 or span_s < least_span_s:
        return None
    is_complete = all(sample.is_complete for sample in samples)
    if metric is ScaleMetric.RPS:
        finished = sum(_finished_between(a, b, revision) for a, b in itertools.pairwise(samples))
        return Load(finished / span_s, is_complete)
    active = sum(counters.active for sample in samples for _, counters in _counters(sample, revision))
    return Load(active / len(samples), is_complete)


def _finished_between(earlier: Sample, later: Sample, revision: str) -> int:
    """Count what was finished between two readings.

    A router's counters start at zero with each epoch. What a router counted before it was first read isn't known to
    belong to this moment, and counts nothing.
    """
    known = {router.pod for router in earlier.routers if router.reachable}
    before = {
        (router.pod, router.epoch): counters.requests for router, counters in _counters(earlier, revision)
    }
    return sum(
        max(0, counters.requests - before.get((router.pod, router.epoch), 0))
        for router, counters in _counters(later, revision)
        if router.pod in known
    )


def _counters(sample: Sample, revision: str) -> list[tuple[RouterView, RouterCounters]]:
    """Return the counters of one revision, of routers on their way out, too: they still carry requests."""
    return [
        (router, router.counters[revision])
        for router in sample.routers
        if router.reachable and revision in router.counters
    ]
