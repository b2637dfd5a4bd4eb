"""How long a deployment can be left alone: what another look would depend on, gathered while it is looked at. Pure."""

import math
from dataclasses import dataclass, field

__all__ = ["Rest"]


@dataclass
class Rest:
    """When another look could find anything new although no row comes.

    Parameters
    ----------
    may_rest
        Whether it can be told at all.
    until
        By the clock, seconds since the epoch.
    awaits_reference
        Whether a reference that comes would change something.
    closings
        For each monitor, the event time from which on its open window is closed, and how long it waits for labels.
    """

    may_rest: bool = True
    until: float = math.inf
    awaits_reference: bool = False
    closings: list[tuple[float, float]] = field(default_factory=list)

    def end_by(self, clock_s: float) -> None:
        """Look again at this time at the latest."""
        self.until = min(self.until, clock_s)

    def end_with_reference(self, clock_s: float) -> None:
        """Look again when a reference has come, and at this time at the latest."""
        self.awaits_reference = True
        self.end_by(clock_s)

    def end_with_window(self, closes_at: float, maturity_s: float) -> None:
        """Look again when the watermark, less what labels need, has come so far."""
        self.closings.append((closes_at, maturity_s))

    def deny(self) -> None:
        """Look again at the next look: something is under way, or has failed in passing."""
        self.may_rest = False

    def is_over(self, *, watermark: float | None, now: float) -> bool:
        """Whether it is time to look again.

        Examples
        --------
        >>> rest = Rest(until=50.0)
        >>> rest.end_with_window(closes_at=100.0, maturity_s=10.0)
        >>> rest.is_over(watermark=109.0, now=49.0), rest.is_over(watermark=110.0, now=0.0)
        (False, True)
        """
        if not self.may_rest or now >= self.until:
            return True
        # As it is reckoned where windows are closed: rounding must not put off one that is closed there.
        return watermark is not None and any(
            watermark - maturity_s >= closes_at for closes_at, maturity_s in self.closings
        )
