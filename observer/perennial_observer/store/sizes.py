"""How much room a row takes in the database, told from its text alone.

`deployment.log_bytes` is the sum of it over what is in the log: raised with every insert and lowered with every delete,
in their transactions, so that nobody ever has to count. It is what `spec.monitoring.retention.maxSize` is held against.
The text of a row is counted as it is, in characters, and what the database adds (keys, times, four indexes) as a
constant, measured by benchmarks/log_size.py; docs/prediction-log.md says how far off that may be.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, Integer, Table, func, literal, select, update

from perennial_observer.store import tables as t
from perennial_observer.store.rows import PredictionRow, RejectedRow, ShadowRow

__all__ = [
    "LABEL_BYTES",
    "LOG_TABLES",
    "SCORE_BYTES",
    "measure_rows",
    "raise_log_bytes",
    "read_log_bytes",
    "row_bytes",
]

ROW_BYTES = 330
LABEL_BYTES = 250
# How odd a row is by one monitor; it isn't part of `row_bytes`, for it goes with its row and no time of its own.
SCORE_BYTES = 90

LOG_TABLES: tuple[Table, ...] = (t.prediction, t.feedback, t.rejected_row, t.shadow_row)

_TEXTS: Mapping[str, tuple[ColumnElement[str], ...]] = {
    t.prediction.name: (t.prediction.c.inputs, t.prediction.c.outputs),
    t.feedback.name: (),
    t.rejected_row.name: (t.rejected_row.c.inputs,),
    t.shadow_row.name: (t.shadow_row.c.outputs,),
}


def row_bytes(table: Table) -> ColumnElement[int]:
    """Size of a row of one of the log's tables, in SQL; the same as `measure_rows` says of it."""
    size: ColumnElement[int] = literal(LABEL_BYTES if table is t.feedback else ROW_BYTES, Integer)
    for text in _TEXTS[table.name]:
        size += func.length(text)
    return size


def raise_log_bytes(connection: Connection, deployment_id: int, size_bytes: int) -> None:
    """Take note of what a transaction has added to a deployment's log, or with a negative size of what it has deleted."""
    d = t.deployment.c
    if size_bytes:
        connection.execute(
            update(t.deployment).where(d.id == deployment_id).values(log_bytes=d.log_bytes + size_bytes)
        )


def read_log_bytes(connection: Connection) -> int:
    """Size of the whole log, of all deployments."""
    return int(connection.execute(select(func.coalesce(func.sum(t.deployment.c.log_bytes), 0))).scalar_one())


def measure_rows(
    rows: Sequence[PredictionRow], rejected: Sequence[RejectedRow], shadow: Iterable[ShadowRow]
) -> int:
    """Size of rows that are about to be inserted."""
    size = sum(len(row.inputs) + len(row.outputs) for row in rows)
    size += sum(len(row.inputs) for row in rejected)
    texts = [len(row.outputs) for row in shadow]
    return size + sum(texts) + ROW_BYTES * (len(rows) + len(rejected) + len(texts))
