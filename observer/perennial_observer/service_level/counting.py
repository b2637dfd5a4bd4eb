"""Turn the routers' counters, which restart and vanish, into requests that are each counted once. Pure.

A router's counters start at zero with its Envoy, and a revision's alone where the revision left and came back; they end
with the pod. So beside a deployment's counts stands what each router had counted when it last answered.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Mark", "News", "RouterReading", "Tally", "count"]

MAX_PODS = 24
"""Routers remembered while they don't answer; those that do are always kept."""

MAX_MISSING = 64
"""Sources of one router remembered while it doesn't name them; those that it names are always kept."""


class Tally(BaseModel):
    """Finished requests, those of them that failed, and those that were slow."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    requests: int = Field(default=0, ge=0)
    failed: int = Field(default=0, ge=0)
    slow: int = Field(default=0, ge=0)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            requests=self.requests + other.requests,
            failed=self.failed + other.failed,
            slow=self.slow + other.slow,
        )

    def since(self, mark: "Tally") -> "Tally":
        """Return what came in after `mark`; a counter below it has started anew, and counts in full."""
        return Tally(
            requests=_increase(mark.requests, self.requests),
            failed=_increase(mark.failed, self.failed),
            slow=_increase(mark.slow, self.slow),
        )


class Mark(BaseModel):
    """What one router had counted of one deployment when it last answered.

    Parameters
    ----------
    epoch
        Changes whenever its counters start at zero.
    seen_at
        Seconds since the epoch.
    counters
        By source: a revision, or the empty name for requests that no server was ready to take.
    """

    model_config = ConfigDict(frozen=True)

    epoch: str
    seen_at: float
    counters: dict[str, Tally]


@dataclass(frozen=True)
class RouterReading:
    """One router's answer, as far as it concerns one deployment."""

    pod: str
    epoch: str
    counters: Mapping[str, Tally]


@dataclass(frozen=True)
class News:
    """What one router has counted since it last answered, at `since`."""

    since: float
    tally: Tally


def count(
    marks: Mapping[str, Mark], readings: tuple[RouterReading, ...], *, now: float
) -> tuple[dict[str, Mark], tuple[News, ...]]:
    """Return the new marks by pod, least recently seen first, and what came in since the old ones.

    `readings` must be younger than the marks: a counter that is lower than its mark is taken for one that has started
    anew. A pod never seen before only sets its mark, since its counters may hold requests from long ago. A source that an
    answer lacks keeps its mark in the same epoch: were it to come back as it was, all its requests would count again.

    Examples
    --------
    >>> at = lambda epoch, n: (RouterReading("router-a", epoch, {"wine-1": Tally(requests=n)}),)
    >>> marks, _ = count({}, at("e1", 1000), now=0.0)
    >>> marks, news = count(marks, at("e1", 1040), now=15.0)
    >>> news
    (News(since=0.0, tally=Tally(requests=40, failed=0, slow=0)),)
    >>> marks, news = count(marks, at("e2", 7), now=30.0)
    >>> news
    (News(since=15.0, tally=Tally(requests=7, failed=0, slow=0)),)
    """
    answered = {reading.pod for reading in readings}
    silent = {pod: mark for pod, mark in marks.items() if pod not in answered}
    kept = dict(list(silent.items())[-MAX_PODS:])
    news = []
    for reading in readings:
        mark = marks.get(reading.pod)
        counted = mark.counters if mark is not None and mark.epoch == reading.epoch else {}
        missing = [(source, tally) for source, tally in counted.items() if source not in reading.counters]
        counters = {**dict(missing[-MAX_MISSING:]), **reading.counters}
        kept[reading.pod] = Mark(epoch=reading.epoch, seen_at=now, counters=counters)
        if mark is None:
            continue
        tally = sum(
            (tally.since(counted.get(source, Tally())) for source, tally in reading.counters.items()), Tally()
        )
        if tally != Tally():
            news.append(News(mark.seen_at, tally))
    return kept, tuple(news)


def _increase(mark: int, value: int) -> int:
    return value - mark if value >= mark else value
