"""Which rows came with a window and didn't fit."""

from collections.abc import Mapping, Sequence

from perennial_observer.store.arrivals import count_rejected
from perennial_observer.store.log import find_deployment_id
from perennial_observer.store.reads import Position
from perennial_observer.store.rows import LoggedRow
from perennial_observer.store.store import Store

__all__ = ["read_rejected"]


def read_rejected(store: Store, uid: str, revision: str, rows: Sequence[LoggedRow]) -> Mapping[str, int]:
    """Count, by reason, the rows that didn't fit and came with a whole window's rows."""
    first, last = (Position(row.event_time, row.id) for row in (rows[0], rows[-1]))
    with store.read() as connection:
        deployment_id = find_deployment_id(connection, uid)
        if deployment_id is None:
            return {}
        return count_rejected(connection, deployment_id, revision, first=first, last=last)
