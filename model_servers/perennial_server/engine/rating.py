"""Rating rows beside a prediction, which goes out whatever becomes of that."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from perennial_bundle import Rows

if TYPE_CHECKING:
    from perennial_bundle.oddness import Floats, Rate

logger = logging.getLogger(__name__)


class Rater:
    """Says how odd rows are, or nothing; never raises.

    Parameters
    ----------
    rate
        Says so, and may raise.
    """

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._has_failed = False

    def __call__(self, rows: Rows) -> Floats | None:
        """Rate rows: float64 (n,), odd above 0; None if they can't be rated."""
        try:
            return self._rate(rows)
        except Exception:
            # Once: what fails on one call may fail on each of thousands a second. All are counted.
            if not self._has_failed:
                self._has_failed = True
                logger.exception(
                    "rows can't be rated; the next ones are only counted in perennial_server_unrated_rows_total rows=%d",
                    rows.n,
                )
            return None
