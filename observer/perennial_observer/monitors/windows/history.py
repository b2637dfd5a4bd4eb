"""Windows that were judged, read back: for explanations and for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Row, and_, or_, select

from perennial_observer.store import tables as t
from perennial_observer.store.reads import Position

__all__ = ["JudgedWindow", "Span", "find_window", "read_latest_windows", "read_span", "read_windows"]


@dataclass(frozen=True)
class JudgedWindow:
    """One window with its verdict.

    Parameters
    ----------
    verdict
        What ``records.write_window`` stored: the assessment, the state that followed, and the explanation of a breach.
    """

    id: int
    monitor: str
    revision: str
    start: float
    end: float
    samples: int
    breached: bool | None
    evaluated_at: float
    verdict: dict[str, Any]

    @property
    def statistic(self) -> float | None:
        """The window's statistic, if it could be judged."""
        return self.verdict.get("statistic")


@dataclass(frozen=True)
class Span:
    """Which rows of the log a window holds.

    Parameters
    ----------
    after
        Where the same monitor's window before ended; None if it was the first.
    """

    revision: str
    after: Position | None
    last: Position


def read_latest_windows(
    connection: Connection, deployment_id: int, monitor: str, revision: str, limit: int
) -> list[JudgedWindow]:
    """Read a monitor's latest windows on one revision, the oldest first."""
    w = t.window.c
    query = (
        select(t.window)
        .where(w.deployment_id == deployment_id, w.monitor == monitor, w.revision == revision)
        .order_by(w.end_event.desc(), w.end_id.desc())
        .limit(limit)
    )
    return _decode(connection.execute(query).all())[::-1]


def read_windows(
    connection: Connection,
    deployment_id: int,
    monitor: str,
    *,
    since: float,
    before: int,
    limit: int,
) -> list[JudgedWindow]:
    """Read a page of a monitor's windows that end at `since` or later, the newest first.

    Parameters
    ----------
    before
        Only windows with smaller ids: the id of the last one of the page before.
    """
    w = t.window.c
    query = (
        select(t.window)
        .where(w.deployment_id == deployment_id, w.monitor == monitor, w.end_event >= since, w.id < before)
        .order_by(w.id.desc())
        .limit(limit)
    )
    return _decode(connection.execute(query).all())


def find_window(connection: Connection, deployment_id: int, window_id: int) -> JudgedWindow | None:
    """Read one window of a deployment."""
    w = t.window.c
    query = select(t.window).where(w.deployment_id == deployment_id, w.id == window_id)
    found = connection.execute(query).one_or_none()
    return None if found is None else _decode([found])[0]


def read_span(connection: Connection, deployment_id: int, window_id: int) -> Span | None:
    """Read where a window of a deployment lies in the log."""
    w = t.window.c
    query = select(w.monitor, w.revision, w.end_event, w.end_id)
    found = connection.execute(query.where(w.deployment_id == deployment_id, w.id == window_id)).one_or_none()
    if found is None:
        return None
    before = connection.execute(
        query.where(
            w.deployment_id == deployment_id,
            w.monitor == found.monitor,
            w.revision == found.revision,
            or_(
                w.end_event < found.end_event,
                and_(w.end_event == found.end_event, w.end_id < found.end_id),
            ),
        )
        .order_by(w.end_event.desc(), w.end_id.desc())
        .limit(1)
    ).one_or_none()
    after = None if before is None else Position(before.end_event, before.end_id)
    return Span(found.revision, after, Position(found.end_event, found.end_id))


def _decode(rows: Sequence[Row[Any]]) -> list[JudgedWindow]:
    return [
        JudgedWindow(
            id=row.id,
            monitor=row.monitor,
            revision=row.revision,
            start=row.start_event,
            end=row.end_event,
            samples=row.samples,
            breached=row.breached,
            evaluated_at=row.evaluated_at,
            verdict=orjson.loads(row.verdict),
        )
        for row in rows
    ]
