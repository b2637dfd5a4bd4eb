"""How odd single rows of the log are, by the monitors that judged them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, insert, or_, select

from perennial_observer.store import tables as t
from perennial_observer.store.inserts import parts
from perennial_observer.store.reads import Position
from perennial_observer.store.sizes import SCORE_BYTES, raise_log_bytes

__all__ = ["RowScore", "delete_scores", "read_oddest", "read_scores", "score_bytes", "write_scores"]


@dataclass(frozen=True)
class RowScore:
    """How odd a row is by a monitor: by how much its score is beyond the detector's cut, in the detector's unit."""

    prediction_id: str
    row: int
    monitor: str
    score: float


def write_scores(connection: Connection, monitor: str, scores: Sequence[tuple[int, float]]) -> None:
    """Store scores by the ids of their rows; a window that is judged again after a kill writes the same ones again.

    Rows that have expired meanwhile are left out.
    """
    p, s = t.prediction.c, t.outlier_score.c
    added: Counter[int] = Counter()
    for part in parts(scores):
        ids = [id_ for id_, _ in part]
        # Held until the end, so that none of them expires before its score is there.
        here = select(p.id, p.deployment_id).where(p.id.in_(ids)).order_by(p.id)
        left = {row.id: row.deployment_id for row in connection.execute(here.with_for_update(read=True))}
        again = connection.scalars(
            delete(t.outlier_score)
            .where(s.row_id.in_(ids), s.monitor == monitor)
            .returning(t.outlier_score.c.row_id)
        )
        added.subtract(left[id_] for id_ in again)
        values = [{"row_id": id_, "monitor": monitor, "score": x} for id_, x in part if id_ in left]
        if values:
            connection.execute(insert(t.outlier_score), values)
        added.update(left[value["row_id"]] for value in values)
    for deployment_id, number in added.items():
        raise_log_bytes(connection, deployment_id, number * SCORE_BYTES)


def score_bytes() -> ColumnElement[int]:
    """Size of the scores of a row of the log, in SQL."""
    s = t.outlier_score.c
    number = select(func.count()).where(s.row_id == t.prediction.c.id).correlate(t.prediction)
    return SCORE_BYTES * number.scalar_subquery()


def delete_scores(connection: Connection, row_ids: Sequence[int]) -> int:
    """Delete the scores of rows that are about to be deleted; return their size.

    The database would delete them, too, but tell nobody how many.
    """
    p = t.prediction.c
    # Rows whose scores are being written are waited for.
    connection.execute(select(p.id).where(p.id.in_(row_ids)).order_by(p.id).with_for_update())
    deleted = connection.execute(delete(t.outlier_score).where(t.outlier_score.c.row_id.in_(row_ids)))
    return SCORE_BYTES * deleted.rowcount


def read_scores(connection: Connection, deployment_id: int, prediction_id: str) -> list[RowScore]:
    """Read what is known of a prediction's rows, in their order."""
    p = t.prediction.c
    query = (
        _select_scores()
        .where(p.deployment_id == deployment_id, p.prediction_id == prediction_id)
        .order_by(p.row, t.outlier_score.c.monitor)
    )
    return _read(connection, query)


def read_oddest(
    connection: Connection,
    deployment_id: int,
    monitor: str,
    revision: str,
    *,
    after: Position | None,
    last: Position,
    limit: int,
) -> list[RowScore]:
    """Read the rows of a window that a monitor found oddest, the oddest first.

    Parameters
    ----------
    after
        Where the monitor's window before ended; None if it was the first.
    """
    p, s = t.prediction.c, t.outlier_score.c
    query = _select_scores().where(
        p.deployment_id == deployment_id,
        p.revision == revision,
        p.event_time <= last.event_time,
        or_(p.event_time < last.event_time, and_(p.event_time == last.event_time, p.id <= last.id)),
        s.monitor == monitor,
    )
    if after is not None:
        query = query.where(
            p.event_time >= after.event_time,
            or_(p.event_time > after.event_time, and_(p.event_time == after.event_time, p.id > after.id)),
        )
    return _read(connection, query.order_by(s.score.desc(), p.id).limit(limit))


def _select_scores() -> Select[str, int, str, float]:
    p, s = t.prediction.c, t.outlier_score.c
    return select(p.prediction_id, p.row, s.monitor, s.score).join_from(
        t.prediction, t.outlier_score, s.row_id == p.id
    )


def _read(connection: Connection, query: Select[str, int, str, float]) -> list[RowScore]:
    return [RowScore(name, row, monitor, score) for name, row, monitor, score in connection.execute(query)]
