"""What a window says of its single rows goes to them in the log, before the window itself is stored."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from perennial_observer.monitors.alarms.verdicts import Assessment
from perennial_observer.store.rows import LoggedRow
from perennial_observer.store.scores import write_scores

__all__ = ["keep_scores"]

# So many rows are one job of the writer, among those of the servers.
ROWS_PER_JOB = 2_000


def keep_scores(
    write: Callable[[Callable[[Any], None]], None],
    monitor: str,
    rows: Sequence[LoggedRow],
    assessment: Assessment,
) -> Assessment:
    """Store the scores of rows, and return the assessment without them: nobody holds them in memory.

    Parameters
    ----------
    write
        Runs a job of the writer. Killed between this and the window's, the window is judged again, with the same scores.
    """
    if not assessment.scores:
        return assessment
    pairs = zip(rows, assessment.scores, strict=True)
    scores = [(row.id, score) for row, score in pairs if math.isfinite(score)]
    for start in range(0, len(scores), ROWS_PER_JOB):
        write(partial(write_scores, monitor=monitor, scores=scores[start : start + ROWS_PER_JOB]))
    return assessment.model_copy(update={"scores": ()})
