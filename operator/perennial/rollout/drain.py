"""Take a revision out of service: weight 0 on every router, last requests, then route, then pods."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from perennial_api.modeldeployment.status import Draining

from perennial.rollout.observed import Observed
from perennial.rollout.settings import RolloutSettings

__all__ = ["Drain", "assess_drains"]

MOST_DRAINING = 18


@dataclass(frozen=True, slots=True)
class Drain:
    """Where the revisions that leave stand.

    Attributes
    ----------
    entries
        For the status.
    routed
        Those that keep a route entry of weight 0, so that requests under way end well.
    keep
        Those whose pods must stay.
    gone
        Those whose pods may go in this pass.
    requeue_after_s
        When the next one is due, or None.
    """

    entries: tuple[Draining, ...] = ()
    routed: frozenset[str] = frozenset()
    keep: frozenset[str] = frozenset()
    gone: tuple[str, ...] = ()
    requeue_after_s: float | None = None


def assess_drains(
    previous: Iterable[Draining],
    leaving: Iterable[str],
    observed: Observed,
    settings: RolloutSettings,
    now: datetime,
    *,
    delay_s: float,
) -> Drain:
    """Decide for each leaving revision whether it may lose its route entry and its pods.

    `delay_s` is how long pods stay after no router can send them anything new.

    A rollback never waits for this: the weights are decided before. An entry's time starts only when no router can
    send a new request any more, since a router that lags would otherwise answer errors from missing pods.
    """
    times = {entry.revision: entry.zero_applied_at for entry in previous}
    entries: list[Draining] = []
    in_order = sorted(leaving)
    routed, keep, gone, waits = set[str](), set(in_order[MOST_DRAINING:]), list[str](), list[float]()
    for revision in in_order[:MOST_DRAINING]:
        left_at = times.get(revision) or (now if observed.has_left(revision) else None)
        entry = Draining(revision=revision, zero_applied_at=left_at)
        in_route = observed.route is not None and revision in observed.route.weights
        if left_at is None or not _is_drained(revision, left_at, observed, settings, now, delay_s=delay_s):
            entries.append(entry)
            keep.add(revision)
            if in_route:
                routed.add(revision)
            waits.append(_wait_s(left_at, delay_s, settings, now))
        elif in_route or not observed.has_left(revision):
            # Drained, but some router may still hold its cluster: the entry goes now, the pods in a later pass.
            entries.append(entry)
            keep.add(revision)
            waits.append(settings.verify_interval_s)
        else:
            gone.append(revision)
    return Drain(tuple(entries), frozenset(routed), frozenset(keep), tuple(gone), min(waits, default=None))


def _is_drained(
    revision: str,
    left_at: datetime,
    observed: Observed,
    settings: RolloutSettings,
    now: datetime,
    *,
    delay_s: float,
) -> bool:
    waited_s = (now - left_at).total_seconds()
    if observed.route is None or not observed.routers:
        return True
    if waited_s < delay_s:
        return False
    return observed.active_requests(revision) == 0 or waited_s >= delay_s + settings.drain_timeout_s


def _wait_s(left_at: datetime | None, delay_s: float, settings: RolloutSettings, now: datetime) -> float:
    if left_at is None:
        return settings.verify_interval_s
    due = left_at + timedelta(seconds=delay_s)
    return max(settings.verify_interval_s, (due - now).total_seconds())
