"""Settings that decisions take as an argument."""

from dataclasses import dataclass

__all__ = ["RolloutSettings"]


@dataclass(frozen=True, slots=True)
class RolloutSettings:
    """Times of a rollout that no spec sets.

    Attributes
    ----------
    scale_down_delay_s
        How long a revision's pods stay after its weight of 0 was applied everywhere.
    drain_timeout_s
        After how long pods go even if routers still report requests under way.
    verify_interval_s
        How often the routers are asked while a weight is being applied.
    """

    scale_down_delay_s: float = 30.0
    drain_timeout_s: float = 300.0
    verify_interval_s: float = 0.5
