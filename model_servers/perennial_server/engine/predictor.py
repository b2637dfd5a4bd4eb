"""The engine's face: takes a request's rows, gives back its prediction, and sees to metrics and the log."""

from __future__ import annotations

import asyncio
import math
import time
from functools import partial
from typing import TYPE_CHECKING

from perennial_bundle import Rows

from perennial_server.engine.admission import LONGEST_RETRY_S, Admission
from perennial_server.engine.batcher import Batcher, Estimate
from perennial_server.engine.job import Job, Prediction
from perennial_server.engine.model import Model
from perennial_server.engine.model_call import Answered, Outcome, call_model
from perennial_server.engine.rating import Rater
from perennial_server.engine.splitting import split
from perennial_server.errors import ModelError, RequestError, TooBusy, TooLate
from perennial_server.metrics import Metrics
from perennial_server.origin import PROBE, Origin
from perennial_server.prediction_log.batch import LoggedBatch, PredictionLog
from perennial_server.protocol.answers import AnswerWriter
from perennial_server.protocol.requests import RequestReader
from perennial_server.settings import Settings

if TYPE_CHECKING:
    from perennial_bundle.oddness import Rate


class Predictor:
    """Answers requests with one model; everything but the model's call happens on the event loop.

    Parameters
    ----------
    model
        Loaded and warm.
    settings, metrics
        Of this process.
    log
        Where predictions are logged; None for nowhere.
    rate
        Says how odd rows are; None if nobody asks.
    """

    def __init__(
        self,
        model: Model,
        settings: Settings,
        metrics: Metrics,
        log: PredictionLog | None,
        *,
        rate: Rate | None = None,
    ) -> None:
        self.model = model
        self.settings = settings
        self.metrics = metrics
        self._log = log
        self._coming = 0
        self._admission = Admission(settings.max_in_flight, settings.max_in_flight_bytes, time.monotonic)
        metrics.in_flight.set_function(lambda: self._admission.requests)
        metrics.in_flight_bytes.set_function(lambda: self._admission.size_bytes)
        self._batcher = Batcher(
            partial(call_model, model, None if rate is None else Rater(rate)),
            self._settle,
            max_rows=settings.max_batch_rows,
            max_call_s=settings.max_batch_s,
            threads=settings.predict_threads,
            inline_below_s=settings.inline_below_s,
        )

    def admit(self, size_bytes: int = 0, *, deadline_s: float | None = None) -> None:
        """Take a place for a request, before its body is read; `release` gives it back.

        Parameters
        ----------
        size_bytes
            Of the body.
        deadline_s
            See `predict`.

        Raises
        ------
        TooBusy
            All places are taken, or the requests in front take longer than the deadline or the settings allow.
        """
        estimate = self._batcher.estimate()
        if self._is_too_long(estimate) or (
            deadline_s is not None and time.monotonic() + estimate.answer_s > deadline_s
        ):
            raise self._too_slow(estimate.answer_s)
        if not self._admission.take(size_bytes):
            raise self._full()

    @property
    def has_waiting(self) -> bool:
        """Whether requests wait for the model."""
        return self._batcher.has_waiting

    def turn_away(self) -> TooBusy | None:
        """Say why no request can be admitted now, and count one as refused; None if one may try.

        Heads come in by the hundred before the first of their requests is admitted, so those that may try are counted
        until then: who is refused only later costs several times as much.
        """
        estimate = self._batcher.estimate(self._coming)
        if self._is_too_long(estimate):
            return self._too_slow(estimate.answer_s)
        if self._admission.is_full_with(self._coming):
            return self._full()
        if not self._coming:
            # By the next turn of the loop all of them have been admitted, or refused.
            asyncio.get_running_loop().call_soon(self._forget_coming)
        self._coming += 1
        return None

    def resize(self, before_bytes: int, after_bytes: int) -> None:
        """Keep a place for a body that turns out to be larger or smaller than it was taken for.

        Raises
        ------
        TooBusy
            There is no room for so much; the place stays as it was.
        """
        if not self._admission.resize(before_bytes, after_bytes):
            raise self._full()

    def release(self, size_bytes: int = 0) -> None:
        """Give back a place, with the size that it has."""
        self._admission.give_back(size_bytes)

    async def predict(self, rows: Rows, origin: Origin, *, deadline_s: float | None = None) -> Prediction:
        """Predict rows together with those of other requests, and log them unless they are a probe's.

        Parameters
        ----------
        rows
            Not yet checked against the schema.
        origin
            Where they come from.
        deadline_s
            When the client stops waiting, on the clock of `time.monotonic`; None for never.

        Raises
        ------
        RequestError
            Status 400: the rows break the schema.
        TooLate
            The deadline passed before the model was called.
        ModelError
            The model raised, or can't be reached.
        """
        for name, values in rows.columns.items():
            if len(values) != rows.n:  # joined, they would shift the rows of other requests
                raise RequestError(
                    400, f"{name}: has {len(values)} values where the others have {rows.n} (LengthMismatch)"
                )
        if not rows.n:
            raise RequestError(400, "inputs: needs at least one row (EmptyInput)")
        job = Job(rows, origin, deadline_s, asyncio.get_running_loop().create_future())
        self._batcher.put((origin.is_probe, rows.layout()), job)
        return await job.future

    async def rehearse(self, body: bytes) -> None:
        """Answer a request as it is answered later, and tell nobody; see `predict` for the errors."""
        schema, settings = self.model.schema, self.settings
        query = RequestReader(schema, max_rows=settings.max_rows).read(body)
        prediction = await self.predict(query.rows, PROBE)
        writer = AnswerWriter(schema, model_name=settings.deployment, model_version=settings.revision)
        writer.write(prediction.outputs, query, prediction.flags)

    def close(self) -> None:
        """Let the threads end after the work in hand, without waiting for it."""
        self._batcher.close()

    def _forget_coming(self) -> None:
        self._coming = 0

    def _is_too_long(self, estimate: Estimate) -> bool:
        """Whether a wait is longer than the settings allow, and longer than the model takes for one call anyway."""
        call_s = estimate.answer_s - estimate.wait_s
        return estimate.wait_s > max(self.settings.max_wait_s, call_s)

    def _too_slow(self, answer_s: float) -> TooBusy:
        self.metrics.refused_for_wait.inc()
        return TooBusy(
            f"an answer would take about {answer_s:.3g} s, longer than the server or the deadline allows; try later",
            max(math.ceil(min(answer_s, LONGEST_RETRY_S)), self._admission.retry_after_s()),
        )

    def _full(self) -> TooBusy:
        self.metrics.refused_for_place.inc()
        return TooBusy(
            f"the server is busy with {self._admission.requests} requests of {self._admission.size_bytes} bytes; "
            "try again",
            self._admission.retry_after_s(),
        )

    def _settle(self, outcome: Outcome) -> None:
        for job, error in outcome.failed:
            if isinstance(error, TooLate):
                self.metrics.expired.inc()
            elif isinstance(error, ModelError):
                self.metrics.model_errors.inc()
            if not job.future.done():
                job.future.set_exception(error)
        for answered in outcome.answered:
            for job, prediction in split(answered):
                if not job.future.done():
                    job.future.set_result(prediction)
        # Everybody has an answer before anything is written down: a fault in that is nobody's trouble.
        for answered in outcome.answered:
            if not answered.jobs[0].origin.is_probe:
                self._record(answered)

    def _record(self, answered: Answered) -> None:
        """Count and log what one call of the model answered; a batch is all probes or none."""
        self.metrics.count_call(answered.rows.n, answered.duration_s, answered.flags)
        if answered.unrated_rows:
            self.metrics.unrated_rows.inc(answered.unrated_rows)
        if self._log is not None:
            self._log.put(
                LoggedBatch(
                    time_s=answered.time_s,
                    origins=tuple(job.origin for job in answered.jobs),
                    sizes=tuple(job.rows.n for job in answered.jobs),
                    rows=answered.rows,
                    outputs=answered.outputs,
                    flags=answered.flags,
                )
            )
