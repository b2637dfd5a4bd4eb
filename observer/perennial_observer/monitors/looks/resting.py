"""Deployments that are left alone in a look because it would find what the last one found.

Three statements at the beginning of a look tell of all deployments whether anything has changed. One of which something
has is read anew when its turn comes, so nothing is judged by what was read here.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from perennial_api import ModelDeployment

from perennial_observer.errors import ObserverError
from perennial_observer.ingest.event_time import EventTimes
from perennial_observer.monitors.alarms.verdicts import Memory
from perennial_observer.monitors.looks.reports import DeploymentReport, count_log
from perennial_observer.monitors.looks.subjects import Subject
from perennial_observer.monitors.windows.records import read_memory_texts
from perennial_observer.store.reads import read_all_counts
from perennial_observer.store.references import read_reference_digests
from perennial_observer.store.rows import Counts
from perennial_observer.store.store import Store

__all__ = ["Resting"]

_LOG = logging.getLogger(__name__)

_Texts = Mapping[str, str]


@dataclass
class _Left:
    """One deployment that is left alone.

    Parameters
    ----------
    since
        When it was looked at, by the clock.
    texts
        What its monitors remember, as it is stored; None until it has been compared with what the look left behind.
    """

    subject: Subject
    report: DeploymentReport
    since: float
    texts: _Texts | None = None


@dataclass
class Resting:
    """Tells which deployments can be left alone, and what is reported of them then.

    Parameters
    ----------
    clock
        Seconds since the epoch.
    """

    store: Store
    event_times: EventTimes
    clock: Callable[[], float]
    _left: dict[str, _Left] = field(default_factory=dict)
    _counts: Mapping[str, tuple[int, Counts]] = field(default_factory=dict)
    _texts: Mapping[int, _Texts] = field(default_factory=dict)
    _digests: Mapping[tuple[int, str], str] = field(default_factory=dict)

    def begin(self, uids: Collection[str]) -> None:
        """Read what there is of the deployments that were left alone by the last look; the beginning of a look.

        Parameters
        ----------
        uids
            Whose leases are held. The others may be another observer's work by now.

        If the database doesn't answer, none is left alone.
        """
        self._left = {uid: left for uid, left in self._left.items() if uid in uids}
        subjects = [left.subject for left in self._left.values()]
        ids = [s.deployment_id for s in subjects if s.deployment_id is not None]
        awaiting = [
            s.deployment_id for s in subjects if s.rest.awaits_reference and s.deployment_id is not None
        ]
        self._counts, self._texts, self._digests = {}, {}, {}
        if not self._left:
            return
        try:
            with self.store.read() as connection:
                self._counts = read_all_counts(connection, self._left.keys())
                self._texts = read_memory_texts(connection, ids)
                self._digests = read_reference_digests(connection, awaiting)
        except ObserverError as error:
            _LOG.warning("all deployments are looked at reason=%s message=%s", error.reason, error.message)
            self._left = {}

    def find(self, deployment: ModelDeployment) -> DeploymentReport | None:
        """Return what is to be reported of a deployment that can be left alone; None if it is to be looked at."""
        uid = deployment.metadata.uid
        left = self._left.get(uid)
        if left is not None and left.subject.deployment is deployment:
            deployment_id, counts = self._counts.get(uid, (None, Counts()))
            watermark = self.event_times.watermark(left.subject.key, counts.latest_event)
            if (
                deployment_id == left.subject.deployment_id
                and _rows(counts) == _rows(left.report.counts)
                and left.since <= (now := self.clock())
                and not left.subject.rest.is_over(watermark=watermark, now=now)
                and self._has_same_reference(left.subject)
                and self._has_same_memories(left)
            ):
                status = left.report.status.model_copy(update={"log": count_log(counts, watermark)})
                return replace(left.report, counts=counts, status=status)
        self._left.pop(uid, None)
        return None

    def keep(self, subject: Subject, report: DeploymentReport, *, since: float) -> None:
        """Take note of a deployment that has been looked at."""
        if subject.rest.may_rest:
            self._left[subject.key.uid] = _Left(subject, report, since)

    def _has_same_reference(self, subject: Subject) -> bool:
        if not subject.rest.awaits_reference or subject.deployment_id is None or subject.revision is None:
            return True
        return self._digests.get((subject.deployment_id, subject.revision)) == subject.reference_digest

    def _has_same_memories(self, left: _Left) -> bool:
        deployment_id = left.subject.deployment_id
        texts = {} if deployment_id is None else self._texts.get(deployment_id, {})
        if left.texts is None:
            found = {name: Memory.model_validate_json(text) for name, text in texts.items()}
            if found != left.report.memories:
                return False
            left.texts = texts
        return texts == left.texts


def _rows(counts: Counts) -> Counts:
    """What windows depend on: labels alone close none."""
    return replace(counts, labels=0)
