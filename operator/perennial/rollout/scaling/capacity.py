"""How many pods a share of the traffic needs."""

from perennial.rollout.scaling.policy import ScalePolicy

__all__ = ["needed_replicas"]


def needed_replicas(weight_percent: int, capacity: int, policy: ScalePolicy) -> int:
    """Return how many ready pods a revision must have before it may get this share of the traffic.

    Called by the rollout before it raises a weight, and by the scaler, which brings them about.

    Parameters
    ----------
    weight_percent
        The share that it is about to get, of the requests or of their copies.
    capacity
        Pods that carry the whole traffic.
    policy
        Its bounds hold here, too: where `maximum` is too low for the share, nothing waits for pods that never come.

    Examples
    --------
    A quarter of what ten pods carry takes three, never fewer than the minimum:

    >>> needed_replicas(25, 10, ScalePolicy(minimum=1, maximum=20))
    3
    >>> needed_replicas(5, 10, ScalePolicy(minimum=2, maximum=20))
    2
    """
    # Whole numbers: 0.07 x 100 would be just above 7 in floating point, and its ceiling 8.
    return policy.clamp(-(-weight_percent * capacity // 100))
