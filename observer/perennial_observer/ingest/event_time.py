"""Which column holds a deployment's event time, and how far its time has come."""

from collections.abc import Callable
from dataclasses import dataclass, field

from perennial_bundle import Schema

from perennial_observer.registry import Registry
from perennial_observer.settings import Settings
from perennial_observer.store.references import read_latest_reference, read_reference
from perennial_observer.store.rows import DeploymentKey
from perennial_observer.store.store import Store

__all__ = ["EventTimes", "compute_watermark"]

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

    def watermark(self, key: DeploymentKey, latest_event: float | None) -> float | None:
        """Event time up to which rows have probably all arrived, seconds since the epoch."""
        is_arrival = self.is_arrival(key)
        lateness_s = self.settings.arrival_lateness_s if is_arrival else self.settings.event_lateness_s
        return compute_watermark(latest_event, lateness_s, clock=self.clock(), is_arrival=is_arrival)

    def _any_schema(self, key: DeploymentKey) -> Schema | None:
        known = next((schema for (uid, _), schema in list(self._schemas.items()) if uid == key.uid), None)
        if known is None:
            with self.store.read() as connection:
                reference = read_latest_reference(connection, key.uid)
            if reference is not None:
                self.remember(key, reference.revision, reference.schema)
                known = reference.schema
        return known
