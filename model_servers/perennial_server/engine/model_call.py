"""One call of the model for many requests, and what to do when one of them is at fault.

No request ever pays for another's rows: where the whole batch fails, each of its requests is tried alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perennial_bundle import Checked, Flag, InvalidInput, Outputs, Rows, join

from perennial_server.engine.job import Job
from perennial_server.engine.model import Model
from perennial_server.engine.rating import Rater
from perennial_server.errors import ModelError, ModelUnreachable, refuse_rows

if TYPE_CHECKING:
    from perennial_bundle.oddness import Floats

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answered:
    """Requests that one call of the model answered.

    Parameters
    ----------
    jobs
        In the order of their rows.
    time_s
        When, in seconds since 1970.
    rows, outputs, flags, outlier_scores
        Of all of them; rows as they were sent, and no scores where they aren't asked or can't be told.
    duration_s
        Of the model alone.
    unrated_rows
        Rows whose oddness was asked and couldn't be told.
    """

    jobs: Sequence[Job]
    time_s: float
    rows: Rows
    outputs: Outputs
    flags: tuple[Flag, ...]
    duration_s: float
    outlier_scores: Floats | None = None
    unrated_rows: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch: calls that were answered, and requests that failed."""

    answered: tuple[Answered, ...] = ()
    failed: tuple[tuple[Job, Exception], ...] = ()


def call_model(model: Model, rate: Rater | None, jobs: Sequence[Job]) -> Outcome:
    """Check, predict and rate requests of one layout together; never raises.

    Where the joined rows break the schema, each request is checked alone and the sound ones are predicted together.
    Where the model raises, each request is predicted alone, unless nothing answered at all.
    """
    try:
        return Outcome(answered=(_call(model, rate, jobs),))
    except InvalidInput as error:
        if len(jobs) == 1:
            return Outcome(failed=((jobs[0], refuse_rows(error)),))
        sound, failed = _sift(model, jobs)
        if not failed:
            return _call_each(model, rate, jobs)
        rest = call_model(model, rate, sound) if sound else Outcome()
        return Outcome(rest.answered, (*failed, *rest.failed))
    except Exception as error:  # noqa: BLE001  the top of a batch: whatever was raised is one request's answer
        if len(jobs) == 1 or isinstance(error, ModelUnreachable):
            return Outcome(failed=tuple((job, error) for job in jobs))
        return _call_each(model, rate, jobs)


def _call_each(model: Model, rate: Rater | None, jobs: Sequence[Job]) -> Outcome:
    outcomes = [call_model(model, rate, [job]) for job in jobs]
    return Outcome(
        tuple(answered for outcome in outcomes for answered in outcome.answered),
        tuple(failed for outcome in outcomes for failed in outcome.failed),
    )


def _sift(model: Model, jobs: Sequence[Job]) -> tuple[list[Job], list[tuple[Job, Exception]]]:
    sound: list[Job] = []
    failed: list[tuple[Job, Exception]] = []
    for job in jobs:
        try:
            model.schema.check(job.rows)
        except InvalidInput as error:
            failed.append((job, refuse_rows(error)))
        except Exception as error:  # noqa: BLE001  as in `call_model`: whoever waits has to hear of it
            failed.append((job, error))
        else:
            sound.append(job)
    return sound, failed


def _call(model: Model, rate: Rater | None, jobs: Sequence[Job]) -> Answered:
    time_s = time.time()
    rows = join([job.rows for job in jobs])
    checked = model.schema.check(rows)
    start_s = time.perf_counter()
    try:
        outputs = _predict(model, checked)
    except ModelUnreachable as error:
        logger.warning("model unreachable requests=%d error=%s", len(jobs), error.message)
        raise
    except Exception as error:
        # A model is somebody else's code: whatever it raises is an answer with status 500, not our crash.
        if len(jobs) == 1:
            logger.exception("model failed prediction_id=%s rows=%d", jobs[0].origin.prediction_id, rows.n)
        raise ModelError(
            f"the model failed on this request: {type(error).__name__}: {str(error)[:500]}"
        ) from error
    duration_s = time.perf_counter() - start_s
    scores = None if rate is None else rate(rows)
    unrated = rows.n if rate is not None and scores is None else 0
    return Answered(jobs, time_s, rows, outputs, checked.flags, duration_s, scores, unrated)


def _predict(model: Model, checked: Checked) -> Outputs:
    """Call the model, and take only as many answers as there were rows: others couldn't be told apart."""
    outputs = model.predict(checked.frame)
    for name, values in outputs.items():
        if len(values) != len(checked.frame):
            raise ValueError(f"{name} has {len(values)} values for {len(checked.frame)} rows")
    return outputs
