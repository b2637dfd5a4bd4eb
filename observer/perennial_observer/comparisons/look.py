"""One look at what was logged since the last: count it for the comparisons that are on. A thread of its own runs it.

The log is followed by id, all deployments at once, so that ingest does nothing for comparisons and a look costs what has
come since the last one.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from perennial_api import ModelDeployment
from perennial_api.arms import Arm
from perennial_api.modeldeployment.monitoring import MonitorType, Outlier
from sqlalchemy import Connection

from perennial_observer.comparisons import records
from perennial_observer.comparisons.changes import Changes, DeploymentChanges, write_changes
from perennial_observer.comparisons.counting import PAIR_WAIT_S, Counting, FlagRows
from perennial_observer.comparisons.judging import LabelRule, find_performance, read_rule
from perennial_observer.comparisons.lifecycle import (
    RECENT_S,
    Change,
    Situation,
    choose_arms,
    decide,
    read_attempt,
    stays_on,
)
from perennial_observer.comparisons.records import Comparison, Cursor, NewRow, NewShadow
from perennial_observer.comparisons.tally import Tally
from perennial_observer.errors import DetectorFailure, DetectorUnavailable
from perennial_observer.ingest.event_time import EventTimes
from perennial_observer.monitors.looks.assessors import Assessors, MissingReference, Scope
from perennial_observer.registry import Registry, key_of
from perennial_observer.settings import Settings
from perennial_observer.store.reads import read_counts
from perennial_observer.store.references import read_reference
from perennial_observer.store.store import Store

__all__ = ["Comparer"]

_LOG = logging.getLogger(__name__)

ROWS_PER_STEP = 5_000
STEPS_PER_LOOK = 20
WRITE_TIMEOUT_S = 60.0
BLIND_S = 30.0


@dataclass(frozen=True)
class _News:
    """What has come for one deployment."""

    rows: list[NewRow] = field(default_factory=list)
    shadows: list[NewShadow] = field(default_factory=list)
    labelled: set[str] = field(default_factory=set)

    @property
    def answers(self) -> list[tuple[str, float]]:
        """Who has answered, live or mirrored, and when it arrived."""
        return [(r.revision, r.arrival) for r in self.rows] + [(s.revision, s.arrival) for s in self.shadows]


@dataclass
class Comparer:
    """Keeps the comparisons' counts.

    Parameters
    ----------
    assessors
        Its own, since another thread uses the monitors'.
    clock
        Seconds since the epoch.
    """

    store: Store
    registry: Registry
    assessors: Assessors
    event_times: EventTimes
    settings: Settings
    clock: Callable[[], float] = time.time
    arms: dict[str, tuple[Arm, ...]] = field(default_factory=dict)
    _cursor: Cursor | None = None
    # Whether memory is what is stored.
    _is_known: bool = False
    _comparisons: dict[int, Comparison] = field(default_factory=dict)
    _uids: dict[int, str] = field(default_factory=dict)
    _recent: dict[int, dict[str, float]] = field(default_factory=dict)
    _tasks: dict[tuple[str, str], str] = field(default_factory=dict)
    _blind_until: float = 0.0

    def look(self) -> dict[str, tuple[Arm, ...]]:
        """Count what has come since the last look; return the arms by the deployment's uid."""
        for _ in range(STEPS_PER_LOOK):
            if self._step():
                break
        self.assessors.keep_only({(uid, arm.revision) for uid, arms in self.arms.items() for arm in arms})
        return self.arms

    def _step(self) -> bool:
        """Count a bounded number of rows; whether that was all there is."""
        now = self.clock()
        is_known, self._is_known = self._is_known, False
        with self.store.read() as connection:
            cursor = self._cursor if is_known and self._cursor else self._begin(connection, now)
            rows = records.read_new_rows(connection, cursor.prediction, ROWS_PER_STEP)
            labels = records.read_labelled_ids(connection, cursor.feedback, ROWS_PER_STEP)
            shadows = records.read_new_shadows(connection, ROWS_PER_STEP)
            news = _sort(rows, labels, shadows)
            self._notice(connection, news, now)
            cursor = Cursor(
                rows[-1].id if rows else cursor.prediction, labels[-1][0] if labels else cursor.feedback
            )
            changes = Changes(cursor)
            for deployment_id in sorted(self._comparisons.keys() | news.keys()):
                self._count(connection, deployment_id, news.get(deployment_id, _News()), changes, now)
        old = {row.id for row in shadows if row.arrival < now - PAIR_WAIT_S}
        changes.shadows_done |= old
        changes.shadows_counted -= changes.shadows_done
        if changes.deployments or changes.shadows_done:
            self._write(changes)
        self._cursor = cursor
        is_all = max(len(rows), len(labels)) < ROWS_PER_STEP
        self._take_over(changes, until=now if is_all or not rows else rows[-1].arrival)
        self._is_known = True
        return is_all

    def _write(self, changes: Changes) -> None:
        """Write, or raise, with nothing written as a rule.

        Where the database went away in the middle of a commit nobody knows. So whatever ends a step, the next one reads
        what is stored: tallies of before a commit that was one would lose what it had counted.
        """
        future = self.store.writer.submit(partial(write_changes, changes=changes), 0)
        try:
            future.result(WRITE_TIMEOUT_S)
        except TimeoutError:
            if future.cancel():
                raise
            # Its turn has come: the writer is at it, and ends it one way or the other.
            future.result()

    def _begin(self, connection: Connection, now: float) -> Cursor:
        """Go on where the last process, or a step that failed, stopped; with nothing on, start at the log's end."""
        self._comparisons = records.read_comparisons(connection)
        for key, kept in self._comparisons.items():
            self._recent.setdefault(key, dict.fromkeys(kept.arms, now))
        self._uids |= records.find_uids(connection, self._comparisons)
        before = self._cursor
        newest = before is None and not self._comparisons
        stored = records.read_cursor(connection, newest=newest) or Cursor(0, 0)
        if before is None:
            return stored
        # What is stored lags behind where nothing of a step was to be kept, and is ahead if the failed one was committed.
        return Cursor(max(stored.prediction, before.prediction), max(stored.feedback, before.feedback))

    def _notice(self, connection: Connection, news: Mapping[int, _News], now: float) -> None:
        """Remember who has answered lately."""
        self._uids |= records.find_uids(connection, news.keys() - self._uids.keys())
        for deployment_id, came in news.items():
            recent = self._recent.setdefault(deployment_id, {})
            for revision, arrival in came.answers:
                recent[revision] = max(recent.get(revision, arrival), arrival)
        for deployment_id, recent in list(self._recent.items()):
            kept = {revision: at for revision, at in recent.items() if at > now - RECENT_S}
            self._recent[deployment_id] = kept
            if not kept:
                del self._recent[deployment_id]

    def _count(
        self, connection: Connection, deployment_id: int, news: _News, changes: Changes, now: float
    ) -> None:
        """Count one deployment's news, if it is being compared."""
        running = self._comparisons.get(deployment_id)
        deployment = self.registry.get(self._uids.get(deployment_id, ""))
        change = Change.END if deployment is None else self._decide(deployment_id, deployment, news)
        if deployment is None or change is Change.END:
            if running is not None:
                changes.deployments[deployment_id] = DeploymentChanges(None)
            return
        if change is Change.BEGIN:
            arrivals = [arrival for _, arrival in news.answers]
            arms = {revision: Tally() for revision in choose_arms(self._recent[deployment_id])}
            running = Comparison(read_attempt(deployment), min(arrivals, default=now), arms)
        if running is None:
            return
        rule = self._rule(connection, deployment)
        begins = change is Change.BEGIN
        counting = Counting(connection, deployment_id, deepcopy(running), begins, rule)
        counting.count_requests(news.rows, self._find_flag(deployment, now))
        counting.count_labels(news.labelled)
        counting.settle(self._settled_until(connection, deployment, rule, now))
        counting.count_shadows(news.shadows)
        changes.shadows_counted |= {row.id for row in news.shadows if row.state == records.NEW}
        changes.shadows_done |= counting.paired
        if begins or counting.comparison != running or counting.changes.has_units:
            changes.deployments[deployment_id] = counting.changes

    def _decide(self, deployment_id: int, deployment: ModelDeployment, news: _News) -> Change:
        running = self._comparisons.get(deployment_id)
        situation = Situation(
            attempt=read_attempt(deployment),
            stays_on=stays_on(deployment),
            answering={revision for revision, _ in news.answers},
            recent=self._recent.get(deployment_id, {}).keys(),
        )
        return decide(None if running is None else (running.attempt, running.arms.keys()), situation)

    def _rule(self, connection: Connection, deployment: ModelDeployment) -> LabelRule:
        task = None
        rollout = deployment.status.rollout
        if rollout is not None and rollout.stable is not None:
            place = (deployment.metadata.uid, rollout.stable)
            if place not in self._tasks and find_performance(deployment) is None:
                reference = read_reference(connection, *place)
                if reference is not None:
                    self._tasks[place] = reference.task
            task = self._tasks.get(place)
        return read_rule(deployment, task)

    def _settled_until(
        self, connection: Connection, deployment: ModelDeployment, rule: LabelRule, now: float
    ) -> float:
        """Event time up to which nothing is waited for, by the clock or, in event time, by the latest event."""
        key = key_of(deployment)
        time_s = now
        if not self.event_times.is_arrival(key):
            latest = read_counts(connection, key.uid).latest_event
            time_s = now if latest is None else latest
        return time_s - (self.settings.pending_label_s if rule.maturity_s is None else rule.maturity_s)

    def _find_flag(self, deployment: ModelDeployment, now: float) -> FlagRows | None:
        """Return what tells a revision's odd inputs by its own reference; None without an Outlier monitor."""
        monitors = deployment.spec.monitoring.monitors
        monitor = next((m for m in monitors if m.type is MonitorType.OUTLIER), None)
        if monitor is None or now < self._blind_until:
            return None
        spec = monitor.outlier or Outlier()

        def flag(revision: str, inputs: Sequence[Mapping[str, Any]]) -> Sequence[bool] | None:
            scope = Scope.of(deployment, revision)
            try:
                return [bool(odd) for odd in self.assessors.flag_outliers(scope, spec, inputs)]
            except MissingReference:
                return None
            except (DetectorUnavailable, DetectorFailure) as error:
                # Counts must stay fresh: detectors that hang are left alone for a while.
                self._blind_until = now + BLIND_S
                _LOG.warning("requests not judged reason=%s message=%s", error.reason, error.message)
                return None

        return flag

    def _take_over(self, changes: Changes, *, until: float) -> None:
        for deployment_id, change in changes.deployments.items():
            if change.comparison is None:
                self._comparisons.pop(deployment_id, None)
            else:
                self._comparisons[deployment_id] = change.comparison
        self.arms = {
            self._uids[deployment_id]: tuple(
                tally.to_arm(revision, since=kept.since, until=until)
                for revision, tally in sorted(kept.arms.items())
            )
            for deployment_id, kept in self._comparisons.items()
        }


def _sort(
    rows: Sequence[NewRow], labels: Sequence[tuple[int, int, str]], shadows: Sequence[NewShadow]
) -> dict[int, _News]:
    """Sort what has come by deployment."""
    news: dict[int, _News] = {}
    for row in rows:
        news.setdefault(row.deployment_id, _News()).rows.append(row)
    for shadow in shadows:
        news.setdefault(shadow.deployment_id, _News()).shadows.append(shadow)
    for _, deployment_id, prediction_id in labels:
        news.setdefault(deployment_id, _News()).labelled.add(prediction_id)
    return news
