"""Keeps what estimates of performance have learnt, so that each learns once and not with every window."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from perennial_api.modeldeployment.monitoring import EstimatedPerformance, Monitor

from perennial_observer.monitors.estimates.lessons import MOST_LESSONS, Lessons, choose_lessons, lessons_of
from perennial_observer.monitors.estimates.monitor import Learnt, learn
from perennial_observer.monitors.prepared import Prepared
from perennial_observer.monitors.references.beside import Maker, make_here
from perennial_observer.monitors.references.kept import Kept, reckon_bytes
from perennial_observer.monitors.references.sources import Scope
from perennial_observer.monitors.windows.slices import slice_rows
from perennial_observer.store.labelled import read_first
from perennial_observer.store.store import Store

__all__ = ["Learning"]


@dataclass(frozen=True)
class _Kept:
    scope: Scope
    spec: EstimatedPerformance
    learnt: Learnt


class Learning:
    """What monitors have learnt, by uid, revision and name.

    From the reference an estimator learns once. From the log it learns as soon as there are enough labels, again
    whenever they have doubled, and for the last time when the first rows are all there: a few times in all. What had no
    room in memory is learnt again as after a restart: from what is there to learn from then.

    Parameters
    ----------
    max_bytes
        Of what is kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._kept: Kept[tuple[str, str, str], _Kept] = Kept(max_bytes)

    def find(
        self,
        store: Store,
        scope: Scope,
        monitor: Monitor,
        prepared: Prepared | None,
        *,
        now: float,
        classes: Sequence[Any] = (),
        make: Maker = make_here,
    ) -> Learnt | None:
        """Return what a monitor has learnt, learning first if there is something new to learn from.

        Parameters
        ----------
        prepared
            The reference, if there is one.
        now
            Event time of the window that is judged.
        classes
            As the bundle has them, see `find_classes`.
        make
            Makes what takes long.

        Raises
        ------
        Preparing
            While it learns.
        """
        assert monitor.estimated_performance is not None, "the API demands it"
        key = (scope.key.uid, scope.revision, monitor.name)
        # The bounds change nothing of what is learnt.
        spec = monitor.estimated_performance.model_copy(update={"min": None, "max": None})
        kept = self._kept.get(key)
        if kept is not None and (kept.scope, kept.spec) != (scope, spec):
            kept = None
        if kept is not None and kept.learnt.is_final:
            return kept.learnt
        lessons = lessons_of(prepared.reference, spec.labels) if prepared is not None else None
        if lessons is None:
            lessons = _read_log(store, scope, spec, now)
        if lessons is None or (kept is not None and not _is_worth_it(lessons, kept.learnt)):
            return kept.learnt if kept is not None else None
        encoder = prepared.encoder if prepared is not None else None
        about = (lessons.source, len(lessons.rows), lessons.is_final)
        learnt = make(("learnt", key, scope, spec, about), lambda: learn(lessons, spec, encoder, classes))
        self._kept.put(key, _Kept(scope, spec, learnt), reckon_bytes(learnt))
        return learnt

    def keep_only(self, in_force: AbstractSet[tuple[str, str]]) -> None:
        """Drop what was learnt for (uid, revision) pairs that are not in force any more."""
        self._kept.keep_only(lambda key: key[:2] in in_force)


def _read_log(store: Store, scope: Scope, spec: EstimatedPerformance, now: float) -> Lessons | None:
    until = now - spec.labels.maturity.seconds
    with store.read() as connection:
        rows = read_first(connection, scope.key.uid, scope.revision, until=until, limit=MOST_LESSONS)
    of_slice = slice_rows(scope.condition, rows)
    return choose_lessons(of_slice, spec.labels, is_final=len(rows) == MOST_LESSONS)


def _is_worth_it(new: Lessons, old: Learnt) -> bool:
    return new.is_final or len(new.rows) >= 2 * old.count
