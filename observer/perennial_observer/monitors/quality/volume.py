"""How many rows came while a window was open, and in what time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from perennial_api.modeldeployment.monitoring import Window

from perennial_observer.store.log import find_deployment_id
from perennial_observer.store.reads import Position
from perennial_observer.store.rows import LoggedRow
from perennial_observer.store.store import Store
from perennial_observer.store.volume import count_events, find_event_before

__all__ = ["Volume", "find_stretch", "read_volume"]

HOUR_S = 3600.0


@dataclass(frozen=True)
class Volume:
    """Rows of all revisions in a stretch of event time: while a rollout is on, several share the traffic."""

    rows: int
    hours: float


def find_stretch(rows: Sequence[LoggedRow], window: Window, *, before: float | None) -> tuple[float, float]:
    """Return the stretch of event time that a window tells of, from after its first moment to its last.

    A full one tells of the time since the last row before it, so that many rows after a gap are no large volume. Another
    one was open for all of maxAge; what came before it has been told of by the window before.

    Parameters
    ----------
    rows
        Of the window, at least one.
    before
        Event time of the last row before it; None if there is none.
    """
    first, last = rows[0].event_time, rows[-1].event_time
    just_before = math.nextafter(first, -math.inf)
    if len(rows) >= window.size:
        return (just_before if before is None else before), last
    return just_before, first + window.max_age.seconds


def read_volume(
    store: Store, uid: str, revision: str, rows: Sequence[LoggedRow], window: Window
) -> Volume | None:
    """Count the rows of the stretch that a window tells of."""
    with store.read() as connection:
        deployment_id = find_deployment_id(connection, uid)
        if deployment_id is None or not rows:
            return None
        first = Position(rows[0].event_time, rows[0].id)
        before = find_event_before(connection, deployment_id, revision, first)
        start, end = find_stretch(rows, window, before=before)
        return Volume(count_events(connection, deployment_id, after=start, until=end), (end - start) / HOUR_S)
