"""Settings that decisions take as an argument."""

from dataclasses import dataclass

__all__ = ["RolloutSettings"]


@dataclass(frozen=True, slots=True)
class RolloutSettings:
    """Times of a rollout that no spec sets.

    Attributes
    ----------
    drain_timeout_s
        How long after `rollout.scaleDownDelay` pods go even if routers still report requests under way.
    verify_interval_s
        How often the routers are asked while a weight is being applied.
    """

    drain_timeout_s: float = 300.0
    verify_interval_s: float = 0.5
