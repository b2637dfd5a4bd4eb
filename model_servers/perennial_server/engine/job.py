"""One request inside the engine: what goes in, and what comes out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perennial_bundle import Flag, Outputs, Rows

from perennial_server.origin import Origin

if TYPE_CHECKING:
    from perennial_bundle.oddness import Floats


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one request gets.

    Parameters
    ----------
    outputs
        Every output of the schema; arrays may be views of a batch's.
    flags
        What the schema let through; a flag's row counts from the request's first.
    outlier_scores
        float64 (n,): how odd each row is, odd above 0; None where it isn't asked, or can't be told.
    """

    outputs: Outputs
    flags: tuple[Flag, ...] = ()
    outlier_scores: Floats | None = None


@dataclass(slots=True, eq=False)
class Job:
    """A request that waits for its prediction.

    Parameters
    ----------
    rows, origin
        What to predict, and for whom.
    deadline_s
        On `time.monotonic`: when nobody waits any more; None for never.
    future
        Gets a Prediction, or a RequestError.
    """

    rows: Rows
    origin: Origin
    deadline_s: float | None
    future: asyncio.Future[Prediction]
