"""Puts a batch into the log's queue as one entry for each request."""

from perennial_bundle import Schema

from perennial_server.prediction_log.batch import LoggedBatch
from perennial_server.prediction_log.queue import LogQueue
from perennial_server.protocol.codec import render_log_entry


class EntryLog:
    """A PredictionLog around the queue of entries."""

    def __init__(self, queue: LogQueue, schema: Schema, exclude: frozenset[str]) -> None:
        self._queue = queue
        self._schema = schema
        self._exclude = exclude

    def put(self, batch: LoggedBatch) -> None:
        """Write each request's entry and queue it."""
        start = 0
        for origin, size in zip(batch.origins, batch.sizes, strict=True):
            rows = batch.rows.cut(start, start + size)
            columns = {name: list(values) for name, values in rows.columns.items()}
            if rows.matrix is not None:
                columns |= dict(zip(self._schema.feature_names, rows.matrix.T.tolist(), strict=True))
            outputs = {name: values[start : start + size] for name, values in batch.outputs.items()}
            self._queue.put(render_log_entry(origin, batch.time_s, columns, outputs, self._exclude))
            start += size
