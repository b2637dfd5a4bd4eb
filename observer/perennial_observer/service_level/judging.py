"""Judges service levels once a minute, each minute by one observer only."""

import hashlib
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import orjson
from perennial_api import ModelDeployment
from perennial_api.modeldeployment.monitoring import Monitor, MonitorSettings, ServiceLevel
from sqlalchemy import Connection

from perennial_observer.monitors.alarms.rule import name_monitor
from perennial_observer.monitors.alarms.step import step
from perennial_observer.monitors.alarms.verdicts import Assessment, Memory, utc
from perennial_observer.monitors.windows.records import (
    read_last_position,
    read_memories,
    write_memory,
    write_window,
)
from perennial_observer.service_level.burning import LOOK_S, Burn, Judgement, Rules, judge_burn, measure
from perennial_observer.service_level.polling import budget_ms_of
from perennial_observer.service_level.records import CLOCK_JUMP_S, read_counted_at, read_windows
from perennial_observer.store.reads import Position
from perennial_observer.store.store import Store

__all__ = ["Promised", "ServiceLevels"]

SILENT_S = 180.0
"""When no router has been heard for so long, nothing is known of the last minutes."""

WRITE_TIMEOUT_S = 60.0
EVERY_REVISION = ""
"""A service level is the deployment's: an alarm outlives a promotion, and ends when its requests are served again."""


@dataclass(frozen=True)
class Promised:
    """One monitor of one deployment."""

    deployment: ModelDeployment
    deployment_id: int
    monitor: Monitor

    @property
    def spec(self) -> ServiceLevel:
        """What is promised."""
        assert self.monitor.service_level is not None, "the API demands it"
        return self.monitor.service_level

    @property
    def settings(self) -> MonitorSettings:
        """What holds for the monitor after the defaults are filled in."""
        return self.deployment.spec.monitoring.settings_for(self.monitor)

    @property
    def name(self) -> str:
        """What breach ids are made of."""
        return name_monitor(self.monitor.name, self.deployment.metadata.uid, EVERY_REVISION)

    def digest(self) -> str:
        """Name all that a judgement depends on: with another it begins anew."""
        settings = self.settings
        document: dict[str, object] = {
            "monitor": self.monitor.to_api(),
            "alarm": settings.alarm.to_api(),
            "clear": settings.clear.to_api(),
            "false_alarm_every": str(settings.false_alarm_every),
            "budget_ms": budget_ms_of(self.deployment) if self.spec.latency is not None else 0,
        }
        return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass
class ServiceLevels:
    """Judges monitors of type ServiceLevel.

    A minute is judged as it is then; those in which no observer ran are not made up for, since only what burns now is an
    alarm.

    Parameters
    ----------
    clock
        Seconds since the epoch.
    latest
        What was last counted, by the deployment's uid and the monitor's name, for metrics.
    """

    store: Store
    clock: Callable[[], float]
    latest: dict[tuple[str, str], tuple[Burn, ...]] = field(default_factory=dict)

    def look(self, subject: Promised, memory: Memory | None) -> Memory:
        """Judge this minute, unless that is done; return what the monitor remembers."""
        now = self.clock()
        digest = subject.digest()
        is_same = memory is not None and memory.spec_digest == digest
        if memory is not None and is_same and not _is_due(memory, now):
            return memory
        with self.store.read() as connection:
            before = memory if is_same and memory is not None else _begin(connection, subject, digest, now)
            judgement = self._judge(connection, subject, before, now)
        after = _advance(before, subject, judgement, now)
        read = None if memory is None else memory.cursor
        write = self.store.writer.submit(lambda c: _keep(c, subject, read, after, judgement.assessment), 0)
        return write.result(WRITE_TIMEOUT_S)

    def keep_only(self, uids: AbstractSet[str]) -> None:
        """Forget what was counted of deployments that are gone, or judged elsewhere."""
        self.latest = {place: burns for place, burns in self.latest.items() if place[0] in uids}

    def _judge(self, connection: Connection, subject: Promised, before: Memory, now: float) -> Judgement:
        deployment, spec = subject.deployment, subject.spec
        place = (deployment.metadata.uid, subject.monitor.name)
        counted_at = read_counted_at(connection, subject.deployment_id)
        if counted_at is None or now - counted_at > SILENT_S:
            self.latest.pop(place, None)
            return Judgement(_assess_silence(counted_at), 0)
        every = read_windows(connection, subject.deployment_id, now=now)
        budget_ms = budget_ms_of(deployment)
        by_budget = read_windows(connection, subject.deployment_id, now=now, budget_ms=budget_ms)
        burns = self.latest[place] = measure(spec, every, by_budget)
        rules = Rules(
            min_requests=spec.min_requests,
            severity=subject.monitor.severity,
            false_alarm_every_s=subject.settings.false_alarm_every.seconds,
            is_standing=before.alarm.breach_id is not None,
        )
        return judge_burn(burns, rules)


def _begin(connection: Connection, subject: Promised, digest: str, now: float) -> Memory:
    """Start clean, behind what this monitor has recorded before."""
    cursor = read_last_position(connection, subject.deployment_id, subject.monitor.name, EVERY_REVISION)
    return Memory(revision=EVERY_REVISION, spec_digest=digest, cursor=cursor, last_transition=now)


def _is_due(memory: Memory, now: float) -> bool:
    """Whether this minute hasn't been judged; a minute that is ahead was judged by a clock that has been set back."""
    if memory.cursor is None:
        return True
    since_s = now - memory.cursor.event_time
    return since_s >= LOOK_S or since_s < -CLOCK_JUMP_S


def _assess_silence(counted_at: float | None) -> Assessment:
    since = "yet" if counted_at is None else f"since {utc(counted_at):%Y-%m-%d %H:%M:%S} UTC"
    return Assessment(
        breached=None,
        reason="NoRouters",
        message=f"no router of the gateway has answered {since}: is it running, and may the observer reach its agents?",
        samples=0,
    )


def _advance(before: Memory, subject: Promised, judgement: Judgement, now: float) -> Memory:
    """Take this minute into account. Its number rises with each, so that a clock set back names none twice."""
    minute = now // LOOK_S * LOOK_S
    here = Position(minute, before.cursor.id + 1 if before.cursor is not None else 1)
    after = step(
        before,
        subject.settings,
        judgement.assessment,
        first=here,
        last=here,
        name=subject.name,
        now=now,
    )
    return after.model_copy(update={"window_start": now - judgement.window_s, "window_end": now})


def _keep(
    connection: Connection, subject: Promised, read: Position | None, after: Memory, assessment: Assessment
) -> Memory:
    """Store what follows, unless another observer has gone on from what was read; return what is stored then.

    A window is recorded only where something changes: 43,200 equal ones a month would tell nothing.
    """
    deployment_id, monitor = subject.deployment_id, subject.monitor.name
    assert after.evaluated_at is not None, "it has just been judged"
    stored = read_memories(connection, deployment_id).get(monitor)
    if stored is not None and stored.cursor != read:
        return stored
    if stored is None or (stored.state, stored.reason) != (after.state, after.reason):
        write_window(connection, deployment_id, monitor, after, assessment, now=after.evaluated_at)
    else:
        write_memory(connection, deployment_id, monitor, after)
    return after
