"""One look at every deployment's windows: read, judge, store. Synchronous; a thread of its own runs it.

A window and the memory that follows from it are one transaction. Killed before it, the window is judged again with the
same result; killed after it, never again.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from perennial_api import ModelDeployment
from perennial_api.modeldeployment.monitoring import Monitor, MonitorSettings, MonitorType
from perennial_api.monitorreport import MonitorReportStatus, MonitorState, MonitorVerdict
from perennial_api.where import Condition
from sqlalchemy.exc import SQLAlchemyError

from perennial_observer.errors import DetectorFailure, DetectorUnavailable, LeaseLost, ObserverError
from perennial_observer.explaining.explainer import Explainer
from perennial_observer.ingest.event_time import EventTimes
from perennial_observer.monitors.alarms.hindrance import PATIENCE_S, Hindrances
from perennial_observer.monitors.alarms.pace import find_pace
from perennial_observer.monitors.alarms.silence import show_silence, step_silence
from perennial_observer.monitors.alarms.step import step
from perennial_observer.monitors.alarms.verdicts import Assessment, Memory, build_verdict
from perennial_observer.monitors.custom.monitor import NotYetJudged
from perennial_observer.monitors.labels.labelled import maturity_s
from perennial_observer.monitors.looks.assessors import RETRY_S, Assessors, MissingReference, Question, Scope
from perennial_observer.monitors.looks.explaining import explain
from perennial_observer.monitors.looks.flood import judge_flood
from perennial_observer.monitors.looks.next_window import find_next_window
from perennial_observer.monitors.looks.remembering import read_again, refresh_memory
from perennial_observer.monitors.looks.reports import (
    DeploymentReport,
    count_log,
    report_hindrance,
    report_lack,
    report_no_rows,
    report_waiting,
)
from perennial_observer.monitors.looks.resting import Resting
from perennial_observer.monitors.looks.retention import find_retention_lack
from perennial_observer.monitors.looks.row_scores import keep_scores
from perennial_observer.monitors.looks.subjects import Subject, revision_of
from perennial_observer.monitors.looks.transitions import Judged, log_transition
from perennial_observer.monitors.quality.rejections import counts_misfits
from perennial_observer.monitors.references.beside import Preparing
from perennial_observer.monitors.windows.records import (
    forget_monitors,
    read_memories,
    write_hindrance,
    write_memory,
    write_window,
)
from perennial_observer.monitors.windows.slices import (
    UnknownFeature,
    check_columns,
    find_condition,
    find_conditions,
    slice_rows,
)
from perennial_observer.registry import Registry, key_of
from perennial_observer.service_level.burning import LOOK_S
from perennial_observer.service_level.judging import Promised, ServiceLevels
from perennial_observer.settings import Settings
from perennial_observer.store.arrivals import read_latest_arrival
from perennial_observer.store.leases import Leases, SoleOwner
from perennial_observer.store.log import find_deployment_id
from perennial_observer.store.reads import read_counts
from perennial_observer.store.references import read_reference_digests
from perennial_observer.store.store import Store

__all__ = ["Evaluator"]

_LOG = logging.getLogger(__name__)

WRITE_TIMEOUT_S = 60.0
MAX_FAILURE = 300
# Rows that don't fit are judged by the clock, too, once the first has waited long enough.
MISFITS_S = 30.0


@dataclass
class Evaluator:
    """Evaluates closed windows.

    Parameters
    ----------
    clock
        Seconds since the epoch.
    """

    store: Store
    registry: Registry
    assessors: Assessors
    event_times: EventTimes
    settings: Settings
    clock: Callable[[], float] = time.time
    reports: dict[str, DeploymentReport] = field(default_factory=dict)
    leases: Leases = field(default_factory=SoleOwner)
    service_levels: ServiceLevels = field(init=False)
    resting: Resting = field(init=False)
    hindrances: Hindrances = field(init=False)
    _looking_at: str = ""

    def __post_init__(self) -> None:
        self.service_levels = ServiceLevels(self.store, self.clock)
        self.resting = Resting(self.store, self.event_times, self.clock)
        self.hindrances = Hindrances(self.clock)

    def look(self) -> dict[str, DeploymentReport]:
        """Judge what has closed since the last look, a bounded number of windows for each monitor.

        Of the deployments whose lease this observer holds; the others are another's.
        """
        reports, in_force = {}, set()
        deployments = self.registry.all()
        self.resting.begin({d.metadata.uid for d in deployments if self.leases.holds(d.metadata.uid)})
        for deployment in deployments:
            uid = deployment.metadata.uid
            if not self.leases.holds(uid):
                continue
            self._looking_at = uid
            in_force.add((uid, revision_of(deployment) or ""))
            try:
                report = self.resting.find(deployment) or self._look_at(deployment)
            except LeaseLost as lost:
                _LOG.warning("evaluation left uid=%s message=%s", uid, lost.message)
                continue
            except Exception:  # noqa: BLE001  the top of a loop
                # One deployment's bad data must not stop the others; it is tried again at the next tick.
                _LOG.exception(
                    "evaluation failed deployment=%s/%s",
                    deployment.metadata.namespace,
                    deployment.metadata.name,
                )
                # What was known stays known: a report that goes takes the metrics with it, and alarms seem to end.
                if uid in self.reports and self.leases.holds(uid):
                    reports[uid] = self.reports[uid]
                continue
            reports[uid] = report
        self.reports = reports
        # By what is in force, not by what could be looked at: a reference that goes is built again at the next look.
        self.service_levels.keep_only({uid for uid, _ in in_force})
        self.assessors.keep_only(in_force)
        return reports

    def _look_at(self, deployment: ModelDeployment) -> DeploymentReport:
        key, revision, since = key_of(deployment), revision_of(deployment), self.clock()
        with self.store.read() as connection:
            deployment_id = find_deployment_id(connection, key.uid)
            counts = read_counts(connection, key.uid)
            memories = read_memories(connection, deployment_id) if deployment_id is not None else {}
            sent = read_reference_digests(connection, [deployment_id]) if deployment_id is not None else {}
        subject = Subject(
            deployment=deployment,
            key=key,
            deployment_id=deployment_id,
            revision=revision,
            watermark=self.event_times.watermark(key, counts.latest_event),
            rejected=counts.rejected,
            reference_digest=sent.get((deployment_id, revision)) if deployment_id and revision else None,
        )
        verdicts, kept = [], {}
        for monitor in deployment.spec.monitoring.monitors:
            is_service = monitor.type is MonitorType.SERVICE_LEVEL
            look = self._look_at_service_level if is_service else self._look_at_monitor
            memory, verdict = look(subject, monitor, memories.get(monitor.name))
            memory, verdict = self._watch_silence(subject, monitor, memory, verdict)
            verdicts.append(verdict)
            if memory is not None:
                kept[monitor.name] = memory
        gone = set(memories) - {monitor.name for monitor in deployment.spec.monitoring.monitors}
        if gone and deployment_id is not None:
            self._write(lambda connection: forget_monitors(connection, deployment_id, gone))
        log = count_log(counts, subject.watermark)
        status = MonitorReportStatus(revision=subject.revision, log=log, monitors=tuple(verdicts))
        report = DeploymentReport(key, counts, status, kept)
        self.resting.keep(subject, report, since=since)
        return report

    def _look_at_monitor(
        self, subject: Subject, monitor: Monitor, memory: Memory | None
    ) -> tuple[Memory | None, MonitorVerdict]:
        if subject.revision is None:
            return None, report_waiting(monitor, "NoRevision", "no revision is stable yet")
        if subject.deployment_id is None or (
            subject.watermark is None and not (subject.rejected and counts_misfits(monitor))
        ):
            return None, report_no_rows(monitor, subject.rejected)
        settings = subject.deployment.spec.monitoring.settings_for(monitor)
        following = refresh_memory(self.store, subject, monitor, settings, memory, now=self.clock())
        if following is not memory:
            self._write_memory(subject, monitor, following)
        memory, patience_s = following, 0.0
        hindrance: ObserverError | None = None
        try:
            memory = self._judge_windows(subject, monitor, settings, memory)
        except (MissingReference, Preparing) as missing:
            if isinstance(missing, Preparing):
                subject.rest.deny()
            subject.rest.end_with_reference(self.clock() + RETRY_S)
            memory = read_again(self.store, subject, monitor, memory)
            return memory, report_lack(monitor, memory, missing)
        except UnknownFeature as unknown:
            subject.rest.end_with_reference(self.clock() + RETRY_S)
            hindrance, memory = unknown, read_again(self.store, subject, monitor, memory)
        except DetectorUnavailable as error:
            subject.rest.deny()
            _LOG.warning("detectors unavailable reason=%s message=%s", error.reason, error.message)
            hindrance, patience_s = error, PATIENCE_S
            memory = read_again(self.store, subject, monitor, memory)
        memory = self._remember_hindrance(subject, monitor, memory, hindrance, patience_s=patience_s)
        if hindrance is not None:
            reason, message = hindrance.reason, hindrance.message
            return memory, report_hindrance(monitor, memory, MonitorState.ERROR, reason, message)
        lateness_s, longest_s = self.event_times.lateness_s(subject.key), self.settings.retention_s
        lack = find_retention_lack(
            self.store, subject, monitor, settings, memory, longest_s=longest_s, lateness_s=lateness_s
        )
        if lack is not None:
            # Rows that retention deletes end it, and nothing else tells of that.
            subject.rest.end_by(self.clock() + RETRY_S)
            state = MonitorState.INSUFFICIENT
            return memory, report_hindrance(monitor, memory, state, "RetentionTooShort", lack)
        return memory, build_verdict(monitor, memory)

    def _remember_hindrance(
        self,
        subject: Subject,
        monitor: Monitor,
        memory: Memory,
        found: ObserverError | None,
        *,
        patience_s: float,
    ) -> Memory:
        """Keep in mind what keeps the monitor from judging, once it has lasted, and forget it when it is over."""
        assert subject.deployment_id is not None
        deployment_id, held = subject.deployment_id, memory.hindrance
        place = (subject.key.uid, monitor.name)
        hindrance = self.hindrances.settle(place, held, found, patience_s=patience_s)
        if hindrance == held:
            return memory
        self._write(lambda connection: write_hindrance(connection, deployment_id, monitor.name, hindrance))
        return memory.model_copy(update={"hindrance": hindrance})

    def _write_memory(self, subject: Subject, monitor: Monitor, memory: Memory) -> None:
        assert subject.deployment_id is not None
        deployment_id = subject.deployment_id
        self._write(lambda connection: write_memory(connection, deployment_id, monitor.name, memory))

    def _look_at_service_level(
        self, subject: Subject, monitor: Monitor, memory: Memory | None
    ) -> tuple[Memory | None, MonitorVerdict]:
        if subject.deployment_id is None:
            return None, report_waiting(monitor, "NoRouters", "no router of the gateway has answered yet")
        promise = Promised(subject.deployment, subject.deployment_id, monitor)
        following = self.service_levels.look(promise, memory)
        subject.rest.end_by(0.0 if following.cursor is None else following.cursor.event_time + LOOK_S)
        if memory is None or following.state is not memory.state:
            log_transition(subject.key, monitor.name, following)
        return following, build_verdict(monitor, following)

    def _watch_silence(
        self, subject: Subject, monitor: Monitor, memory: Memory | None, verdict: MonitorVerdict
    ) -> tuple[Memory | None, MonitorVerdict]:
        """Lay an alarm over the verdict while no row comes, which no window can tell."""
        spec = monitor.data_quality
        if spec is None or spec.max_silence is None or memory is None or subject.deployment_id is None:
            return memory, verdict
        deployment_id, max_silence = subject.deployment_id, spec.max_silence
        with self.store.read() as connection:
            arrival = read_latest_arrival(connection, deployment_id)
        if arrival is not None:
            if memory.silent_since is None:
                subject.rest.end_by(arrival + max_silence.seconds)
            following = step_silence(
                memory, latest_arrival=arrival, max_silence_s=max_silence.seconds, now=self.clock()
            )
            if following is not memory:
                self._write_memory(subject, monitor, following)
            memory = following
        return memory, show_silence(verdict, memory, subject.name_of(monitor, memory), max_silence)

    def _judge_windows(
        self, subject: Subject, monitor: Monitor, settings: MonitorSettings, memory: Memory
    ) -> Memory:
        assert subject.deployment_id is not None
        if subject.watermark is None:
            return self._judge_flood(subject, monitor, settings, memory)
        condition = self._find_slice(subject, monitor)
        scope = Scope.of(subject.deployment, memory.revision, condition)
        slices = find_conditions(subject.deployment.spec.monitoring, monitor)
        for _ in range(self.settings.windows_per_tick):
            closed = find_next_window(
                self.store, subject, memory, settings.window, maturity_s=maturity_s(monitor)
            )
            if closed is None:
                break
            rows = slice_rows(condition, closed.rows)
            try:
                max_age_s, counted = settings.window.max_age.seconds, memory.rejected_until
                pace = find_pace(memory.window_every_s, memory.cursor, closed.last, max_age_s=max_age_s)
                paced = replace(settings, window_every_s=pace)
                assessment = self._assess(Question(scope, monitor, paced, rows, slices, counted))
            except NotYetJudged:
                subject.rest.deny()
                return memory
            assessment = keep_scores(self._write, monitor.name, rows, assessment)
            now, name = self.clock(), subject.name_of(monitor, memory)
            following = step(
                memory, paced, assessment, first=closed.first, last=closed.last, name=name, now=now
            )
            judged = Judged(following, assessment, now)
            explainer = Explainer(self.store, self.assessors)
            judged = explain(explainer, subject, judged, monitor=monitor, scope=scope, rows=rows)
            self._store_window(subject, monitor, judged)
            if following.state is not memory.state:
                log_transition(subject.key, monitor.name, following)
            memory = judged.after
        else:
            # More windows may be closed.
            subject.rest.deny()
            return memory
        return self._judge_flood(subject, monitor, settings, memory)

    def _judge_flood(
        self, subject: Subject, monitor: Monitor, settings: MonitorSettings, memory: Memory
    ) -> Memory:
        """Judge rows that don't fit by themselves, if no window will."""
        if subject.rejected and counts_misfits(monitor):
            subject.rest.end_by(self.clock() + MISFITS_S)
        assert subject.deployment_id is not None
        deployment_id, name = subject.deployment_id, subject.name_of(monitor, memory)
        following = judge_flood(
            self.store, deployment_id, monitor, settings, memory, name=name, now=self.clock()
        )
        if following is None:
            return memory
        self._write_memory(subject, monitor, following)
        if following.state is not memory.state:
            log_transition(subject.key, monitor.name, following)
        return following

    def _assess(self, question: Question) -> Assessment:
        """Judge one window; what fails because of what is in it has failed for good, and the next one is judged.

        Raises
        ------
        NotYetJudged, Preparing, MissingReference, ObserverError, SQLAlchemyError
            It can't be judged now, and is asked about again.
        """
        samples = len(question.rows)
        try:
            return self.assessors.assess(question)
        except DetectorFailure as error:
            reason, message = error.reason, error.message
        except (NotYetJudged, Preparing, MissingReference, ObserverError, SQLAlchemyError):
            raise
        except Exception as error:  # noqa: BLE001  the top of a loop
            # Whatever a window holds must neither hold up the monitor nor silence those that stand after it.
            key, name = question.scope.key, question.monitor.name
            _LOG.exception("monitor failed deployment=%s/%s monitor=%s", key.namespace, key.name, name)
            reason = "MonitorFailed"
            message = f"the monitor can't judge this window: {type(error).__name__}: {error}"[:MAX_FAILURE]
        return Assessment(breached=None, failed=True, reason=reason, message=message, samples=samples)

    def _find_slice(self, subject: Subject, monitor: Monitor) -> Condition | None:
        """Read the slice's condition, and refuse it as soon as the schema tells that no row can fulfil it."""
        condition = find_condition(subject.deployment.spec.monitoring, monitor)
        if condition is not None and subject.revision is not None:
            schema = self.event_times.schema(subject.key, subject.revision)
            if schema is None:
                subject.rest.end_with_reference(self.clock() + RETRY_S)
            else:
                check_columns(condition, schema, subject.exclude)
        return condition

    def _store_window(self, subject: Subject, monitor: Monitor, judged: Judged) -> None:
        assert subject.deployment_id is not None
        deployment_id = subject.deployment_id
        self._write(
            lambda connection: write_window(
                connection,
                deployment_id,
                monitor.name,
                judged.after,
                judged.assessment,
                now=judged.now,
                explanation=judged.explanation,
            )
        )

    def _write(self, work: Callable[[Any], None]) -> None:
        self.store.writer.submit(self.leases.fence(self._looking_at, work), 0).result(WRITE_TIMEOUT_S)
