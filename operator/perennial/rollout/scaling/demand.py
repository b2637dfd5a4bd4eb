"""How many pods a load takes."""

import math

from perennial.rollout.scaling.policy import ScalePolicy

__all__ = ["TOLERANCE", "wanted_replicas"]

TOLERANCE = 0.1
"""The HorizontalPodAutoscaler's: within a tenth of the target nothing changes."""

_ROUNDING = 1e-9


def wanted_replicas(load: float, current: int, policy: ScalePolicy) -> int:
    """Return how many pods should carry a load.

    Parameters
    ----------
    load
        Over all pods, in the metric's unit.
    current
        Pods that carry it now: a load within `TOLERANCE` of what they should carry leaves their number as it is.

    Examples
    --------
    >>> policy = ScalePolicy(minimum=1, maximum=10, target=8)
    >>> [wanted_replicas(load, 2, policy) for load in (0.0, 8.0, 15.0, 17.5, 18.0, 1000.0)]
    [1, 1, 2, 2, 3, 10]
    """
    if current > 0 and abs(load / (current * policy.target) - 1) <= TOLERANCE:
        return policy.clamp(current)
    return policy.clamp(math.ceil(load / policy.target - _ROUNDING))
