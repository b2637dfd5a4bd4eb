"""Gather what came in of the two revisions since the last look, by what is bad about it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from perennial_api.arms import Arm, Bads
from perennial_api.modeldeployment.gate_status import ArmMark, MetricCounts, RouterMark

from perennial.rollout.gate.counters import CounterMark, Counts, accumulate
from perennial.rollout.observed import RouterCounters, RouterView

__all__ = ["ArmNews", "RouterNews", "collect_arms", "collect_routers", "count_routers"]

_NOTHING = Counts()


@dataclass(frozen=True, slots=True)
class RouterNews:
    """What the routers counted of one revision: requests that failed, were slow or refused, and clients."""

    errors: Counts = _NOTHING
    slow: Counts = _NOTHING
    invalid: Counts = _NOTHING
    clients: Counts = _NOTHING


@dataclass(frozen=True, slots=True)
class ArmNews:
    """What the observer counted of one revision: predictions that are outliers, and labels that say wrong."""

    outliers: Counts = _NOTHING
    labels: Counts = _NOTHING


@dataclass(frozen=True, slots=True)
class _Pair:
    """One pair of a router's counters, where its mark is kept, and whether it counts distinct clients."""

    read: Callable[[RouterCounters], Counts]
    mark: Callable[[RouterMark], Counts]
    distinct: bool = False


_PAIRS = (
    _Pair(lambda c: Counts(c.requests, c.errors), lambda m: Counts(m.requests, m.errors)),
    _Pair(lambda c: Counts(c.requests, c.slow), lambda m: Counts(m.requests, m.slow)),
    _Pair(lambda c: Counts(c.requests, c.invalid), lambda m: Counts(m.requests, m.invalid)),
    _Pair(
        lambda c: Counts(c.users, c.failing_users), lambda m: Counts(m.users, m.failing_users), distinct=True
    ),
)


def collect_routers(
    marks: tuple[RouterMark, ...], routers: Iterable[RouterView], revisions: Iterable[str]
) -> tuple[tuple[RouterMark, ...], dict[str, RouterNews]]:
    """Return the new marks of the routers' counters, and by revision what came in since the old ones."""
    wanted = frozenset(revisions)
    seen = {
        (router.pod, router.epoch, revision): counters
        for router in routers
        if router.reachable
        for revision, counters in router.counters.items()
        if revision in wanted
    }
    counted = [
        accumulate(
            tuple(CounterMark(m.pod, m.epoch, m.revision, *_numbers(pair.mark(m))) for m in marks),
            {key: pair.read(counters) for key, counters in seen.items()},
            distinct=pair.distinct,
        )
        for pair in _PAIRS
    ]
    # The same keys in the same order: which marks are kept depends on the pods alone.
    new_marks = tuple(_to_mark(*four) for four in zip(*(kept for kept, _ in counted), strict=True))
    news = {
        revision: RouterNews(*(new.get(revision, Counts()) for _, new in counted))
        for revision in sorted(wanted)
    }
    return tuple(mark for mark in new_marks if mark.revision in wanted), news


def count_routers(marks: Iterable[RouterMark]) -> int:
    """Return by how many routers clients are counted: one that several of them meet is in the sum as often."""
    return max(1, len({mark.pod for mark in marks}))


def _numbers(counts: Counts) -> tuple[int, int]:
    return counts.requests, counts.errors


def _to_mark(
    errors: CounterMark, slow: CounterMark, invalid: CounterMark, clients: CounterMark
) -> RouterMark:
    return RouterMark(
        pod=errors.pod,
        epoch=errors.epoch,
        revision=errors.revision,
        requests=errors.requests,
        errors=errors.errors,
        slow=slow.errors,
        invalid=invalid.errors,
        users=clients.requests,
        failing_users=clients.errors,
    )


def collect_arms(
    marks: tuple[ArmMark, ...],
    arms: Mapping[str, Arm],
    revisions: Iterable[str],
    *,
    by_client: bool,
    began_at: datetime,
) -> tuple[tuple[ArmMark, ...], dict[str, ArmNews]]:
    """Return the new marks of the observer's counts, and by revision what came in since the old ones.

    Counts that began anew count in full. Those seen for the first time do so only if they began after `began_at`,
    when the revision on trial got its share: older ones are of another comparison. A report that is late or was
    read before counts nothing.
    """
    known = {mark.revision: mark for mark in marks}
    news = {}
    for revision in revisions:
        news[revision] = ArmNews()
        if (arm := arms.get(revision)) is None:
            continue
        seen = ArmNews(*(_to_counts(bads) for bads in _read(arm, by_client=by_client)))
        counted = _counted(known.get(revision), arm.since, seen, began_at)
        if counted is None:
            continue
        news[revision] = ArmNews(
            _increase(counted.outliers, seen.outliers), _increase(counted.labels, seen.labels)
        )
        known[revision] = ArmMark(
            revision=revision,
            since=arm.since,
            outliers=_to_metric(counted.outliers + news[revision].outliers),
            labels=_to_metric(counted.labels + news[revision].labels),
        )
    return tuple(known[revision] for revision in news if revision in known), news


def _counted(mark: ArmMark | None, since: datetime, seen: ArmNews, began_at: datetime) -> ArmNews | None:
    """Return what of these counts is not new, or None where they are older than those counted already."""
    if mark is None:
        return ArmNews() if since >= began_at else seen
    if mark.since == since:
        return ArmNews(_to_counts(mark.outliers), _to_counts(mark.labels))
    return ArmNews() if mark.since < since else None


def _read(arm: Arm, *, by_client: bool) -> tuple[Bads, Bads]:
    return (arm.client_outliers, arm.client_labels) if by_client else (arm.outliers, arm.labels)


def _increase(counted: Counts, seen: Counts) -> Counts:
    total = max(0, seen.requests - counted.requests)
    return Counts(total, min(total, max(0, seen.errors - counted.errors)))


def _to_counts(counts: Bads | MetricCounts) -> Counts:
    return Counts(counts.total, counts.bad)


def _to_metric(counts: Counts) -> MetricCounts:
    return MetricCounts(total=counts.requests, bad=counts.errors)
