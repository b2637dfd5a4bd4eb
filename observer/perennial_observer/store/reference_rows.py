"""A stretch of the prediction log as a reference: rows by event time, of all revisions, evenly spread."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, func, select

from perennial_observer.store import tables as t

__all__ = ["MOST_ROWS", "ReferenceRow", "read_stretch"]

MOST_ROWS = 5_000


@dataclass(frozen=True)
class ReferenceRow:
    """One logged row of the stretch."""

    event_time: float
    inputs: dict[str, Any]
    outputs: dict[str, Any]


def read_stretch(
    connection: Connection, uid: str, *, since: float, until: float, most_rows: int = MOST_ROWS
) -> Sequence[ReferenceRow]:
    """Read at most `most_rows` rows with event time in [since, until), every k-th of them in order of event time.

    Every k-th rather than a random choice: blocks of neighbours stay blocks of neighbours, and the same log gives the
    same rows.
    """
    p, d = t.prediction.c, t.deployment.c
    inside = (
        p.deployment_id == select(d.id).where(d.uid == uid).scalar_subquery(),
        p.event_time >= since,
        p.event_time < until,
    )
    total = connection.execute(select(func.count()).select_from(t.prediction).where(*inside)).scalar() or 0
    step = max(1, -(-total // most_rows))
    number = func.row_number().over(order_by=(p.event_time, p.id)).label("number")
    numbered = select(p.id, number).where(*inside).subquery()
    query = (
        select(p.event_time, p.inputs, p.outputs)
        .select_from(t.prediction.join(numbered, numbered.c.id == p.id))
        .where(numbered.c.number % step == 0)
        .order_by(p.event_time, p.id)
        .limit(most_rows)
    )
    return [
        ReferenceRow(row.event_time, orjson.loads(row.inputs), orjson.loads(row.outputs))
        for row in connection.execute(query)
    ]
