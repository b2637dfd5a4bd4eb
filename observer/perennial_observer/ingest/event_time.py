"""Which column holds a deployment's event time, and how far its time has come."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from perennial_bundle import Schema

from perennial_observer.registry import Registry
from perennial_observer.settings import Settings
from perennial_observer.store.references import read_latest_reference, read_reference
from perennial_observer.store.rows import DeploymentKey, Placed, PredictionRow
from perennial_observer.store.store import Store

__all__ = ["EventTimes", "Placing", "compute_watermark"]

MAX_CACHED = 2_000


def compute_watermark(
    latest_event: float | None, lateness_s: float, *, clock: float, is_arrival: bool = False
) -> float | None:
    """Event time up to which rows have probably all arrived, seconds since the epoch.

    One row from tomorrow doesn't make it tomorrow: until the clock gets there, all windows would be old as soon as they
    have a row.

    Parameters
    ----------
    latest_event
        The latest event time ever seen; None before the first row.
    clock
        Now.
    is_arrival
        Whether arrival stands in for event time: then time goes on without traffic.
    """
    if latest_event is None:
        return None
    return (max(latest_event, clock) if is_arrival else min(latest_event, clock)) - lateness_s


@dataclass(frozen=True)
class Placing:
    """Settles where rows stand in the stream of events, at the moment in which they are written.

    Rows that have no time of their own are taken in wherever the stream has got to: when servers could reach no observer,
    theirs is a time that no window waits for any more. They stand half of the lateness before the latest, so that no window
    can close past them while they are being written. Rows of an event time keep it, and count as late behind the watermark.

    Parameters
    ----------
    lateness_s, is_arrival
        As for :func:`compute_watermark`.
    by_arrival
        Whether these rows have no time of their own.
    clock
        Seconds since the epoch.
    """

    lateness_s: float
    is_arrival: bool
    by_arrival: bool
    clock: Callable[[], float]

    def place(self, rows: Sequence[PredictionRow], latest_event: float | None) -> Placed:
        """Place rows, given the latest event time ever seen."""
        now = self.clock()
        watermark = compute_watermark(latest_event, self.lateness_s, clock=now, is_arrival=self.is_arrival)
        if self.is_arrival and self.by_arrival:
            earliest = max(now, latest_event or now) - self.lateness_s / 2
            rows = [row if row.event_time >= earliest else row._replace(event_time=earliest) for row in rows]
        return Placed(rows, watermark)


@dataclass
class EventTimes:
    """Answers by the ModelDeployment's ``spec.monitoring.eventTime``, else by the schema's EventTime column.

    Parameters
    ----------
    clock
        Seconds since the epoch.
    """

    store: Store
    registry: Registry
    settings: Settings
    clock: Callable[[], float]
    _schemas: dict[tuple[str, str], Schema] = field(default_factory=dict)

    def schema(self, key: DeploymentKey, revision: str) -> Schema | None:
        """Return the schema that came with a revision's reference; None before it came."""
        place = (key.uid, revision)
        if place not in self._schemas:
            with self.store.read() as connection:
                reference = read_reference(connection, key.uid, revision)
            if reference is None:
                return None
            self.remember(key, revision, reference.schema)
        return self._schemas[place]

    def schemas(self, key: DeploymentKey) -> list[Schema]:
        """Return the schemas of the revisions that have been heard of lately; at least the latest, if any has come."""
        if self._any_schema(key) is None:
            return []
        return [schema for (uid, _), schema in list(self._schemas.items()) if uid == key.uid]

    def remember(self, key: DeploymentKey, revision: str, schema: Schema) -> None:
        """Take note of a schema that has just come."""
        if len(self._schemas) >= MAX_CACHED:
            self._schemas.clear()
        self._schemas[key.uid, revision] = schema

    def column(self, key: DeploymentKey, schema: Schema | None) -> str | None:
        """Name of the event-time column; None where arrival stands in for it."""
        deployment = self.registry.get(key.uid)
        if deployment is not None and deployment.spec.monitoring.event_time is not None:
            return str(deployment.spec.monitoring.event_time)
        if schema is not None and schema.event_time is not None:
            return schema.event_time.name
        return None

    def is_arrival(self, key: DeploymentKey) -> bool:
        """Whether arrival stands in for event time, so that time goes on without traffic."""
        return self.column(key, self._any_schema(key)) is None

    def lateness_s(self, key: DeploymentKey) -> float:
        """How long windows of a deployment wait for late rows."""
        return self._lateness_s(is_arrival=self.is_arrival(key))

    def watermark(self, key: DeploymentKey, latest_event: float | None) -> float | None:
        """Event time up to which rows have probably all arrived, seconds since the epoch."""
        is_arrival = self.is_arrival(key)
        lateness_s = self._lateness_s(is_arrival=is_arrival)
        return compute_watermark(latest_event, lateness_s, clock=self.clock(), is_arrival=is_arrival)

    def placing(self, key: DeploymentKey, column: str | None) -> Placing:
        """Return what places rows whose event time is in `column`; None: they have none of their own."""
        is_arrival = self.is_arrival(key)
        return Placing(self._lateness_s(is_arrival=is_arrival), is_arrival, column is None, self.clock)

    def _lateness_s(self, *, is_arrival: bool) -> float:
        return self.settings.arrival_lateness_s if is_arrival else self.settings.event_lateness_s

    def _any_schema(self, key: DeploymentKey) -> Schema | None:
        known = next((schema for (uid, _), schema in list(self._schemas.items()) if uid == key.uid), None)
        if known is None:
            with self.store.read() as connection:
                reference = read_latest_reference(connection, key.uid)
            if reference is not None:
                self.remember(key, reference.revision, reference.schema)
                known = reference.schema
        return known
