"""From a request's body to its answer, in a thread of its own, no more at once than allowed."""

import asyncio
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from perennial_bundle import Bundle, InvalidInput, Outputs

from perennial_server.errors import ModelError, RequestError
from perennial_server.metrics import Metrics
from perennial_server.origin import PROBE, Origin
from perennial_server.prediction_log.queue import LogQueue
from perennial_server.protocol.codec import parse_request, render_answer, render_log_entry
from perennial_server.settings import Settings

logger = logging.getLogger(__name__)


class Predictor:
    """Answers requests with one bundle.

    Parameters
    ----------
    bundle
        Loaded and warm.
    settings, metrics
        Of this process.
    log
        Where predictions are logged; None for nowhere.
    """

    def __init__(self, bundle: Bundle, settings: Settings, metrics: Metrics, log: LogQueue | None) -> None:
        self.bundle = bundle
        self.settings = settings
        self.metrics = metrics
        self._log = log
        self._in_flight = 0
        self._pool = ThreadPoolExecutor(settings.predict_threads, thread_name_prefix="predict")

    def admit(self) -> None:
        """Take a place for a request; `release` gives it back.

        Raises
        ------
        RequestError
            Status 429: all places are taken.
        """
        if self._in_flight >= self.settings.max_in_flight:
            raise RequestError(429, f"the server is busy with {self._in_flight} requests; try again")
        self._in_flight += 1

    def release(self) -> None:
        """Give back a place."""
        self._in_flight -= 1

    async def answer(self, body: bytes, origin: Origin) -> bytes:
        """Answer an inference request.

        Parsing is as heavy as predicting for a large body, so all of it leaves the event loop.

        Raises
        ------
        RequestError
            The request is at fault, or the model (ModelError).
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._answer, body, origin)

    async def predict_columns(self, columns: Mapping[str, list[Any]], origin: Origin) -> Outputs:
        """Predict rows given as columns; see `predict` for the errors."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.predict, columns, origin)

    def _answer(self, body: bytes, origin: Origin) -> bytes:
        schema = self.bundle.schema
        query = parse_request(body, schema, max_rows=self.settings.max_rows)
        outputs = self.predict(query.columns, origin)
        return render_answer(
            outputs,
            schema,
            query,
            model_name=self.settings.deployment,
            model_version=self.settings.revision,
        )

    def predict(self, columns: Mapping[str, list[Any]], origin: Origin) -> Outputs:
        """Predict rows given as columns, and log them unless they are a probe's; blocks.

        Raises
        ------
        RequestError
            Status 400: the rows break the schema.
        ModelError
            The model raised.
        """
        time_s = time.time()
        try:
            frame = self.bundle.schema.validate(columns)
        except InvalidInput as error:
            raise RequestError(400, f"{error.field}: {error.message} ({error.reason})") from error
        try:
            outputs = self.bundle.predict(frame)
        except Exception as error:
            # A model is somebody else's code: whatever it raises is an answer with status 500, not our crash.
            self.metrics.model_errors.inc()
            logger.exception("model failed prediction_id=%s rows=%d", origin.prediction_id, len(frame))
            raise ModelError(
                f"the model failed on this request: {type(error).__name__}: {str(error)[:500]}"
            ) from error
        if origin.is_probe:
            return outputs
        self.metrics.predictions.inc(len(frame))
        if self._log is not None:
            self._log.put(render_log_entry(origin, time_s, columns, outputs, self.settings.log_exclude))
        return outputs

    async def rehearse(self, body: bytes) -> None:
        """Answer a request in every thread, as it is answered later, and tell nobody.

        Raises
        ------
        RequestError
            It can't be answered.
        """
        await asyncio.gather(*(self.answer(body, PROBE) for _ in range(self.settings.predict_threads)))

    def close(self) -> None:
        """Let the threads end after the work in hand, without waiting for it."""
        self._pool.shutdown(wait=False, cancel_futures=True)
