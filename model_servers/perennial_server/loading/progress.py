"""How far a server is that doesn't serve yet: for its log, and for whoever asks its port."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

logger = logging.getLogger(__name__)

Phase = Literal["Fetching", "Checking", "Loading"]
LOG_INTERVAL_S = 10.0


@dataclass
class Progress:
    """What is being done, and how much of it is done; changed in place by those who do it.

    Parameters
    ----------
    clock
        Monotonic, in seconds.
    """

    clock: Callable[[], float] = time.monotonic
    phase: Phase = "Fetching"
    done_bytes: int = 0
    total_bytes: int | None = None
    _logged_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._logged_s = self.clock()

    def enter(self, phase: Phase) -> None:
        """Begin the next phase."""
        self.phase = phase
        logger.info("loading phase=%s", phase)

    def advance(self, n_bytes: int) -> None:
        """Count bytes that came, or take back those that must come again; a line in the log every ten seconds."""
        self.done_bytes += n_bytes
        if self.clock() - self._logged_s >= LOG_INTERVAL_S:
            self._logged_s = self.clock()
            logger.info("fetching done_bytes=%d total_bytes=%s", self.done_bytes, self.total_bytes)

    def render(self) -> dict[str, Any]:
        """Write it as JSON values."""
        return {"phase": self.phase, "doneBytes": self.done_bytes, "totalBytes": self.total_bytes}
