"""What one call of the model answered, as the log takes it: many requests' rows, not yet written as text."""

from dataclasses import dataclass
from typing import Protocol

from perennial_bundle import Flag, Outputs, Rows

from perennial_server.origin import Origin


@dataclass(frozen=True, slots=True)
class LoggedBatch:
    """Requests that were predicted together; none of them is a probe.

    Parameters
    ----------
    time_s
        When, in seconds since 1970.
    origins, sizes
        Of each request: where it comes from, and how many rows it has.
    rows, outputs
        Of all requests, in order; the rows as they were sent.
    flags
        What the schema let through; a flag's row counts from the batch's first.
    """

    time_s: float
    origins: tuple[Origin, ...]
    sizes: tuple[int, ...]
    rows: Rows
    outputs: Outputs
    flags: tuple[Flag, ...] = ()


class PredictionLog(Protocol):
    """Takes what was predicted. Called on the event loop, once per call of the model: it must not wait."""

    def put(self, batch: LoggedBatch) -> None:
        """Keep a batch, or drop and count it."""
