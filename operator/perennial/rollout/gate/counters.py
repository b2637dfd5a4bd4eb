"""Turn counters that restart and vanish into differences that are each counted once.

A router's counters start at zero with every Envoy, and disappear with every router pod. The gate
must see each request at most once all the same: an error counted twice is a false alarm. So beside
the gate's state stands, per router pod, the highest value already counted. Counters come in pairs:
how many there were, and how many of those were bad.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CounterKey = tuple[str, str, str]
"""Router pod, epoch of its counters, revision."""

MAX_PODS = 24
"""Router pods remembered; those in the current reading are always kept. Two revisions make 96 marks of them."""

MAX_EPOCHS_PER_POD = 2


@dataclass(frozen=True, slots=True)
class Counts:
    """Finished requests, and those of them that failed; or clients, or predictions, and the bad ones among them."""

    requests: int = 0
    errors: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.requests + other.requests, self.errors + other.errors)


@dataclass(frozen=True, slots=True)
class CounterMark:
    """What has been counted of one revision on one router pod in one epoch."""

    pod: str
    epoch: str
    revision: str
    requests: int
    errors: int


def accumulate(
    marks: tuple[CounterMark, ...], reading: Mapping[CounterKey, Counts], *, distinct: bool = False
) -> tuple[tuple[CounterMark, ...], dict[str, Counts]]:
    """Return the new marks, and what came in per revision since the old ones.

    Called once per look with what every reachable router reports. Start an analysis with
    ``accumulate((), reading)``: a pod never seen before only sets its marks, since its counters may
    hold requests from long before the analysis. On a known pod a new epoch, or a revision that is
    new to its epoch, has started at zero and counts in full. A value below its mark (a repeated or
    late reading) counts nothing.

    A pod that can't be reached keeps its marks, so that its return counts only what is new. Pods
    are forgotten as a whole, longest unseen first: with half its marks gone, the other half would
    make a returning pod look as if it had started at zero.

    Parameters
    ----------
    marks
        As returned by the last call, least recently seen pod first; ``()`` at the start.
    reading
        The routers' counters by pod, epoch and revision.
    distinct
        Whether they count distinct clients since the attempt began. Then a pod never seen before counts
        in full, a new epoch goes on where the last one was, and a client may turn bad long after it was
        counted: the bad ones are at most all that were counted, not at most those of the same look.

    Examples
    --------
    >>> marks, _ = accumulate((), {("router-a", "e1", "wine-1"): Counts(1000, 10)})
    >>> marks, new = accumulate(marks, {("router-a", "e1", "wine-1"): Counts(1040, 11)})
    >>> new
    {'wine-1': Counts(requests=40, errors=1)}
    >>> marks, new = accumulate(marks, {("router-a", "e2", "wine-1"): Counts(7, 0)})
    >>> new
    {'wine-1': Counts(requests=7, errors=0)}
    """
    known_pods = {mark.pod for mark in marks}
    by_key: dict[CounterKey, CounterMark] = {(m.pod, m.epoch, m.revision): m for m in marks}
    levels = {(m.pod, m.revision): m for m in marks} if distinct else {}
    new: dict[str, Counts] = {}
    for key, counts in reading.items():
        pod, epoch, revision = key
        # Removed and inserted again: the dictionary's order is the order of last sight.
        mark = by_key.pop(key, None) or levels.get((pod, revision))
        if pod not in known_pods and not distinct:
            by_key[key] = CounterMark(pod, epoch, revision, counts.requests, counts.errors)
            continue
        counted = Counts(mark.requests, mark.errors) if mark else Counts()
        delta = _increase(counted, counts, held_by=counted.requests - counted.errors if distinct else 0)
        counted += delta
        by_key[key] = CounterMark(pod, epoch, revision, counted.requests, counted.errors)
        new[revision] = new.get(revision, Counts()) + delta
    seen_pods = {pod for pod, _, _ in reading}
    return _bounded(tuple(by_key.values()), seen_pods), new


def _increase(counted: Counts, counts: Counts, *, held_by: int) -> Counts:
    """Return what is new; errors never exceed requests, since the two are not read in one instant.

    An error held back stays below the mark and is counted at the next look. `held_by` is how many of those
    counted earlier may still turn bad.
    """
    requests = max(0, counts.requests - counted.requests)
    errors = max(0, counts.errors - counted.errors)
    return Counts(requests, min(errors, requests + held_by))


def _bounded(marks: tuple[CounterMark, ...], seen_pods: set[str]) -> tuple[CounterMark, ...]:
    """Forget the pods unseen for longest, and the oldest epochs of the others."""
    epochs: dict[str, list[str]] = {}
    for mark in reversed(marks):
        known = epochs.setdefault(mark.pod, [])
        if mark.epoch not in known:
            known.append(mark.epoch)
    vanished = [pod for pod in epochs if pod not in seen_pods]
    kept = seen_pods | set(vanished[: max(0, MAX_PODS - len(seen_pods))])
    return tuple(m for m in marks if m.pod in kept and m.epoch in epochs[m.pod][:MAX_EPOCHS_PER_POD])
