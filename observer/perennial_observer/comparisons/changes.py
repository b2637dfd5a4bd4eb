"""What one look changes, and how it is written: all of it in one transaction, or nothing.

Killed before it, the same rows are counted again from the old cursor; killed after it, never again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, Table, delete, insert, update

from perennial_observer.comparisons.records import DONE, WAITING, Comparison, Cursor, Unit, parts
from perennial_observer.store import tables as t

__all__ = ["Changes", "DeploymentChanges", "write_changes"]


@dataclass
class DeploymentChanges:
    """What becomes of one deployment's comparison.

    Parameters
    ----------
    comparison
        Its state after the look; None where it has ended.
    begins
        It has just begun: what an earlier one left goes.
    """

    comparison: Comparison | None
    begins: bool = False
    new_units: dict[str, Unit] = field(default_factory=dict)
    rewarded: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)
    new_clients: set[tuple[str, str]] = field(default_factory=set)
    labelled_clients: set[tuple[str, str]] = field(default_factory=set)

    @property
    def has_units(self) -> bool:
        """Whether any request changes what is kept of it."""
        return bool(self.new_units or self.rewarded or self.settled)


@dataclass
class Changes:
    """What one look changes."""

    cursor: Cursor
    deployments: dict[int, DeploymentChanges] = field(default_factory=dict)
    shadows_counted: set[int] = field(default_factory=set)
    shadows_done: set[int] = field(default_factory=set)


def write_changes(connection: Connection, changes: Changes) -> None:
    """Write a look's changes; a job of the one writer."""
    values = vars(changes.cursor)
    if connection.execute(update(t.comparison_cursor).values(**values)).rowcount == 0:
        connection.execute(insert(t.comparison_cursor).values(id=1, **values))
    for ids, state in ((changes.shadows_counted, WAITING), (changes.shadows_done, DONE)):
        for part in parts(ids):
            connection.execute(update(t.shadow_row).where(t.shadow_row.c.id.in_(part)).values(state=state))
    for deployment_id, change in changes.deployments.items():
        if change.begins or change.comparison is None:
            _clear(connection, deployment_id)
        if change.comparison is not None:
            _write_state(connection, deployment_id, change.comparison)
            _write_units(connection, deployment_id, change)
            _write_clients(connection, deployment_id, change)


def _clear(connection: Connection, deployment_id: int) -> None:
    for table in (t.comparison, t.comparison_arm, t.comparison_unit, t.comparison_client):
        connection.execute(delete(table).where(table.c.deployment_id == deployment_id))


def _write_state(connection: Connection, deployment_id: int, comparison: Comparison) -> None:
    _put(
        connection,
        t.comparison,
        {"deployment_id": deployment_id},
        {"attempt": comparison.attempt, "since": comparison.since},
    )
    for revision, tally in comparison.arms.items():
        place = {"deployment_id": deployment_id, "revision": revision}
        _put(connection, t.comparison_arm, place, {"tally": tally.dump()})


def _put(
    connection: Connection, table: Table, place: Mapping[str, object], values: Mapping[str, object]
) -> None:
    here = [table.c[name] == value for name, value in place.items()]
    if connection.execute(update(table).where(*here).values(**values)).rowcount == 0:
        connection.execute(insert(table).values(**place, **values))


def _write_units(connection: Connection, deployment_id: int, change: DeploymentChanges) -> None:
    u = t.comparison_unit.c
    fresh = [
        {
            "deployment_id": deployment_id,
            **vars(unit),
            "rewarded": prediction_id in change.rewarded,
        }
        for prediction_id, unit in change.new_units.items()
        if prediction_id not in change.settled
    ]
    if fresh:
        connection.execute(insert(t.comparison_unit), fresh)
    for part in parts(change.rewarded - change.settled - change.new_units.keys()):
        here = (u.deployment_id == deployment_id, u.prediction_id.in_(part))
        connection.execute(update(t.comparison_unit).where(*here).values(rewarded=True))
    for part in parts(change.settled - change.new_units.keys()):
        here = (u.deployment_id == deployment_id, u.prediction_id.in_(part))
        connection.execute(delete(t.comparison_unit).where(*here))


def _write_clients(connection: Connection, deployment_id: int, change: DeploymentChanges) -> None:
    k = t.comparison_client.c
    if change.new_clients:
        fresh = [
            {
                "deployment_id": deployment_id,
                "revision": revision,
                "client": client,
                "labelled": (revision, client) in change.labelled_clients,
            }
            for revision, client in sorted(change.new_clients)
        ]
        connection.execute(insert(t.comparison_client), fresh)
    known = change.labelled_clients - change.new_clients
    for revision in sorted({revision for revision, _ in known}):
        for part in parts(client for of, client in known if of == revision):
            here = (k.deployment_id == deployment_id, k.revision == revision, k.client.in_(part))
            connection.execute(update(t.comparison_client).where(*here).values(labelled=True))
