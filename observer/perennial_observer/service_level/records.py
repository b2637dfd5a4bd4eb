"""The tables of service levels: what was counted when, and how far. Writes are jobs of the one writer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson
from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update

from perennial_observer.service_level.buckets import HOURS, MINUTES, Resolution, spread
from perennial_observer.service_level.burning import BUDGET_S, WINDOWS_S, Windows
from perennial_observer.service_level.counting import Mark, News, RouterReading, Tally, count
from perennial_observer.store import tables as t
from perennial_observer.store.log import register_deployment
from perennial_observer.store.rows import DeploymentKey

__all__ = ["Sample", "expire_buckets", "read_counted_at", "read_windows", "record"]

RESOLUTIONS = (MINUTES, HOURS)
CLOCK_JUMP_S = 60.0
"""A last look that is further ahead than this was taken by a clock that has been set back since."""

_MARKS = TypeAdapter(dict[str, Mark])


@dataclass(frozen=True)
class Sample:
    """What the routers that answered say of one deployment.

    Parameters
    ----------
    taken_at
        Seconds since the epoch, from before they were asked.
    budget_ms
        Latency budget by which they count slow requests; 0 where there is none.
    """

    key: DeploymentKey
    taken_at: float
    budget_ms: int
    routers: tuple[RouterReading, ...]


def record(connection: Connection, sample: Sample, *, min_pause_s: float) -> bool:
    """Count what is new in a sample, and return whether it was taken.

    One that follows another observer's within `min_pause_s` is left: it brings nothing, and if it is the older one its
    counters seem to have started anew.
    """
    deployment_id = register_deployment(connection, sample.key)
    held = t.service_level.c
    mine = held.deployment_id == deployment_id
    found = connection.execute(select(held.counted_at, held.marks).where(mine)).one_or_none()
    marks: Mapping[str, Mark] = {}
    if found is not None:
        age_s = sample.taken_at - found.counted_at
        if -CLOCK_JUMP_S < age_s < min_pause_s:
            return False
        # Marks from the future tell nothing of what has happened since: begin anew.
        marks = _MARKS.validate_json(found.marks) if age_s > 0 else {}
    new_marks, news = count(marks, sample.routers, now=sample.taken_at)
    values = {"counted_at": sample.taken_at, "marks": orjson.dumps(_MARKS.dump_python(new_marks)).decode()}
    if found is None:
        connection.execute(insert(t.service_level).values(deployment_id=deployment_id, **values))
    else:
        connection.execute(update(t.service_level).where(mine).values(**values))
    for resolution in RESOLUTIONS:
        _add(connection, deployment_id, sample, resolution, news)
    return True


def _add(
    connection: Connection,
    deployment_id: int,
    sample: Sample,
    resolution: Resolution,
    news: Iterable[News],
) -> None:
    """Add what is new to the buckets of one width."""
    by_start: dict[int, Tally] = {}
    for one in news:
        for start, tally in spread(one, resolution, now=sample.taken_at):
            by_start[start] = by_start.get(start, Tally()) + tally
    b = t.service_level_bucket.c
    for start, tally in by_start.items():
        place = {
            "deployment_id": deployment_id,
            "width_s": resolution.width_s,
            "start": start,
            "budget_ms": sample.budget_ms,
        }
        added = {
            "requests": b.requests + tally.requests,
            "failed": b.failed + tally.failed,
            "slow": b.slow + tally.slow,
        }
        here = and_(*(b[name] == value for name, value in place.items()))
        if connection.execute(update(t.service_level_bucket).where(here).values(**added)).rowcount == 0:
            connection.execute(insert(t.service_level_bucket).values(**place, **tally.model_dump()))


def read_counted_at(connection: Connection, deployment_id: int) -> float | None:
    """When any router last answered for a deployment, seconds since the epoch."""
    held = t.service_level.c
    found: float | None = connection.execute(
        select(held.counted_at).where(held.deployment_id == deployment_id)
    ).scalar()
    return found


def read_windows(
    connection: Connection, deployment_id: int, *, now: float, budget_ms: int | None = None
) -> Windows:
    """Sum the buckets that lie within each window that ends now.

    Parameters
    ----------
    budget_ms
        Only what was counted by this latency budget.
    """
    b = t.service_level_bucket.c
    where: list[ColumnElement[bool]] = [b.deployment_id == deployment_id, b.start <= now]
    if budget_ms is not None:
        where.append(b.budget_ms == budget_ms)
    counts = dict.fromkeys(WINDOWS_S, Tally())
    for resolution in RESOLUTIONS:
        query = (
            select(b.start, func.sum(b.requests), func.sum(b.failed), func.sum(b.slow))
            .where(*where, b.width_s == resolution.width_s, b.start >= now - resolution.kept_s)
            .group_by(b.start)
        )
        windows = [length_s for length_s in WINDOWS_S if _resolution_of(length_s) is resolution]
        for start, requests, failed, slow in connection.execute(query):
            tally = Tally(requests=int(requests), failed=int(failed), slow=int(slow))
            for length_s in windows:
                if start >= now - length_s:
                    counts[length_s] += tally
    return counts


def _resolution_of(length_s: int) -> Resolution:
    return MINUTES if length_s <= MINUTES.kept_s else HOURS


def expire_buckets(connection: Connection, *, now: float) -> int:
    """Drop the buckets that no window reaches any more, of all deployments; return how many."""
    assert HOURS.kept_s >= BUDGET_S, "the budget's window would be cut short"
    b = t.service_level_bucket.c
    old = or_(*(and_(b.width_s == r.width_s, b.start < now - r.kept_s - r.width_s) for r in RESOLUTIONS))
    return connection.execute(delete(t.service_level_bucket).where(old)).rowcount
